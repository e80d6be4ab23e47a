"""From a process to a service, and back down: database, migrations, engine, MVP user.

Each step waits a bounded time, and off the event loop: uvicorn heeds no signal before start-up has returned.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.banner import print_banner
from app.core.errors import StartupError
from app.core.settings import Settings
from app.db.backup.create import back_up_before_migration
from app.db.engine import database, make_engine, wait_for_database
from app.db.migration.migrate import migrate
from app.db.migration.refusal import explain
from app.features.health.service import HealthMonitor
from app.identity.authenticator import Authenticator
from app.identity.mvp import MvpState, ensure_mvp_user
from app.identity.tokens import mint
from app.process import exit_from_lifespan, refuse_taken_port, stop_with_supervisor, stoppable_start


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """What requests need is on `app.state` while this is open."""
    stop_with_supervisor()
    settings: Settings = app.state.settings
    try:
        refuse_taken_port()
        async with AsyncExitStack() as stack:
            with stoppable_start():
                service = contextmanager_in_threadpool(started(settings))
                engine, authenticator = await stack.enter_async_context(service)
            app.state.engine = engine
            app.state.authenticator = authenticator
            app.state.health = HealthMonitor(engine, settings)
            yield
    except StartupError as error:
        await exit_from_lifespan(error)


@contextmanager
def started(settings: Settings) -> Iterator[tuple[Engine, Authenticator]]:
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
            token = configured_token(settings)
            mvp, authenticator = _open_to_the_founder(engine, token, settings.mvp_email)
            if not settings.production:
                print_banner(settings, token if mvp is MvpState.OPEN else None)
            yield engine, authenticator
        finally:
            engine.dispose()


def _open_to_the_founder(engine: Engine, token: str | None, email: str) -> tuple[MvpState, Authenticator]:
    try:
        with Session(engine) as session, session.begin():
            mvp = ensure_mvp_user(session, token, email)
        authenticator = Authenticator(engine)
        authenticator.remember(token)
    except DBAPIError as error:
        raise explain(error, engine.url) from error
    return mvp, authenticator


def configured_token(settings: Settings) -> str | None:
    """API_TOKEN, or in development the one kept in DATA_DIR."""
    if settings.api_token is not None:
        return settings.api_token.get_secret_value()
    if settings.production:
        return None
    return settings.data.secret("api_token", lambda: mint().plain)
