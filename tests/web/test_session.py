"""What a request writes is committed before its answer, or not at all; a refusal may leave a trace."""

from collections.abc import Iterator
from functools import partial

import anyio
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.core.errors import Conflict
from app.db.engine import make_engine
from app.web.session import Transactions, transaction


class LeavesATrace(Conflict):
    keeps_writes = True


@pytest.fixture
def engine(clone_url: str) -> Iterator[Engine]:
    engine = make_engine(clone_url)
    yield engine
    engine.dispose()


def write(session: Session, name: str = "x") -> None:
    session.execute(
        text("INSERT INTO activity_log (action_type, details, timestamp) VALUES (:name, '{}', timezone('utc', now()))"),
        {"name": name},
    )


def written(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT action_type FROM activity_log ORDER BY id")))


def test_work_that_is_done_is_kept(engine: Engine) -> None:
    with transaction(engine) as session:
        write(session)
        assert written(engine) == []
    assert written(engine) == ["x"]


@pytest.mark.parametrize(
    ("error", "left"), [(LeavesATrace("no"), ["x"]), (Conflict("no"), []), (RuntimeError("a bug"), [])], ids=repr
)
def test_a_refusal_decides_what_is_left(engine: Engine, error: Exception, left: list[str]) -> None:
    def refuse(session: Session) -> None:
        write(session)
        raise error

    with pytest.raises(type(error)) as caught, transaction(engine) as session:
        refuse(session)
    assert caught.value is error
    assert written(engine) == left


def test_a_commit_that_fails_is_no_success(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("ALTER TABLE activity_log ADD CONSTRAINT late UNIQUE (action_type) DEFERRABLE INITIALLY DEFERRED")
        )
    with transaction(engine) as session:
        write(session)
    with pytest.raises(IntegrityError, match="late"), transaction(engine) as session:
        write(session)
    assert written(engine) == ["x"]


@pytest.mark.anyio
async def test_transactions_of_an_async_route(engine: Engine) -> None:
    transactions = Transactions(engine)
    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(transactions.run, partial(write, name=str(number)))
    assert sorted(map(int, written(engine))) == list(range(30))
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
