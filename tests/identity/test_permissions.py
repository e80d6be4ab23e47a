"""Role and credential allow what both allow, and nothing else."""

from itertools import chain, combinations

import pytest

from app.identity.permissions import SCOPES, CredentialKind, Permission, permissions

OWN_DATA = {"read", "write", "issue", "claim", "logout"}
EVERYTHING = OWN_DATA | {"admin"}
SCOPED = {"read", "write", "admin"}
ROLES = {
    "owner": EVERYTHING,
    "member": OWN_DATA,
    "beta_tester": OWN_DATA,
    "personal_only": OWN_DATA,
    "Owner": OWN_DATA,
    "owner ": OWN_DATA,
    "admin": OWN_DATA,
    "": OWN_DATA,
}
KINDS = {"mvp_token": EVERYTHING - {"logout"}, "session": EVERYTHING - {"claim"}, "api_token": SCOPED}


def subsets(members: set[str]) -> list[tuple[str, ...]]:
    ordered = sorted(members)
    return list(chain.from_iterable(combinations(ordered, size) for size in range(len(ordered) + 1)))


def test_the_tables_here_are_complete() -> None:
    assert set(Permission) == EVERYTHING
    assert set(CredentialKind) == KINDS.keys()
    assert set(SCOPES) == SCOPED


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_combination(role: str, kind: str) -> None:
    both = ROLES[role] & KINDS[kind]
    assert permissions(role, CredentialKind(kind)) == both
    for scopes in subsets({*EVERYTHING, "root", "*", "READ", ""}):
        assert permissions(role, CredentialKind(kind), scopes) == both & set(scopes)


def test_no_scope_lets_an_api_token_mint_another() -> None:
    assert Permission.ISSUE not in permissions("owner", CredentialKind.API_TOKEN, ["issue"])
    assert Permission.ISSUE not in permissions("owner", CredentialKind.API_TOKEN)


def test_a_permission_is_never_gained_by_fewer_scopes() -> None:
    for role in ROLES:
        for kind in CredentialKind:
            for scopes in subsets(EVERYTHING):
                assert permissions(role, kind, scopes) <= permissions(role, kind)
