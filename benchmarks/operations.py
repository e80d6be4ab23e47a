"""What users do all day, as the routes do it: the same services, each in a transaction of its own."""

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Engine, Select
from sqlalchemy.orm import Session

from app.features.activity.service import NEWEST_FIRST, activity, prune_activity
from app.features.auth.service import SignIn, begin_sign_in, finish_sign_in
from app.identity.activity import Action, Origin
from app.identity.resolve import resolve
from app.identity.sessions import Sessions, TokenPair, live_sessions, prune_sessions
from app.models.database import UserSession
from app.web.paging import PageParams, Place, encode_cursor, paginate
from app.web.session import transaction
from benchmarks.filling import RETENTION_DAYS, SPAN_DAYS

LIMIT = 20
"""Rows of a page; even what is filtered has more of them."""

BATCH = 100
"""Rows that are pruned at a time; a thousand rows have more that are old enough."""

COMMON = Action.SIGNED_IN
"""What a third of all rows tell of."""

FOREIGN = Action.SESSION_ENDED
"""What one row in a hundred tells of, but none of this user."""

ABSENT = Action.CLAIMED
"""What no row tells of."""

_ORIGIN = Origin("198.51.100.7", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "request")


@dataclass
class Account:
    """A user, in a database with so many sessions and as many rows in the log."""

    engine: Engine
    sessions: Sessions
    user_id: int
    rows: int
    access_token: str = ""
    refresh_token: str = ""

    def keep(self, pair: TokenPair) -> None:
        self.access_token, self.refresh_token = pair.access_token, pair.refresh_token


Operation = Callable[[Account], None]


def sign_in(account: Account) -> None:
    """Without the work on the password, which no database has a part in."""
    with transaction(account.engine) as session:
        begun = begin_sign_in(session, f"user{account.user_id}@scale.test", _ORIGIN)
    with transaction(account.engine) as session:
        answer = finish_sign_in(session, account.sessions, replace(begun, matches=True), _ORIGIN)
    if isinstance(answer, SignIn):
        raise RuntimeError("the password has changed")  # noqa: TRY004 - nothing is of a wrong type
    account.keep(answer)


def refresh(account: Account) -> None:
    with transaction(account.engine) as session:
        account.keep(account.sessions.refresh(session, account.refresh_token, _ORIGIN))


def authenticate(account: Account) -> None:
    """As for a token that is not in the cache."""
    with transaction(account.engine) as session:
        resolve(session, account.sessions, account.access_token)


def list_sessions(account: Account, *, deep: bool) -> None:
    alive = live_sessions(account.user_id, account.sessions.lifetimes.idle)
    cursor = encode_cursor(Place("user_sessions", (account.rows // 2,))) if deep else None
    _take(account, alive, UserSession.id, cursor)


def list_activity(account: Account, action: Action | None = None, *, own: bool, deep: bool) -> None:
    """A page of the user's log, or of everybody's; a deep one has half of the log before it."""
    there = (datetime.now(UTC) - timedelta(days=SPAN_DAYS / 2)).timestamp()
    cursor = encode_cursor(Place("activity_log", (round(there * 1_000_000), 1))) if deep else None
    wanted = activity(user_id=account.user_id if own else None, action=action)
    _take(account, wanted, NEWEST_FIRST, cursor, expected=0 if action in {FOREIGN, ABSENT} else LIMIT)


def prune(account: Account, delete_some: Callable[[Session, int], Sized]) -> None:
    """A batch, which is then put back, so that as much is left for the next."""
    with Session(account.engine) as session:
        if len(delete_some(session, BATCH)) < BATCH:
            raise RuntimeError("there was too little to prune")
        session.rollback()


def _take(account: Account, rows: Select[Any], key: Any, cursor: str | None, expected: int = LIMIT) -> None:
    with transaction(account.engine) as session:
        found, _ = paginate(session, rows, key, PageParams(LIMIT, cursor))
    if len(found) != expected:
        raise RuntimeError(f"{len(found)} rows instead of {expected}")


OPERATIONS: Mapping[str, Operation] = {
    "sign-in, but for the password": sign_in,
    "refresh": refresh,
    "principal miss": authenticate,
    "sessions, first page": partial(list_sessions, deep=False),
    "sessions, deep page": partial(list_sessions, deep=True),
    "own activity, first page": partial(list_activity, own=True, deep=False),
    "own activity, deep page": partial(list_activity, own=True, deep=True),
    "own activity, a common action, deep page": partial(list_activity, action=COMMON, own=True, deep=True),
    "own activity, an action of others alone": partial(list_activity, action=FOREIGN, own=True, deep=False),
    "everybody's activity, first page": partial(list_activity, own=False, deep=False),
    "everybody's activity, deep page": partial(list_activity, own=False, deep=True),
    "everybody's activity, a common action, deep page": partial(list_activity, action=COMMON, own=False, deep=True),
    "everybody's activity, an action that never was": partial(list_activity, action=ABSENT, own=False, deep=False),
    f"prune {BATCH} sessions": partial(prune, delete_some=prune_sessions),
    f"prune {BATCH} rows of the log": partial(prune, delete_some=partial(prune_activity, timedelta(RETENTION_DAYS))),
}
