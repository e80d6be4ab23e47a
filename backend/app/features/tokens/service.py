"""API tokens of a user. A caller reaches its own only; another's is not found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from app.core.clock import now
from app.core.errors import Conflict, FieldError, InvalidInput, NotFound, PermissionDenied
from app.identity.activity import Action, Origin, Resource, record, recorded_refusals
from app.identity.principal import Principal, Profile
from app.identity.tokens import MintedToken, mint
from app.models.base import database_now
from app.models.database import ApiToken, User


class ConfiguredToken(Conflict):
    code, title = "configured_token", "The token comes from the configuration"

    def __init__(self) -> None:
        super().__init__("This token is the one in API_TOKEN and would be back at the next start: change API_TOKEN.")


def live_tokens(user_id: int) -> Select[ApiToken]:
    """The user's tokens that can still be used."""
    return select(ApiToken).where(
        ApiToken.user_id == user_id,
        ApiToken.revoked_at.is_(None),
        or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > database_now),
    )


@dataclass(frozen=True, slots=True)
class NewToken:
    name: str
    scopes: Sequence[str]
    expires_at: datetime | None = None


def create(session: Session, caller: Principal, new: NewToken, origin: Origin) -> tuple[ApiToken, MintedToken]:
    """Mint a token; its scopes can be no more than the caller's own permissions.

    Raises:
        PermissionDenied: a scope goes beyond them.
        InvalidInput: `expires_at` has passed.
    """
    with recorded_refusals(session, origin, Action.TOKEN_REFUSED, caller.user):
        for scope in new.scopes:
            if scope not in caller.permissions:
                raise PermissionDenied(scope, f"You cannot give a token the scope '{scope}', which you do not have.")
    return issue(session, caller.user, new, origin)


def issue(session: Session, user: User | Profile, new: NewToken, origin: Origin) -> tuple[ApiToken, MintedToken]:
    """As `create`, for whoever may decide on the scopes alone: at each use the user's role limits them anyway."""
    if new.expires_at is not None and new.expires_at <= now():
        raise InvalidInput([FieldError("/expires_at", "in_the_past", "must be in the future")])
    minted = mint()
    token = ApiToken(
        user_id=user.id,
        name=new.name,
        prefix=minted.prefix,
        secret_hash=minted.secret_hash,
        scopes=sorted(set(new.scopes)),
        expires_at=new.expires_at,
        from_configuration=False,
    )
    session.add(token)
    session.flush()
    about = {"name": token.name, "scopes": token.scopes}
    record(session, origin, Action.TOKEN_CREATED, user=user, resource=(Resource.TOKEN, token.id), **about)
    return token, minted


def revoke(session: Session, user: User | Profile, token_id: int, origin: Origin) -> None:
    """From now on the token is refused everywhere.

    Raises:
        NotFound: no such token of the user's is alive.
        ConfiguredToken: it is the one in API_TOKEN.
    """
    token = session.scalar(live_tokens(user.id).where(ApiToken.id == token_id).with_for_update())
    if token is None:
        raise NotFound("There is no such token.")
    with recorded_refusals(session, origin, Action.TOKEN_REFUSED, user):
        if token.from_configuration:
            raise ConfiguredToken
    token.revoked_at = database_now
    record(session, origin, Action.TOKEN_REVOKED, user=user, resource=(Resource.TOKEN, token.id), name=token.name)
