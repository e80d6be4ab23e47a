"""Whether triggers tell is asked with each proof: where they would not, nothing is answered from memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import make_url

from app.db.embedded.server import EmbeddedPostgres
from app.db.migration.migrate import migrate
from app.identity.revocations import REVOCATIONS
from tests.support import postgres
from tests.support.chain import execute
from tests.support.overhearing import MISSED, Overheard, overhearing
from tests.support.postgres import FAST, run_outside_transaction
from tests.support.service import data_folder

UNGUARDED = "the triggers that tell of revocations are missing, changed or disabled"

REPLACED = """
CREATE OR REPLACE TRIGGER revocations_on_update {} ON users EXECUTE FUNCTION {}();
ALTER TABLE users ENABLE ALWAYS TRIGGER revocations_on_update
"""
MUTE = "CREATE FUNCTION mute() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"


@pytest.fixture
def overheard(clone_url: str) -> Iterator[Overheard]:
    with overhearing(clone_url, channel=REVOCATIONS) as overheard:
        overheard.becomes(current=True)
        yield overheard


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ("ALTER TABLE users DISABLE TRIGGER USER", "ALTER TABLE users ENABLE ALWAYS TRIGGER USER"),
        ("ALTER TABLE api_tokens ENABLE TRIGGER USER", None),
        ("DROP TRIGGER revocations_on_delete ON user_sessions", None),
        ("ALTER TABLE api_tokens RENAME TO tokens", "ALTER TABLE tokens RENAME TO api_tokens"),
        (REPLACED.format("AFTER INSERT", "tell_revocations"), None),
        (MUTE + REPLACED.format("AFTER UPDATE", "mute"), None),
    ],
)
def test_what_would_not_be_told(overheard: Overheard, clone_url: str, change: str, remedy: str | None) -> None:
    execute(clone_url, change)
    overheard.becomes(current=False, within=1)
    overheard.says(UNGUARDED)
    if remedy:
        execute(clone_url, *remedies(remedy))
        overheard.becomes(current=True)


def remedies(remedy: str) -> list[str]:
    """PostgreSQL enables all triggers always only one by one."""
    if "ALWAYS TRIGGER USER" not in remedy:
        return [remedy]
    return [remedy.replace("USER", f"revocations_on_{event}") for event in ("update", "delete", "truncate")]


def test_what_was_not_told_for_a_moment(overheard: Overheard, clone_url: str) -> None:
    """Nobody ever sees the triggers disabled."""
    enable = "; ".join(remedies("ALTER TABLE users ENABLE ALWAYS TRIGGER USER"))
    execute(clone_url, f"ALTER TABLE users DISABLE TRIGGER USER; UPDATE users SET is_active = false; {enable}")
    overheard.listener.catch_up(5)
    assert overheard.current
    assert overheard.story == [MISSED, MISSED]


@pytest.mark.slow
def test_a_subscription() -> None:
    """What it applies fires no trigger of a statement."""
    with (
        logical_server() as server,
        postgres.database(server) as publisher,
        postgres.database(server) as subscriber,
    ):
        for url in (publisher, subscriber):
            migrate(url, apply=True)
        there = make_url(publisher)
        address = f"host={there.query['host']} dbname={there.database} user={there.username}"
        run_outside_transaction(publisher, "CREATE PUBLICATION people FOR TABLE users")
        run_outside_transaction(publisher, "SELECT pg_create_logical_replication_slot('people', 'pgoutput')")
        with overhearing(subscriber, channel=REVOCATIONS) as overheard:
            overheard.becomes(current=True)
            run_outside_transaction(
                subscriber,
                f"CREATE SUBSCRIPTION people CONNECTION '{address}' PUBLICATION people "
                "WITH (create_slot = false, copy_data = false)",
            )
            overheard.becomes(current=False, within=1)
            overheard.says(UNGUARDED)
            run_outside_transaction(subscriber, "DROP SUBSCRIPTION people")
            overheard.becomes(current=True)


@contextmanager
def logical_server() -> Iterator[str]:
    with data_folder() as folder:
        server = EmbeddedPostgres(folder / "postgres", settings=FAST | {"wal_level": "logical"})
        try:
            yield server.start()
        finally:
            server.stop()
