"""API tokens of a user. A caller reaches its own only; another's is not found."""

from datetime import datetime

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from app.core.clock import now
from app.core.errors import AppError, FieldError, InvalidInput, NotFound, PermissionDenied
from app.identity.principal import Principal
from app.identity.tokens import MintedToken, mint
from app.models.base import database_now
from app.models.database import ApiToken


class ConfiguredToken(AppError):
    status, code, title = 409, "configured_token", "The token comes from the configuration"

    def __init__(self) -> None:
        super().__init__("This token is the one in API_TOKEN and would be back at the next start: change API_TOKEN.")


def own_tokens(caller: Principal) -> Select[ApiToken]:
    """The caller's tokens that can still be used."""
    return select(ApiToken).where(
        ApiToken.user_id == caller.user.id,
        ApiToken.revoked_at.is_(None),
        or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > database_now),
    )


def create(
    session: Session, caller: Principal, name: str, scopes: list[str], expires_at: datetime | None
) -> tuple[ApiToken, MintedToken]:
    """Mint a token; its scopes can be no more than the caller's own permissions.

    Raises:
        PermissionDenied: a scope goes beyond them.
        InvalidInput: `expires_at` has passed.
    """
    for scope in scopes:
        if scope not in caller.permissions:
            raise PermissionDenied(scope, f"You cannot give a token the scope '{scope}', which you do not have.")
    if expires_at is not None and expires_at <= now():
        raise InvalidInput([FieldError("/expires_at", "in_the_past", "must be in the future")])
    minted = mint()
    token = ApiToken(
        user_id=caller.user.id,
        name=name,
        prefix=minted.prefix,
        secret_hash=minted.secret_hash,
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
        from_configuration=False,
    )
    session.add(token)
    session.flush()
    return token, minted


def revoke(session: Session, caller: Principal, token_id: int) -> None:
    """From now on the token is refused everywhere.

    Raises:
        NotFound: no such token of the caller's is alive.
        ConfiguredToken: it is the one in API_TOKEN.
    """
    token = session.scalar(own_tokens(caller).where(ApiToken.id == token_id).with_for_update())
    if token is None:
        raise NotFound("There is no such token.")
    if token.from_configuration:
        raise ConfiguredToken
    token.revoked_at = database_now
    session.flush()
