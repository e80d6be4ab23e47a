"""Whose rows they are, for both tables that have an owner."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from app.core.errors import NotFound
from app.db.engine import make_engine
from app.identity.activity import Action, Origin, Resource
from app.identity.permissions import CredentialKind
from app.identity.principal import Principal, Profile
from app.models.database import ActivityLog, AIRecommendation, OrderTemplate, User
from app.trading.ownership import adopt, find, rows_of
from app.web.session import transaction
from tests.support import postgres
from tests.support.identity import add_user

Table: TypeAlias = type[Any]
"""A table that has owners."""

COLUMNS: dict[Table, dict[str, Any]] = {
    OrderTemplate: {"name": "dip", "symbol": "AAPL", "side": "buy", "quantity": 1, "order_type": "market"},
    AIRecommendation: {
        "symbol": "AAPL",
        "recommendation_type": "buy",
        "confidence_score": 70,
        "analysis_data": {},
        "status": "pending",
    },
}
RESOURCES = {OrderTemplate: Resource.ORDER_TEMPLATE, AIRecommendation: Resource.RECOMMENDATION}

pytestmark = pytest.mark.parametrize("table", list(COLUMNS))


class Callers(NamedTuple):
    engine: Engine
    ann: Principal
    bob: Principal


@pytest.fixture(scope="module")
def callers(server_url: str, template: str) -> Iterator[Callers]:
    with postgres.database(server_url, like=template) as url:
        ids = [add_user(url, f"{name}@example.test", role="owner") for name in ("ann", "bob")]
        engine = make_engine(url)
        with Session(engine) as session:
            ann, bob = (Profile.of(session.get_one(User, each)) for each in ids)
        session_of = CredentialKind.SESSION
        yield Callers(engine, Principal(ann, session_of, 1, frozenset()), Principal(bob, session_of, 2, frozenset()))
        engine.dispose()


@pytest.fixture
def engine(callers: Callers, table: Table) -> Engine:
    with transaction(callers.engine) as session:
        session.execute(text(f"TRUNCATE {table.__tablename__}, activity_log"))
    return callers.engine


def add(engine: Engine, table: Table, *owners: Principal | None, **columns: Any) -> list[int]:
    """A row of each of them; its id."""
    with transaction(engine) as session:
        rows = [table(user_id=owner and owner.user.id, **COLUMNS[table], **columns) for owner in owners]
        session.add_all(rows)
        session.flush()
        return [row.id for row in rows]


def owners(engine: Engine, table: Table) -> dict[int, int | None]:
    with Session(engine) as session:
        return {row.id: row.user_id for row in session.scalars(select(table))}


def free(engine: Engine, table: Table) -> set[int]:
    """The rows that nobody holds a lock on."""
    with Session(engine) as session:
        return set(session.scalars(select(table.id).with_for_update(skip_locked=True)))


def test_rows_of(engine: Engine, callers: Callers, table: Table) -> None:
    anns, bobs, nobodys = add(engine, table, callers.ann, callers.bob, None)
    with Session(engine) as session:
        for user_id, number in ((callers.ann.user.id, anns), (callers.bob.user.id, bobs), (None, nobodys)):
            assert [row.id for row in session.scalars(rows_of(table, user_id))] == [number]
        assert session.scalars(rows_of(table, 2**31 - 1)).all() == []


@pytest.mark.parametrize("lock", [False, True])
def test_find(engine: Engine, callers: Callers, table: Table, lock: bool) -> None:
    anns, bobs, nobodys = add(engine, table, callers.ann, callers.bob, None)
    users = {callers.ann.user.id: anns, callers.bob.user.id: bobs, None: nobodys}
    for user_id, number in users.items():
        with Session(engine) as session:
            assert find(session, table, user_id, number, lock=lock).user_id == user_id
            assert free(engine, table) == ({anns, bobs, nobodys} - {number} if lock else {anns, bobs, nobodys})
            for other in {anns, bobs, nobodys, 2**31 - 1} - {number}:
                with pytest.raises(NotFound):
                    find(session, table, user_id, other, lock=lock)


def test_adopt(engine: Engine, callers: Callers, table: Table) -> None:
    first, second, third = add(engine, table, None, None, None)
    with transaction(engine) as session:
        ids = adopt(session, table, callers.ann, [third, first, third], Origin(request_id="r").by(callers.ann))
    assert ids == [first, third]
    ann = callers.ann.user.id
    assert owners(engine, table) == {first: ann, second: None, third: ann}
    with Session(engine) as session:
        (event,) = session.scalars(select(ActivityLog))
    assert (event.action_type, event.user_id, event.actor_id) == (Action.ROWS_ADOPTED, ann, ann)
    assert (event.resource_type, event.resource_id) == (RESOURCES[table], first)
    assert (event.details, event.request_id) == ({"ids": [first, third]}, "r")


def test_adopt_is_all_or_none(engine: Engine, callers: Callers, table: Table) -> None:
    nobodys, anns, bobs = add(engine, table, None, callers.ann, callers.bob)
    before = owners(engine, table)
    for other in (anns, bobs, 2**31 - 1):
        with pytest.raises(NotFound, match=rf"^{other} "), transaction(engine) as session:
            adopt(session, table, callers.ann, [nobodys, other], Origin())
        assert owners(engine, table) == before
    with Session(engine) as session:
        assert session.scalars(select(ActivityLog)).all() == []


@pytest.mark.parametrize("committed", [True, False])
def test_who_comes_second_waits_and_finds_what_the_first_left(
    engine: Engine, callers: Callers, table: Table, committed: bool
) -> None:
    numbers = add(engine, table, None, None)

    def second() -> list[int]:
        with transaction(engine) as session:
            return adopt(session, table, callers.bob, numbers[:1], Origin())

    with ThreadPoolExecutor(1) as threads:
        with Session(engine) as session:
            adopt(session, table, callers.ann, numbers, Origin())
            waiting = threads.submit(second)
            until_blocked(engine)
            session.commit() if committed else session.rollback()
        if committed:
            with pytest.raises(NotFound):
                waiting.result(20)
        else:
            assert waiting.result(20) == numbers[:1]
    ann, bob = callers.ann.user.id, callers.bob.user.id
    expected = [ann, ann] if committed else [bob, None]
    assert owners(engine, table) == dict(zip(numbers, expected, strict=True))


def test_two_who_adopt_never_wait_for_each_other(engine: Engine, callers: Callers, table: Table) -> None:
    """Rows are locked in the order of their ids, whatever order they lie in."""
    high, low = 1_000_002, 1_000_001
    for number in (high, low):
        add(engine, table, None, id=number)

    def second() -> list[int]:
        with transaction(engine) as session:
            return adopt(session, table, callers.bob, [high, low], Origin())

    with ThreadPoolExecutor(1) as threads:
        with Session(engine) as session:
            find(session, table, None, low, lock=True)
            waiting = threads.submit(second)
            until_blocked(engine)
            assert free(engine, table) == {high}
        assert waiting.result(20) == [low, high]


def until_blocked(engine: Engine) -> None:
    """Return once a connection waits for a lock."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    for _ in range(1000):
        with engine.connect() as connection:
            if connection.execute(text(waiting)).all():
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")
