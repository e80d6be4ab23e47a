"""How often somebody may fail to sign in, counted in the database, so that replicas share the count.

An attempt is counted before its password is verified: however many come at once, no more get through than the
allowance says. An attempt that is refused counts nowhere, so that insisting prolongs nothing, and whoever is shut
out by an address cannot shut out an account. Attempts are counted by the name as it was typed, whether an account has
it or not, so that the answers tell neither that it exists nor which names are one account's.

Follows NIST SP 800-63B, *Rate limiting (throttling)*: waits that grow from 30 seconds on, and networks from which a
user has signed in before. That leaves about 100 guesses a day at one name, and about 200 at an account that has a
username besides its address; whoever shares a network from which its owner signs in has another 100 there.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from ipaddress import ip_address, ip_network

from sqlalchemy import (
    ARRAY,
    Delete,
    Integer,
    LargeBinary,
    Update,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from app.core.errors import TooManyAttempts
from app.db.batches import delete_older
from app.identity.hashing import HashingBusy
from app.models.base import database_now, folded
from app.models.database import KnownAddress, ThrottledKey, User


class Kind(StrEnum):
    """What attempts are counted by."""

    NAME = "name"
    """The name as it was typed, but for its case, wherever they come from; an account may have it or not."""
    NETWORK = "network"
    """Where they come from, whatever name they are at."""
    USER_AT_NETWORK = "user at network"
    """The account and a network it has signed in from, in the place of the name; it alone decides."""


FREE_ATTEMPTS = {Kind.NAME: 5, Kind.USER_AT_NETWORK: 5, Kind.NETWORK: 20}
"""Attempts that may fail without a wait.

The first two are alike, or a sixth attempt would tell who has signed in from here.
"""

DELAYS = tuple(timedelta(seconds=seconds) for seconds in (30, 60, 120, 240, 480, 900))
"""The wait after the last free attempt, after the next one that fails, and so on; the last one for all others."""

FORGOTTEN_AFTER = timedelta(hours=24)
"""Without an attempt that counted."""

UNSEEN_AFTER = timedelta(days=365)
"""How long a network is known after the last sign-in from there."""

UNKNOWN_NETWORK = "unknown"

_DELAYS_BY_FAILURES = {-1: timedelta(0)} | dict(enumerate(DELAYS))
"""After the last free attempt, and before it."""

# Of this moment, not of the transaction's start: it is read while the row is locked, and whoever waited for the lock
# started before the rows of those who held it were written.
_now = func.timezone("utc", func.clock_timestamp())


@dataclass(frozen=True, slots=True)
class Counted:
    """What an attempt did to one key."""

    key: bytes
    kind: Kind
    blocked_until: datetime
    """The wait this attempt caused; past, where it caused none."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was admitted; each of these keys counts it as a failure until it is known to be none."""

    counted: tuple[Counted, ...]
    """In the order in which rows are locked everywhere, so that attempts never wait for each other in a circle."""


def begin_attempt(session: Session, account: str, address: str | None, user_id: int | None) -> Attempt:
    """Admit an attempt to sign in and count it, in one statement; commit before the password is verified.

    Args:
        session: The transaction.
        account: The name as it was typed. The database folds it, for it is by the database that it finds an account:
            this process may know another version of Unicode.
        address: The client's, as `app.web.client` tells it.
        user_id: The account with that name, if there is one.

    Raises:
        TooManyAttempts: the name or the network has to wait, or on a network that is known, the account there; the
            attempt was counted on no key.
    """
    network = network_of(address)
    is_known = exists().where(KnownAddress.user_id == user_id, KnownAddress.network == network)
    name, known = session.execute(select(func.coalesce(folded(account), ""), is_known)).one()
    whose = _key(Kind.USER_AT_NETWORK, f"{user_id} {network}") if known else _key(Kind.NAME, name)
    return _admit(session, [whose, _key(Kind.NETWORK, network)])


def begin_anonymous(session: Session, address: str | None) -> Attempt:
    """Admit an attempt that is at no account, as a registration is, and count it on the network alone.

    Raises:
        TooManyAttempts: the network has to wait; the attempt was not counted.
    """
    return _admit(session, [_key(Kind.NETWORK, network_of(address))])


def succeeded(session: Session, attempt: Attempt) -> None:
    """Forget the failures at the name, or of the account on its network; the network's stay, less this attempt.

    Otherwise whoever has an account of his own could wash his address clean with it.
    """
    _execute_in_order(session, _settlement(attempt))


def withdraw(session: Session, attempt: Attempt) -> None:
    """Undo the count of an attempt whose password was never verified, because the service was too busy."""
    for counted in attempt.counted:
        session.execute(_refund(counted))


@asynccontextmanager
async def counting(
    run: Callable[[Callable[[Session], None]], Awaitable[None]], attempt: Attempt
) -> AsyncIterator[None]:
    """Around the work on a password; an attempt that ends because the service is too busy for it does not count.

    Args:
        run: Does it in a transaction of its own, off the event loop.
        attempt: What was counted before.

    Raises:
        HashingBusy: it is; the attempt is withdrawn.
    """
    try:
        yield
    except HashingBusy:
        await run(lambda session: withdraw(session, attempt))
        raise


def remember_address(session: Session, user_id: int, address: str | None) -> None:
    """From now on attempts at this account from there are counted apart from everybody else's."""
    seen = insert(KnownAddress).values(user_id=user_id, network=network_of(address), last_seen_at=_now)
    session.execute(
        seen.on_conflict_do_update(
            index_elements=[KnownAddress.user_id, KnownAddress.network],
            set_={"last_seen_at": seen.excluded.last_seen_at},
        )
    )


