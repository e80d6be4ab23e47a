"""What a caller may do, as data: the permissions of its role, of its kind of credential, and of its scopes."""

from collections.abc import Iterable
from enum import StrEnum


class Permission(StrEnum):
    READ = "read"
    """See one's own data."""
    WRITE = "write"
    """Change one's own data."""
    ADMIN = "admin"
    """See and change other people's data, the activity log and invitations."""
    ISSUE = "issue"
    """Issue credentials, and delete oneself. No scope grants it, so that an API token can never mint another."""
    CLAIM = "claim"
    """Give the MVP user an address and a password: for the token from the configuration alone."""
    LOGOUT = "logout"
    """End the session that is called with: for sessions alone."""


class CredentialKind(StrEnum):
    MVP_TOKEN = "mvp_token"  # noqa: S105 - a kind, not a secret
    API_TOKEN = "api_token"  # noqa: S105 - a kind, not a secret
    SESSION = "session"


OWNER = "owner"
MEMBER = "member"

_EVERYTHING = frozenset(Permission)

SCOPES = frozenset({Permission.READ, Permission.WRITE, Permission.ADMIN})
"""What an API token can be given."""

ROLE_PERMISSIONS = {OWNER: _EVERYTHING, MEMBER: _EVERYTHING - {Permission.ADMIN}}
"""A role that is not here grants what `member` does; older deployments have some of their own."""

CREDENTIAL_PERMISSIONS = {
    CredentialKind.MVP_TOKEN: _EVERYTHING - {Permission.LOGOUT},
    CredentialKind.SESSION: _EVERYTHING - {Permission.CLAIM},
    CredentialKind.API_TOKEN: SCOPES,
}


def permissions(role: str, kind: CredentialKind, scopes: Iterable[str] | None = None) -> frozenset[Permission]:
    """What role and credential allow together; `scopes` limits an API token further, unknown ones grant nothing."""
    granted = ROLE_PERMISSIONS.get(role, ROLE_PERMISSIONS[MEMBER]) & CREDENTIAL_PERMISSIONS[kind]
    return granted if scopes is None else granted & frozenset(scopes)
