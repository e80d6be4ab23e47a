"""One request, one transaction, and the only place that commits one."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, TypeVar

from anyio import CapacityLimiter, fail_after, to_thread
from fastapi import Depends, Request
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.core.errors import AppError, ServiceUnavailable
from app.db.engine import POOL_TIMEOUT, REQUEST_CONNECTIONS
from app.web.admission import renew_admission

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


class Transactions:
    """All transactions of requests; one instance for each process.

    As many are open as there are connections for them. Whoever comes later waits, without a thread, until one ends,
    and is refused after POOL_TIMEOUT: nobody holds a thread or a connection while waiting for the other. What a request
    was let in by is looked at again, where it may have changed meanwhile.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open = CapacityLimiter(REQUEST_CONNECTIONS)
        self._threads = CapacityLimiter(REQUEST_CONNECTIONS)

    async def run(self, work: Callable[[Session], T]) -> T:
        """What `work` answers, once its transaction is committed; off the event loop.

        Raises:
            ServiceUnavailable: no connection became free in time.
        """
        async with self._turn():
            return await to_thread.run_sync(self._run, work, limiter=self._threads)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Session]:
        """As `transaction`, which is entered and left off the event loop; what is done in it has to be so too.

        Raises:
            ServiceUnavailable: no connection became free in time.
        """
        async with self._turn(), contextmanager_in_threadpool(self._begun()) as session:
            yield session

    def _run(self, work: Callable[[Session], T]) -> T:
        with self._begun() as session:
            return work(session)

    @contextmanager
    def _begun(self) -> Iterator[Session]:
        with transaction(self._engine) as session:
            renew_admission(session)
            yield session

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        borrower = object()
        try:
            with fail_after(POOL_TIMEOUT):
                await self._open.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise ServiceUnavailable("Every database connection is in use; try again shortly.") from None
        try:
            yield
        finally:
            self._open.release_on_behalf_of(borrower)


async def get_transactions(request: Request) -> Transactions:
    transactions: Transactions = request.app.state.transactions
    return transactions


TransactionsDep = Annotated[Transactions, Depends(get_transactions)]
"""For an `async` route that has slow work to do between transactions, such as hashing a password."""


async def get_session(request: Request) -> AsyncIterator[Session]:
    """A session whose work is committed before the answer is sent, or rolled back when the request is refused."""
    transactions: Transactions = request.app.state.transactions
    async with transactions.begin() as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session, scope="function")]
"""The one spelling: another would open a second session."""
