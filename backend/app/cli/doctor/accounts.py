"""The tables of accounts: who can get in, and what is kept."""

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.orm import Session

from app.cli.doctor.report import Fail, Findings, Ok, Warn, check
from app.core.settings import Settings
from app.identity.mvp import IS_MVP_TOKEN
from app.identity.permissions import OWNER
from app.models.base import database_now
from app.models.database import ActivityLog, ApiToken, MvpClaim, User

ARGON2, BCRYPT = r"\$argon2%", r"\$2%"

_HAS_CONFIGURED_TOKEN = exists().where(ApiToken.user_id == User.id, IS_MVP_TOKEN)
_HAS_PASSWORD = func.coalesce(User.password_hash, "") != ""
_IS_READABLE = or_(User.password_hash.like(ARGON2), User.password_hash.like(BCRYPT))


@check("mvp user")
def check_mvp_user(session: Session, settings: Settings) -> Findings:
    is_open = session.scalar(select(exists().where(IS_MVP_TOKEN)))
    if session.get(MvpClaim, 1) is not None:
        yield Ok("claimed: everybody signs in with a password")
        if settings.api_token is not None:
            yield Warn("it was claimed, and API_TOKEN is good for nothing any more", "unset API_TOKEN")
        return
    yield Ok("open: whoever has API_TOKEN is an owner" if is_open else "the first start makes it")
    if settings.production and settings.api_token is None:
        yield Fail("nothing was claimed and API_TOKEN is not set: no start succeeds", "trading-backend claim")
    elif settings.production:
        yield Warn("it is open: whoever has API_TOKEN is an owner", "trading-backend claim")


@check("owners")
def check_owners(session: Session, settings: Settings) -> Findings:
    """Somebody must be able to come in who may do everything."""
    comes_in = or_(_HAS_CONFIGURED_TOKEN, and_(_HAS_PASSWORD, _IS_READABLE))
    count = _count(session, User.role == OWNER, User.is_active.is_(True), comes_in)
    if count:
        yield Ok(f"{count} can sign in")
    elif session.get(MvpClaim, 1) is None and not _count(session):
        yield Ok("nobody yet: the first start makes the MVP user")
    else:
        yield Fail("no active owner can sign in", _way_in(session))


@check("passwords")
def check_passwords(session: Session, settings: Settings) -> Findings:
    argon2, bcrypt, other, none = session.execute(
        select(
            func.count(case((User.password_hash.like(ARGON2), 1))),
            func.count(case((User.password_hash.like(BCRYPT), 1))),
            func.count(case((and_(_HAS_PASSWORD, ~_IS_READABLE), 1))),
            func.count(case((~_HAS_PASSWORD, 1))),
        )
    ).one()
    yield Ok(f"{argon2} hashed with Argon2id, {bcrypt} with bcrypt until the next sign-in, {none} users without one")
    if other:
        names = session.scalars(select(User.email).where(_HAS_PASSWORD, ~_IS_READABLE).order_by(User.id).limit(3)).all()
        told = ", ".join([*names, "…"] if other > len(names) else names)
        yield Warn(
            f"{other} have a hash that no password matches ({told})",
            "trading-backend users reset-password USER",
        )


@check("activity")
def check_retention(session: Session, settings: Settings) -> Findings:
    days = settings.activity_retention_days
    if days is None:
        yield Ok("kept for ever, because ACTIVITY_RETENTION_DAYS is not set")
        return
    yield Ok(f"kept for {days} days")
    overdue = ActivityLog.timestamp < database_now - timedelta(days=days + 1)
    if session.scalar(select(exists().where(overdue))):
        yield Warn(
            f"there are rows older than {days} days",
            "a running service deletes them every hour; or run `trading-backend prune`",
        )


def _way_in(session: Session) -> str:
    owners = select(User.email).where(User.role == OWNER).order_by(User.is_active.desc(), User.id)
    name = session.scalar(owners.limit(1))
    if name is None:
        return "trading-backend users promote USER; trading-backend users reset-password USER"
    return f"trading-backend users activate {name}; trading-backend users reset-password {name}"


def _count(session: Session, *conditions: ColumnElement[bool]) -> int:
    return session.scalars(select(func.count()).select_from(User).where(*conditions)).one()
