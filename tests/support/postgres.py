"""A real PostgreSQL for the tests: one server, one migrated template, a database of its own for each test."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from app.db.embedded.server import EmbeddedPostgres
from app.db.migration.migrate import migrate

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}
"""A test database need not survive a power cut."""


@contextmanager
def server(directory: Path) -> Iterator[str]:
    """The address of TEST_DATABASE_URL's server, or of an embedded one that all test processes share."""
    configured = os.environ.get("TEST_DATABASE_URL")
    if configured:
        yield _with_driver(configured)
        return
    directory.mkdir(exist_ok=True)
    with EmbeddedPostgres(directory / "postgres", settings=FAST) as url:
        yield url


def run_outside_transaction(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def address_of(server_url: str, database: str) -> str:
    return make_url(server_url).set(database=database).render_as_string(hide_password=False)


def template(server_url: str, note: Path) -> str:
    """The name of a database at head, made by the real chain, once for all test processes; `note` holds it."""
    with note.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if name := file.read():
            return name
        name = f"template_{uuid.uuid4().hex}"
        run_outside_transaction(server_url, f'CREATE DATABASE "{name}"')
        migrate(address_of(server_url, name), apply=True)
        file.write(name)
        return name


def drop_template(note: Path) -> None:
    """Leave nothing on a server of somebody else's; an embedded one is gone with its folder."""
    if note.exists() and (configured := os.environ.get("TEST_DATABASE_URL")):
        run_outside_transaction(_with_driver(configured), f'DROP DATABASE IF EXISTS "{note.read_text()}"')


@contextmanager
def database(server_url: str, *, like: str = "template0") -> Iterator[str]:
    """A database of its own, copied from the database `like`, dropped at the end whoever still uses it."""
    name = f"test_{uuid.uuid4().hex}"
    run_outside_transaction(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
    try:
        yield address_of(server_url, name)
    finally:
        run_outside_transaction(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _with_driver(url: str) -> str:
    return url.replace("postgres://", "postgresql://").replace("postgresql://", "postgresql+psycopg2://")
