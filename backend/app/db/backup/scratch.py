"""Databases made for a while beside the one in use, and like it in everything that is a database's own.

Each is kept by an advisory lock of the session that made it. One that nobody keeps was left behind by a process that
was killed, and is dropped the next time.
"""

import hashlib
import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from app.core.errors import StartupError
from app.db.backup.scratch_queries import CREATE, PROPERTIES, RIGHTS
from app.db.engine import connect, describe

log = logging.getLogger(__name__)

NAME_BYTES = 63
_MEETING_PLACES = ("postgres", "template1")

_NO_TIMEOUTS = """
SELECT set_config(name, '0', false) FROM pg_settings
 WHERE name IN ('statement_timeout', 'transaction_timeout', 'idle_session_timeout')
"""
_KEEP = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_LET_GO = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")
_STARTING_WITH = text("SELECT datname FROM pg_database WHERE starts_with(datname, :start) ORDER BY datname DESC")


@contextmanager
def maintenance(url: str) -> Iterator[Connection]:
    """A connection to the server of `url`, but to another database; each statement is a transaction of its own.

    Raises:
        StartupError: the role may connect to no database that every server has.
    """
    with ExitStack() as stack:
        yield _first_that_admits(stack, url)


@contextmanager
def scratch_database(server: Connection, like: str) -> Iterator[str]:
    """The name of a new, empty database, dropped at the end unless it was renamed.

    Raises:
        StartupError: the role may not make one like the database `like`.
    """
    _refuse_without_rights(server, like)
    token = secrets.token_hex(6)
    name = suffixed(like, f"_scratch_{token}")
    _drop_leftovers(server, name.removesuffix(token))
    server.execute(_KEEP, {"name": name})
    try:
        _create(server, name, like)
        yield name
    finally:
        drop(server, name)


def databases_named(server: Connection, stem: str) -> list[str]:
    """Those whose names begin with `stem`, the last in alphabetical order first."""
    return list(server.scalars(_STARTING_WITH, {"start": stem}))


def drop(server: Connection, name: str) -> None:
    """Drop the database `name`, whoever uses it; no error when there is none."""
    server.exec_driver_sql(f"DROP DATABASE IF EXISTS {quoted(server, name)} WITH (FORCE)")


def quoted(server: Connection, name: str) -> str:
    return server.dialect.identifier_preparer.quote_identifier(name)


def suffixed(name: str, suffix: str) -> str:
    """`name` with the ASCII text `suffix`, cut so that PostgreSQL takes it whole.

    A name that is cut keeps a hash of all of it: another that begins alike must not come out the same.
    """
    whole = name.encode()
    if len(whole) + len(suffix) <= NAME_BYTES:
        return name + suffix
    ending = f"_{hashlib.sha256(whole).hexdigest()[:8]}{suffix}"
    return whole[: NAME_BYTES - len(ending)].decode(errors="ignore") + ending


def _first_that_admits(stack: ExitStack, url: str) -> Connection:
    address = make_url(url)
    refusal: OperationalError | None = None
    for name in _MEETING_PLACES:
        if name == address.database:
            continue
        elsewhere = address.set(database=name).render_as_string(hide_password=False)
        try:
            server = stack.enter_context(connect(elsewhere))
        except OperationalError as error:
            refusal = error
        else:
            server.execution_options(isolation_level="AUTOCOMMIT")
            server.exec_driver_sql(_NO_TIMEOUTS)
            return server
    raise StartupError(
        f"The role at {describe(address)} may connect neither to the database postgres nor to template1, from where "
        "other databases are made and renamed: grant it CONNECT on one of them."
    ) from refusal


def _refuse_without_rights(server: Connection, like: str) -> None:
    rights = server.execute(RIGHTS, {"like": like}).one()
    if not rights.creates:
        raise StartupError(
            f"The role {rights.role} may not create databases, and a backup is restored into a new one: run "
            f"`ALTER ROLE {quoted(server, rights.role)} CREATEDB` as a superuser, or set DATABASE_URL to a superuser's."
        )
    if not rights.owns:
        raise StartupError(
            f"The role {rights.role} does not own the database {like} and may not put another in its place: "
            f"use the DATABASE_URL of {rights.owner} or of a superuser."
        )


def _drop_leftovers(server: Connection, stem: str) -> None:
    for name in databases_named(server, stem):
        if re.fullmatch("[0-9a-f]{12}", name.removeprefix(stem)) and server.scalar(_KEEP, {"name": name}):
            log.info("dropping the database %s, which a process that was killed left behind", name)
            drop(server, name)
            server.execute(_LET_GO, {"name": name})


def _create(server: Connection, name: str, like: str) -> None:
    names = {"new": name, "like": like}
    server.exec_driver_sql(_literally(server.scalars(CREATE, names).one()))
    for statement in server.scalars(PROPERTIES, names).all():
        try:
            server.exec_driver_sql(_literally(statement))
        except ProgrammingError as error:
            log.warning("could not do `%s`: %s", statement, str(error.orig).strip())


def _literally(statement: str) -> str:
    return statement.replace("%", "%%")