def forget_failures(session: Session, user: User, attempt: Attempt | None = None) -> None:
    """Begin anew, with a new password: no failure counts against the account, under any of its names.

    The `attempt` with the old one has succeeded as well; a call for each would lock rows out of order. The account's
    networks stay known, or whoever keeps guessing would shut the owner out; all they give is a count of their own.
    """
    known = session.scalars(select(KnownAddress.network).where(KnownAddress.user_id == user.id))
    keys = [_key(Kind.USER_AT_NETWORK, f"{user.id} {network}") for network in known]
    names = session.execute(select(folded(user.email), folded(user.username))).one()
    keys += [_key(Kind.NAME, name) for name in names if name is not None]
    settlement = _settlement(attempt) if attempt else {}
    _execute_in_order(session, settlement | {key: _forget(key) for key, _ in keys})


def network_of(address: str | None) -> str:
    """What one client can be told by: an IPv4 address, or the first 64 bits of an IPv6 address, being free in the rest.

    Clients without an address share one name.
    """
    if address is None:
        return UNKNOWN_NETWORK
    ip = ip_address(address)
    return str(ip_network((ip, 64 if ip.version == 6 else 32), strict=False))


def prune_throttle(session: Session, batch: int, *, since: datetime | None = None) -> list[datetime]:
    """Delete failures that no longer count, at most `batch` keys, from `since` on; when each failed last."""
    return delete_older(session, ThrottledKey.last_failed_at, database_now - FORGOTTEN_AFTER, batch, since)


def prune_networks(session: Session, batch: int, *, since: datetime | None = None) -> list[datetime]:
    """Delete networks that are known no longer, at most `batch`, from `since` on; when each was seen last."""
    return delete_older(session, KnownAddress.last_seen_at, database_now - UNSEEN_AFTER, batch, since)


def _admit(session: Session, keys: Iterable[tuple[bytes, Kind]]) -> Attempt:
    kinds = dict(keys)
    deciding = {key for key, kind in kinds.items() if kind is Kind.USER_AT_NETWORK} or set(kinds)
    with session.begin_nested() as savepoint:
        blocked_until = {row.key: row.blocked_until for row in session.execute(_count(kinds))}
        if refused := not deciding <= blocked_until.keys():
            savepoint.rollback()
    if refused:
        raise TooManyAttempts(_seconds_to_wait(session, deciding))
    return Attempt(tuple(Counted(key, kinds[key], blocked_until[key]) for key in sorted(blocked_until)))


def _key(kind: Kind, value: str) -> tuple[bytes, Kind]:
    return sha256(f"{kind}\0{value}".encode()).digest(), kind


def _count(kinds: Mapping[bytes, Kind]) -> ReturningInsert[bytes, datetime]:
    """The upsert that answers with a row for each key that has not to wait, and counts the attempt on it.

    One that has to wait is left as it is, but locked.
    """
    # An array, for a statement with several VALUES is one that SQLAlchemy compiles anew each time.
    keys = func.unnest(literal(sorted(kinds), ARRAY(LargeBinary)))
    is_forgotten = ThrottledKey.last_failed_at < _now - FORGOTTEN_AFTER
    failures = case((is_forgotten, 1), else_=ThrottledKey.failures + 1)
    free = case({key: FREE_ATTEMPTS[kind] for key, kind in kinds.items()}, value=ThrottledKey.key)
    delay = case(_DELAYS_BY_FAILURES, value=func.greatest(failures - free, -1), else_=DELAYS[-1])
    return (
        insert(ThrottledKey)
        .from_select(["key", "failures", "last_failed_at", "blocked_until"], select(keys, 1, _now, _now))
        .on_conflict_do_update(
            index_elements=[ThrottledKey.key],
            set_={"failures": failures, "last_failed_at": _now, "blocked_until": _now + delay},
            where=ThrottledKey.blocked_until <= _now,
        )
        .returning(ThrottledKey.key, ThrottledKey.blocked_until)
    )


def _seconds_to_wait(session: Session, keys: Iterable[bytes]) -> int:
    """At least 1, also where the wait is over by now."""
    left = func.extract("epoch", func.max(ThrottledKey.blocked_until) - _now)
    seconds = func.greatest(func.ceil(left), 1, type_=Integer)
    return int(session.scalars(select(seconds).where(ThrottledKey.key.in_(keys))).one())


def _execute_in_order(session: Session, changes: Mapping[bytes, Delete | Update]) -> None:
    for key in sorted(changes):
        session.execute(changes[key])


def _settlement(attempt: Attempt) -> dict[bytes, Delete | Update]:
    """What becomes of each key of an attempt that succeeded."""
    return {
        counted.key: _refund(counted) if counted.kind is Kind.NETWORK else _forget(counted.key)
        for counted in attempt.counted
    }


def _forget(key: bytes) -> Delete:
    return delete(ThrottledKey).where(ThrottledKey.key == key)


def _refund(counted: Counted) -> Update:
    """One failure less; no wait is left that this attempt caused, be it as the last one or by adding to others."""
    left = ThrottledKey.failures - 1
    is_undue = or_(left < FREE_ATTEMPTS[counted.kind], ThrottledKey.blocked_until == counted.blocked_until)
    return (
        update(ThrottledKey)
        .where(ThrottledKey.key == counted.key, ThrottledKey.failures > 0)
        .values(failures=left, blocked_until=case((is_undue, _now), else_=ThrottledKey.blocked_until))
        .execution_options(synchronize_session=False)
    )
