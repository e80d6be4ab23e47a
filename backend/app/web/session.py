"""One request, one transaction, and the only place that commits one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.core.errors import AppError
from app.db.engine import POOL_SIZE

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session whose work is committed at the end, or rolled back by an exception.

    A refusal that `keeps_writes` is committed, and raised all the same.
    """
    with Session(engine, expire_on_commit=False) as session:
        try:
            yield session
        except AppError as refusal:
            if refusal.keeps_writes:
                session.commit()
            raise
        session.commit()


def get_session(request: Request) -> Iterator[Session]:
    """A session whose work is committed before the answer is sent, or rolled back when the request is refused."""
    with transaction(request.app.state.engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session, scope="function", max_concurrency=POOL_SIZE)]
"""The one spelling: another would open a second session.

`max_concurrency` keeps requests that wait for a connection from holding the threads that others need to give
theirs back.
"""


class Transactions:
    """Transactions of an `async` route that has slow work to do between them, such as hashing a password.

    Nothing is held meanwhile: neither a connection nor a thread nor a place in the queue for one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limiter = CapacityLimiter(POOL_SIZE)

    async def run(self, work: Callable[[Session], T]) -> T:
        """What `work` answers, once its transaction is committed; off the event loop."""
        return await to_thread.run_sync(self._run, work, limiter=self._limiter)

    def _run(self, work: Callable[[Session], T]) -> T:
        with transaction(self._engine) as session:
            return work(session)


async def get_transactions(request: Request) -> Transactions:
    transactions: Transactions = request.app.state.transactions
    return transactions


TransactionsDep = Annotated[Transactions, Depends(get_transactions)]
