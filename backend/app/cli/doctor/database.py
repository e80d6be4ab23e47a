"""The server and the schema: what every table needs."""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.cli.doctor.report import Fail, Findings, Ok, Warn, check
from app.core.clock import now
from app.core.errors import StartupError
from app.core.settings import Settings
from app.db.capacity import PROCESS_CONNECTIONS
from app.db.embedded.server import EmbeddedPostgres
from app.db.migration.migrate import ALEMBIC_INI
from app.db.notifications import MAX_QUEUE_USAGE
from app.db.schema.report import SchemaReport, inspect_schema
from app.db.schema.text import verdict

OLDEST_SERVER = 13
"""The first with `normalize`, by which names are compared."""

NOTICEABLE = timedelta(seconds=5)
HARMFUL = timedelta(seconds=60)

FULL = 0.9
"""Of the connections."""

_SERVER = text(
    """
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
           pg_encoding_to_char(encoding) AS encoding, current_setting('transaction_read_only')::bool AS read_only
      FROM pg_database WHERE datname = current_database()
    """
)
_QUEUE = text("SELECT pg_notification_queue_usage()")
_CLOCK = text("SELECT clock_timestamp()")
_CONNECTIONS = text(
    """
    SELECT current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS server,
           nullif(datconnlimit, -1) AS database, nullif(rolconnlimit, -1) AS role,
           (SELECT sum(numbackends) FROM pg_stat_database) AS used
      FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user
    """
)


@check("database")
def check_absent(settings: Settings) -> Findings:
    """The embedded server before its first start."""
    try:
        programs = EmbeddedPostgres(settings.data.postgres).bin_path
    except StartupError as error:
        yield Fail("there is no embedded PostgreSQL", str(error).rstrip(".").partition(": ")[2])
    else:
        yield Ok(f"none yet: the first start makes it, with {programs}/initdb")


@check("database")
def check_unreachable(error: StartupError) -> Findings:
    yield Fail(str(error).partition(". Check ")[0].rstrip("."), "check DATABASE_URL, and that PostgreSQL is running")


@check("database")
def check_server(session: Session, settings: Settings) -> Findings:
    server = session.execute(_SERVER).one()
    yield Ok(f"PostgreSQL {server.version}")
    if server.major < OLDEST_SERVER:
        yield Fail(f"PostgreSQL {server.version} is too old", f"upgrade it to {OLDEST_SERVER} or newer")
    if server.encoding != "UTF8":
        yield Fail(
            f"its encoding is {server.encoding}, in which most names cannot be stored",
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and restore a dump into it",
        )
    if server.read_only:
        yield Fail("it is read-only: nothing can be changed, nobody can sign in", "use the primary server's address")


@check("schema")
def check_schema(session: Session, settings: Settings) -> Findings:
    report = inspect_schema(session.connection())
    revisions = report.revisions
    yield Ok(f"revision {revisions.head}")
    told, _, advice = verdict(report).rstrip(".").partition(": ")
    if report.ok:
        return
    if revisions.pending and (revisions.current or all(table.mark == "missing" for table in report.tables)):
        yield Fail(f"revisions are pending: {', '.join(revisions.pending)}", "trading-backend migrate")
        if refusal := _refusal(session):
            yield Fail("the data stands in the way of the pending revisions", refusal)
    elif len(revisions.current) == 1 and not revisions.known and report.fits:
        yield Warn(told, advice)
    elif revisions.current == (revisions.head,):
        kind = Warn if report.usable else Fail
        yield kind(f"{told} ({_worst(report)})", "cd backend && python verify_schema.py")
    else:
        yield Fail(told, advice)


def _refusal(session: Session) -> str | None:
    """What a migration would say instead of changing anything."""
    from alembic.config import Config  # noqa: PLC0415 - 0.4 s, for a database that is behind alone
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    from app.db.migration.preconditions import check_preconditions  # noqa: PLC0415

    try:
        check_preconditions(session.connection(), ScriptDirectory.from_config(Config(ALEMBIC_INI)), "head")
    except StartupError as error:
        return str(error)
    return None


def _worst(report: SchemaReport) -> str:
    return next(str(drift) for drift in report.drift if not drift.harmless)


@check("queue")
def check_queue(session: Session, settings: Settings) -> Findings:
    """Whatever is revoked is told through it; a client that listens and does not read keeps it full."""
    usage: float = session.execute(_QUEUE).scalar_one()
    if usage > MAX_QUEUE_USAGE:
        yield Warn(
            f"that of notifications is {usage:.0%} full, and nothing can be changed in an account once it is",
            "end the oldest session of pg_stat_activity that is idle in transaction",
        )
    yield Ok(f"that of notifications is {usage:.0%} full")


@check("clock")
def check_clock(session: Session, settings: Settings) -> Findings:
    before = now()
    theirs: datetime = session.execute(_CLOCK).scalar_one()
    skew = abs(theirs - (before + (now() - before) / 2))
    if skew > NOTICEABLE:
        kind = Fail if skew > HARMFUL else Warn
        yield kind(
            f"this machine's clock and the database's are {skew.total_seconds():.0f} s apart",
            "run a time service (chrony, systemd-timesyncd) on both",
        )
    yield Ok(f"{skew.total_seconds():.1f} s from the database's")


@check("pool")
def check_pool(session: Session, settings: Settings) -> Findings:
    """How many processes of the service the server has connections for."""
    limits = session.execute(_CONNECTIONS).one()
    limit = min(each for each in (limits.server, limits.database, limits.role) if each is not None)
    each = PROCESS_CONNECTIONS
    yield Ok(
        f"{limits.used} of {limit} connections in use; enough for {limit // each} processes, which may use {each} each"
    )
    remedy = "raise max_connections (or the limit of the role or database), or put PgBouncer in front"
    if limit < each:
        yield Warn(f"{limit} connections are allowed, and one process may use {each}", remedy)
    elif limits.used > FULL * limits.server:
        yield Warn(f"{limits.used} of {limits.server} connections are in use", remedy)
