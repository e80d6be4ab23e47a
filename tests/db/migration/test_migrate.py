"""What a start decides about a database it finds, and how its refusals read."""

import logging
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import make_url

from app.core.errors import StartupError
from app.db.engine import make_engine, wait_for_database
from app.db.migration.migrate import migrate
from app.db.revisions import UPGRADE, head_revision
from tests.support.chain import USERNAMES, catalog, execute, fetch, revision_of, shell, upgrade
from tests.support.identity import statements
from tests.support.postgres import run_outside_transaction
from tests.support.service import clone, environment, free_port

PASSWORD = "p4ss-of-the-tests"
NEWER = "UPDATE alembic_version SET version_num = 'ffffffffffff'"
WHICH_MODULES = """
import sys
from app.db.migration.migrate import migrate
migrate(sys.argv[1], apply=True)
print(*sorted(name for name in sys.modules if name.partition(".")[0] == "alembic"))
"""


@pytest.fixture
def stranger(server_url: str) -> Iterator[str]:
    """A role that may log in and was given nothing else."""
    name = f"stranger_{uuid.uuid4().hex}"
    run_outside_transaction(server_url, f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield name
    run_outside_transaction(server_url, f"DROP ROLE {name}")


@pytest.fixture
def strange_url(stranger: str, empty_url: str) -> str:
    """An empty database as the stranger reaches it."""
    return address(empty_url, username=stranger, password=PASSWORD)


def address(url: str, **changes: str) -> str:
    return make_url(url).set(**changes).render_as_string(hide_password=False)  # type: ignore[arg-type]


def name_of(url: str) -> str:
    return make_url(url).database or ""


def refusal(url: str, *, apply: bool = True) -> str:
    """The sentence with which `migrate` refuses, having changed nothing."""
    with pytest.raises(StartupError) as raised:
        migrate(url, apply=apply)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


class TestAtHead:
    def test_it_is_one_select(self, clone_url: str) -> None:
        with statements() as sent:
            migrate(clone_url, apply=True)
        assert sent == ["SELECT version_num FROM alembic_version"]

    def test_alembic_is_not_imported(self, clone_url: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", WHICH_MODULES, clone_url],
            cwd=clone() / "backend",
            env=environment({"PYTHONPATH": "."}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


class TestBehind:
    def test_an_empty_database_comes_to_head(self, empty_url: str) -> None:
        migrate(empty_url, apply=True)
        assert revision_of(empty_url) == [head_revision()]

    def test_one_that_was_emptied_by_a_downgrade_comes_to_head(self, empty_url: str) -> None:
        execute(empty_url, "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        migrate(empty_url, apply=True)
        assert revision_of(empty_url) == [head_revision()]

    def test_not_to_be_migrated_it_is_refused_and_told_the_command(self, empty_url: str) -> None:
        assert f"is at revision empty, the code at {head_revision()}" in refusal(empty_url, apply=False)
        assert catalog(empty_url) == {}
        upgrade(empty_url, USERNAMES)
        said = refusal(empty_url, apply=False)
        assert f"at revision {USERNAMES}" in said
        assert f"MIGRATE_ON_START is false: run `{UPGRADE}`" in said
        assert revision_of(empty_url) == [USERNAMES]

    def test_the_loggers_survive(self, empty_url: str) -> None:
        names = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "app", "app.errors", "app.db.migration.migrate")
        loggers = [logging.getLogger(name) for name in names]
        before = [(each.disabled, each.level, each.propagate, list(each.handlers)) for each in loggers]
        migrate(empty_url, apply=True)
        assert [(each.disabled, each.level, each.propagate, list(each.handlers)) for each in loggers] == before
        assert not any(each.disabled for each in loggers)


class TestOddStates:
    def test_two_revisions_are_refused(self, clone_url: str) -> None:
        execute(clone_url, f"INSERT INTO alembic_version VALUES ('{USERNAMES}')")
        said = refusal(clone_url)
        assert "alembic_version holds 2 rows" in said
        assert USERNAMES in said
        assert head_revision() in said
        assert "verify_schema.py" in said

    @pytest.mark.parametrize("apply", [True, False])
    def test_newer_tables_that_fit_are_accepted_with_a_warning(
        self, clone_url: str, caplog: pytest.LogCaptureFixture, apply: bool
    ) -> None:
        execute(
            clone_url,
            NEWER,
            "CREATE TABLE watches (id SERIAL PRIMARY KEY)",
            "ALTER TABLE users ADD COLUMN nickname TEXT, ADD COLUMN visits INTEGER NOT NULL DEFAULT 0",
            "CREATE UNIQUE INDEX users_email_lower ON users (lower(email))",
            "ALTER TABLE users ADD CONSTRAINT users_role_check CHECK (role <> '')",
            "CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        )
        migrate(clone_url, apply=apply)
        (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "revision ffffffffffff, which this code does not know" in warning.getMessage()
        assert revision_of(clone_url) == ["ffffffffffff"]

    @pytest.mark.parametrize(
        ("change", "column"),
        [
            ("ALTER TABLE users ADD COLUMN nickname TEXT NOT NULL", "users.nickname: extra column"),
            ("ALTER TABLE users RENAME COLUMN full_name TO display_name", "users.full_name: missing column"),
            ("ALTER TABLE users ALTER COLUMN full_name TYPE TEXT", "users.full_name: different type"),
        ],
        ids=["an unknown column that must be given", "a renamed column", "another type"],
    )
    def test_newer_tables_that_do_not_fit_are_refused_and_the_column_is_named(
        self, clone_url: str, change: str, column: str
    ) -> None:
        execute(clone_url, NEWER, change)
        said = refusal(clone_url)
        assert "revision ffffffffffff, which this code does not know, and its tables do not fit" in said
        assert column in said

    def test_tables_in_another_schema_of_the_path_are_no_empty_database(self, empty_url: str) -> None:
        upgrade(empty_url, USERNAMES)
        execute(empty_url, "DROP TABLE alembic_version", "CREATE SCHEMA postgres")
        assert f"alembic stamp {USERNAMES}" in refusal(empty_url)
        execute(
            empty_url,
            "CREATE TABLE public.alembic_version (version_num VARCHAR(32) NOT NULL)",
            f"INSERT INTO alembic_version VALUES ('{USERNAMES}')",
        )
        assert "The tables are in schema public, but new ones would be made in postgres" in refusal(empty_url)

    def test_the_shell_is_told_the_same(self, clone_url: str) -> None:
        execute(clone_url, "DELETE FROM alembic_version")
        said = shell(clone_url, "upgrade", "head")
        assert said.returncode > 0
        assert f"alembic stamp {head_revision()}" in said.stdout + said.stderr
        assert "Traceback" not in said.stdout + said.stderr

    def test_a_sequence_that_its_column_only_uses_is_brought_past_it(self, empty_url: str) -> None:
        """As after a restore by hand: the default is there, the ownership is not."""
        upgrade(empty_url, USERNAMES)
        execute(
            empty_url,
            "ALTER SEQUENCE users_id_seq OWNED BY NONE",
            "INSERT INTO users (id, email, created_at, updated_at, preferences) "
            "SELECT n, n || '@example.test', now(), now(), '{}' FROM generate_series(1, 5) AS n",
        )
        migrate(empty_url, apply=True)
        (following,) = fetch(empty_url, "SELECT nextval('users_id_seq')::text AS id")
        assert following == {"id": "6"}

    def test_a_read_only_server_is_named_as_such(self, empty_url: str) -> None:
        run_outside_transaction(
            empty_url, f'ALTER DATABASE "{name_of(empty_url)}" SET default_transaction_read_only = on'
        )
        said = refusal(empty_url)
        assert "is read-only" in said
        assert "use the primary server's address" in said

    def test_a_role_that_may_not_create_is_told_what_to_grant(self, strange_url: str, empty_url: str) -> None:
        execute(empty_url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        said = refusal(strange_url)
        assert "`GRANT CREATE, USAGE ON SCHEMA public TO`" in said
        assert catalog(empty_url) == {}

    def test_a_role_that_may_not_read_the_revision_is_told_the_same(self, stranger: str, clone_url: str) -> None:
        assert "permission denied for table alembic_version" in refusal(address(clone_url, username=stranger))


class TestReach:
    def wait(self, url: str, timeout: float) -> str:
        """The sentence with which waiting for the database ended."""
        engine = make_engine(url)
        try:
            with pytest.raises(StartupError) as raised:
                wait_for_database(engine, timeout)
        finally:
            engine.dispose()
        assert PASSWORD not in str(raised.value)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    def refused_at_once(self, url: str) -> str:
        began = time.monotonic()
        said = self.wait(url, timeout=30)
        assert time.monotonic() - began < 2
        assert " refuses: " in said
        return said

    def test_an_unreachable_one_is_waited_for(self, caplog: pytest.LogCaptureFixture) -> None:
        began = time.monotonic()
        said = self.wait(f"postgresql+psycopg2://someone:{PASSWORD}@127.0.0.1:{free_port()}/trading", timeout=1)
        assert time.monotonic() - began < 2
        assert re.match(r"The database at someone@127\.0\.0\.1:\d+/trading did not answer within 1 seconds", said)
        assert "Check DATABASE_URL" in said
        assert len(caplog.records) > 1
        assert PASSWORD not in caplog.text

    def test_one_that_is_full_is_waited_for_until_it_has_room(
        self, stranger: str, strange_url: str, empty_url: str
    ) -> None:
        run_outside_transaction(empty_url, f"ALTER ROLE {stranger} CONNECTION LIMIT 0")
        assert "too many connections" in self.wait(strange_url, timeout=0.2)
        make_room = f"ALTER ROLE {stranger} CONNECTION LIMIT -1"
        timer = threading.Timer(0.5, run_outside_transaction, [empty_url, make_room])
        timer.start()
        engine = make_engine(strange_url)
        try:
            wait_for_database(engine, 10)
        finally:
            engine.dispose()
            timer.join()

    def test_a_missing_database(self, empty_url: str) -> None:
        assert 'database "nowhere" does not exist' in self.refused_at_once(address(empty_url, database="nowhere"))

    def test_a_missing_role(self, empty_url: str) -> None:
        said = self.refused_at_once(address(empty_url, username="nobody_at_all", password=PASSWORD))
        assert 'role "nobody_at_all" does not exist' in said or "password authentication failed" in said

    def test_no_right_to_connect(self, strange_url: str, empty_url: str) -> None:
        run_outside_transaction(empty_url, f'REVOKE CONNECT ON DATABASE "{name_of(empty_url)}" FROM PUBLIC')
        assert "permission denied for database" in self.refused_at_once(strange_url)

    def test_a_wrong_password(self, stranger: str, strange_url: str, empty_url: str) -> None:
        with asking_for_a_password(empty_url, stranger):
            said = self.refused_at_once(address(strange_url, password="wrong-one"))
        assert f'password authentication failed for user "{stranger}"' in said
        assert "wrong-one" not in said


@contextmanager
def asking_for_a_password(url: str, role: str) -> Iterator[None]:
    """Have a server that trusts everybody ask this role; one of TEST_DATABASE_URL is expected to ask already."""
    if os.environ.get("TEST_DATABASE_URL"):
        yield
        return
    (setting,) = fetch(url, "SELECT current_setting('hba_file') AS path")
    rules = Path(str(setting["path"]))
    before = rules.read_text(encoding="utf-8")
    rules.write_text(f"local all {role} scram-sha-256\n{before}", encoding="utf-8")
    try:
        run_outside_transaction(url, "SELECT pg_reload_conf()")
        wait_until_refused(address(url, username=role, password="wrong"))
        yield
    finally:
        rules.write_text(before, encoding="utf-8")
        run_outside_transaction(url, "SELECT pg_reload_conf()")


def wait_until_refused(url: str) -> None:
    """The server reads its rules again a moment after it was told to."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            psycopg2.connect(address(url, drivername="postgresql")).close()
        except psycopg2.OperationalError:
            return
        time.sleep(0.02)
    raise AssertionError("the server goes on letting everybody in")
