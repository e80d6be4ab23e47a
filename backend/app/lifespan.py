"""From a process to a service, and back down: database, migrations, engine, MVP user, keys.

Each step waits a bounded time, and off the event loop: uvicorn heeds no signal before start-up has returned.
"""

import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from functools import partial
from typing import NamedTuple

from anyio import to_thread
from fastapi import FastAPI
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.banner import print_banner
from app.core.clock import steady
from app.core.errors import StartupError
from app.core.settings import Settings
from app.db.backup.create import back_up_before_migration
from app.db.capacity import check_connections
from app.db.engine import THREADS, database, make_engine, wait_for_database
from app.db.migration.migrate import migrate
from app.db.migration.refusal import explain
from app.db.notifications import Listener
from app.features.health.service import HealthMonitor
from app.identity.authenticator import Authenticator
from app.identity.mvp import MvpState, ensure_mvp_user
from app.identity.passwords import HashingLane
from app.identity.principal_cache import PrincipalCache
from app.identity.revocations import follow, heard_revocations, heed_own_changes
from app.identity.sessions import Sessions
from app.identity.tokens import mint
from app.identity.uses import write_uses
from app.process import exit_from_lifespan, refuse_taken_port, stop_with_supervisor, stoppable_start, tuned_for_requests
from app.pruning import prune_unless_another_does
from app.web.access_log import access_log
from app.web.session import Transactions

log = logging.getLogger(__name__)

PRUNE = 3600.0
"""Seconds between looks for what can be deleted; one replica does it."""

NOTE_USES = 15.0
"""Seconds between notes of when credentials were used; as much is lost when a process is killed."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """What requests need is on `app.state` while this is open."""
    stop_with_supervisor()
    settings: Settings = app.state.settings
    try:
        refuse_taken_port()
        async with AsyncExitStack() as stack:
            stack.callback(access_log.write)  # uvicorn hands on the signal that ended it, which ends all else at once
            with stoppable_start():
                service = await stack.enter_async_context(contextmanager_in_threadpool(started(settings)))
            to_thread.current_default_thread_limiter().total_tokens = THREADS
            app.state.engine = service.engine
            app.state.listener = service.listener
            app.state.sessions = service.sessions
            app.state.transactions = service.transactions
            app.state.authenticator = service.authenticator
            app.state.note_uses = service.note_uses
            app.state.lane = stack.enter_context(closing(HashingLane()))
            app.state.health = HealthMonitor(service.engine, settings, service.listener)
            await stack.enter_async_context(
                regularly(PRUNE, partial(prune_unless_another_does, service.engine, settings))
            )
            await stack.enter_async_context(regularly(NOTE_USES, lambda _: service.note_uses(), at_the_end=True))
            stack.enter_context(tuned_for_requests())
            yield
    except StartupError as error:
        await exit_from_lifespan(error)


class Service(NamedTuple):
    engine: Engine
    transactions: Transactions
    sessions: Sessions
    cache: PrincipalCache
    listener: Listener
    authenticator: Authenticator

    def note_uses(self) -> None:
        write_uses(self.engine, self.cache.take_uses(), steady())


@contextmanager
def started(settings: Settings) -> Iterator[Service]:
    """A database at the code's revision, with its MVP user, behind an engine for requests.

    Raises:
        StartupError: one of the steps cannot be done; says what to do about it.
    """
    with database(settings) as url:
        engine = make_engine(url)
        try:
            wait_for_database(engine)
            backup = partial(back_up_before_migration, settings, url)
            migrate(url, apply=settings.migrate_on_start, before_change=backup)
            with _explained(engine):
                check_connections(engine)
            token = _open_to_the_founder(engine, settings)
            sessions = Sessions.of(settings, jwt_secret(settings))
            transactions = Transactions(engine)
            with heard_revocations(listen_url(settings) or url, via=url) as (cache, listener):
                follow(engine, listener)
                heed_own_changes(engine, listener)
                authenticator = Authenticator(engine, sessions, cache, transactions.run)
                with _explained(engine):
                    authenticator.remember(token)
                if not settings.production:
                    print_banner(settings, token)
                yield Service(engine, transactions, sessions, cache, listener, authenticator)
        finally:
            engine.dispose()


_Work = Callable[[threading.Event], object]
"""Where it takes its time, it ends soon after the event is set."""


@asynccontextmanager
async def regularly(seconds: float, work: _Work, *, at_the_end: bool = False) -> AsyncIterator[None]:
    """Do the work in a thread, again and again, and tell of what keeps it from being done.

    Who leaves waits for what is being done.
    """
    stopping = threading.Event()

    def repeat() -> None:
        while not stopping.wait(seconds):
            _attempt(seconds, work, stopping)
        if at_the_end:
            _attempt(seconds, work, stopping)

    thread = threading.Thread(target=repeat, name="timer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        await to_thread.run_sync(thread.join)


def _attempt(seconds: float, work: _Work, stopping: threading.Event) -> None:
    try:
        work(stopping)
    except SQLAlchemyError as error:
        log.warning("what is done every %.0f s failed: %s", seconds, type(error).__name__)
    except Exception:
        log.exception("what is done every %.0f s failed", seconds)


def _open_to_the_founder(engine: Engine, settings: Settings) -> str | None:
    """The token of the MVP user, if it was not claimed yet."""
    token = partial(configured_token, settings)
    with _explained(engine), Session(engine) as session, session.begin():
        state = ensure_mvp_user(session, token, settings.mvp_email)
    if state is MvpState.OPEN:
        return token()
    if settings.api_token is not None:
        log.warning("API_TOKEN opens nothing new: the MVP user was claimed; take it out of the environment")
    return None


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise explain(error, engine.url) from error


def configured_token(settings: Settings) -> str | None:
    """API_TOKEN, or in development the one kept in DATA_DIR."""
    if settings.api_token is not None:
        return settings.api_token.get_secret_value()
    if settings.production:
        return None
    return settings.data.secret("api_token", lambda: mint().plain)


def listen_url(settings: Settings) -> str | None:
    return settings.database_listen_url.get_secret_value() if settings.database_listen_url else None


def jwt_secret(settings: Settings) -> str:
    """JWT_SECRET, or in development the one kept in DATA_DIR."""
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value()
    return settings.data.secret("jwt_secret")
