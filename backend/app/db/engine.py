"""Where the database is, how to connect to it, and how long to wait for it."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from app.core.errors import StartupError
from app.core.settings import Settings
from app.core.waiting import pause
from app.db import stored_json
from app.db.embedded.server import EmbeddedPostgres

log = logging.getLogger(__name__)

POOL_SIZE = 10
MAX_OVERFLOW = 5
POOL_TIMEOUT = 5.0
"""Seconds a request waits for a connection before it is answered 503."""

REQUEST_CONNECTIONS = 12
"""Transactions of requests at a time. The connections beyond are for what must not wait behind them: the health
report, and notes of use."""

THREADS = 40
"""For routes that are no coroutines. A request that has a connection must always find one: there are more of them."""

WAIT_FOR_DATABASE = 30.0
"""Seconds a start waits for a database that does not answer yet."""

_FINAL = (
    "does not exist",
    "authentication failed",
    "no pg_hba.conf entry",
    "no password supplied",
    "permission denied",
    "not permitted to log in",
    "unsupported startup parameter",
    "no such database",  # PgBouncer's words; so is the next
    "no such user",
)
"""What waiting does not mend. A server that says it in another language is waited for, and then quoted."""


_OUTAGES = ("08", "40", "53", "57P", "25006", "54000")
"""SQLSTATEs: no connection, lost to another transaction, no resources, server shutting down; only reading is allowed
(a failover, a full disk); the queue of notifications is full."""


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The address of this installation's database, as SQLAlchemy reads it.

    Without DATABASE_URL the embedded server runs for as long as the context lasts.

    Raises:
        StartupError: the address is malformed, or the embedded server does not start.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        _refuse_malformed(url, "DATABASE_URL")
        if settings.database_listen_url is not None:
            _refuse_malformed(settings.database_listen_url.get_secret_value(), "DATABASE_LISTEN_URL")
        yield url
        return
    settings.data.ensure()
    with EmbeddedPostgres(settings.data.postgres) as url:
        yield url


def make_engine(url: str, *, pooled: bool = True, purpose: str = "maintenance") -> Engine:
    """An engine for requests; with `pooled=False` one for a purpose, whose connections close when given back."""
    if not pooled:
        return create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=connect_args(purpose))
    return create_engine(
        url,
        json_deserializer=stored_json.loads,
        pool_size=POOL_SIZE,
        max_overflow=MAX_OVERFLOW,
        pool_timeout=POOL_TIMEOUT,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=connect_args("api"),
    )


def wait_for_database(engine: Engine, timeout: float = WAIT_FOR_DATABASE) -> None:
    """Return once the database answers a query.

    A refusal that waiting cannot mend (no such database, wrong password, no right to connect) ends it at once.

    Raises:
        StartupError: it does not answer within `timeout` seconds, or refuses, or the process is asked to stop.
    """
    deadline = time.monotonic() + timeout
    interval = 0.1
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
            return
        except OperationalError as error:
            reason = _reason(error)
            if is_refusal(error):
                raise StartupError(f"The database at {describe(engine.url)} refuses: {reason}. {_ADVICE}") from error
            if time.monotonic() + interval > deadline:
                raise StartupError(
                    f"The database at {describe(engine.url)} did not answer within {timeout:.0f} seconds "
                    f"({reason}). {_ADVICE}"
                ) from error
            log.warning("waiting for the database at %s: %s", describe(engine.url), reason)
            pause(interval)
            interval = min(interval * 2, 2.0)


_ADVICE = "Check DATABASE_URL and that PostgreSQL is running, then start again."


def is_refusal(error: OperationalError) -> bool:
    """Whether a failed connection was answered by a server that will say the same tomorrow.

    psycopg2 gives no SQLSTATE for a failed connection, so its text has to decide.
    """
    return any(phrase in str(error.orig) for phrase in _FINAL)


def is_outage(error: DBAPIError) -> bool:
    """Whether a statement failed because the database cannot serve it now, not because the statement is wrong."""
    sqlstate = getattr(error.orig, "pgcode", None)
    if sqlstate is None:
        return error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
    return error.connection_invalidated or str(sqlstate).startswith(_OUTAGES)


def describe(url: URL) -> str:
    """`user@host:port/name`, never the password."""
    host = url.host or url.query.get("host") or "the local socket"
    port = f":{url.port}" if url.port else ""
    return f"{url.username or ''}@{host}{port}/{url.database or ''}"


@contextmanager
def connect(url: str) -> Iterator[Connection]:
    """One connection of its own, closed at the end, together with its engine."""
    engine = make_engine(url, pooled=False)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def connect_args(purpose: str) -> dict[str, str | int]:
    """What libpq is told of every connection: what it is for, as pg_stat_activity shows it, and when to give it up."""
    return {
        "application_name": application_name(purpose),
        "connect_timeout": 5,
        "keepalives_idle": 30,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,  # ms; keepalives say nothing while what was sent is not acknowledged
    }


def application_name(purpose: str) -> str:
    """As long as PostgreSQL keeps it."""
    return f"trading-backend {purpose}"[:63]


def _refuse_malformed(url: str, name: str) -> None:
    try:
        make_engine(url, pooled=False)
    except (ArgumentError, ValueError):
        raise StartupError(
            f"{name} cannot be read: it must look like postgresql://user:password@host:5432/name, "
            "with reserved characters of the password percent-encoded."
        ) from None


def _reason(error: OperationalError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else "no reason given"
