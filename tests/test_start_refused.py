"""What keeps the service from starting is one sentence, a non-zero status, and nothing left behind."""

import re
import signal
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.db.migration.lock import migration_lock
from app.db.revisions import head_revision
from tests.support.postgres import run_outside_transaction
from tests.support.service import Running, free_port, processes_in, uvicorn_process

pytestmark = pytest.mark.slow

SECRET = "p4ss-of-the-tests"
STRONG = "7f3c9a51e08b46d2a7c4f19e5d80b362"
BESIDE_IT = re.compile(
    r"Started server process|Waiting for application startup|Finished server process"
    r"|waiting for (the database|a migration)|traversable"
)


def refusal(server: Running, status: int = 1) -> str:
    """The one sentence it ended with."""
    assert server.ends() == status, server.output()
    assert server.printed() == ""
    assert SECRET not in server.logged()
    (sentence,) = [line for line in server.logged().splitlines() if not BESIDE_IT.search(line)]
    return sentence


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"DATABASE_URL": f"postgresql://user:{SECRET}@host:port/name"}, "DATABASE_URL cannot be read"),
        (
            {"DATABASE_URL": "postgresql://host/name", "DATABASE_LISTEN_URL": f"postgresql://u:{SECRET}@host:port/x"},
            "DATABASE_LISTEN_URL cannot be read",
        ),
        (
            {"DATABASE_URL": f"postgresql://u:{SECRET}@/name?host=one&host=two&port=5432,5433"},
            "DATABASE_URL cannot be read",
        ),
        ({"DATABASE_URL": f"mysql://user:{SECRET}@host/name"}, "DATABASE_URL must be a PostgreSQL address"),
        ({"DATA_DIR": "/dev/null"}, "DATA_DIR /dev/null cannot be used"),
        ({"DATA_DIR": "/sys/data"}, "DATA_DIR /sys/data cannot be used"),  # nobody may write there
        ({"APP_ENV": "production"}, "DATABASE_URL must be set"),
        (
            {
                "APP_ENV": "production",
                "DATABASE_URL": "postgresql://host/name",
                "JWT_SECRET": f"change-me-{SECRET * 2}",
            },
            "JWT_SECRET looks like a placeholder",
        ),
    ],
)
def test_bad_configuration(variables: dict[str, str], sentence: str, data_dir: Path, tmp_path: Path) -> None:
    with uvicorn_process(tmp_path, {"DATA_DIR": str(data_dir)} | variables) as server:
        assert sentence in refusal(server)
    assert not data_dir.exists()


def test_a_missing_database(clone_url: str, tmp_path: Path) -> None:
    nowhere = make_url(clone_url).set(database="nowhere", password=SECRET).render_as_string(hide_password=False)
    with uvicorn_process(tmp_path, {"DATABASE_URL": nowhere, "DATA_DIR": str(tmp_path)}) as server:
        assert "refuses: " in (said := refusal(server))
        assert 'database "nowhere" does not exist' in said


def test_production_without_the_token(clone_url: str, tmp_path: Path) -> None:
    variables = {"APP_ENV": "production", "DATABASE_URL": clone_url, "JWT_SECRET": STRONG, "LOG_FORMAT": "console"}
    with uvicorn_process(tmp_path, variables) as server:
        assert "API_TOKEN must be set until the MVP user has a password" in refusal(server)


def test_tables_without_a_revision(clone_url: str, tmp_path: Path) -> None:
    run_outside_transaction(clone_url, "DROP TABLE alembic_version")
    with uvicorn_process(tmp_path, {"DATABASE_URL": clone_url, "DATA_DIR": str(tmp_path)}) as server:
        assert f"python -m alembic stamp {head_revision()}" in refusal(server)


def test_a_revision_of_other_code_whose_tables_do_not_fit(clone_url: str, tmp_path: Path) -> None:
    run_outside_transaction(
        clone_url, "UPDATE alembic_version SET version_num = 'ffffffffffff'", "ALTER TABLE users DROP COLUMN full_name"
    )
    with uvicorn_process(tmp_path, {"DATABASE_URL": clone_url, "DATA_DIR": str(tmp_path)}) as server:
        said = refusal(server)
    assert "revision ffffffffffff, which this code does not know" in said
    assert "full_name" in said


def test_an_empty_database_that_may_not_be_migrated(data_dir: Path, tmp_path: Path) -> None:
    with uvicorn_process(tmp_path, {"DATA_DIR": str(data_dir), "MIGRATE_ON_START": "false"}) as server:
        said = refusal(server)
    assert f"at revision empty, the code at {head_revision()}" in said
    assert processes_in(data_dir) == []


@pytest.fixture
def silent_url() -> str:
    """Where no database listens."""
    return f"postgresql://user:{SECRET}@127.0.0.1:{free_port()}/name"


def test_a_signal_ends_the_wait_for_a_database(silent_url: str, tmp_path: Path) -> None:
    with uvicorn_process(tmp_path, {"DATABASE_URL": silent_url, "DATA_DIR": str(tmp_path)}) as server:
        server.wait_for(lambda: "waiting for the database" in server.logged())
        server.stop(signal.SIGINT, timeout=8)
        assert "Stopped by a signal" in refusal(server)


def test_a_signal_ends_the_wait_for_another_migration(empty_url: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": empty_url, "DATA_DIR": str(tmp_path)}
    with migration_lock(empty_url), uvicorn_process(tmp_path, variables) as server:
        server.wait_for(lambda: "waiting for a migration by another process" in server.logged())
        server.stop(signal.SIGTERM, timeout=8)
        assert "Stopped by a signal" in refusal(server)


@pytest.mark.slow
def test_an_unreachable_database(silent_url: str, tmp_path: Path) -> None:
    with uvicorn_process(tmp_path, {"DATABASE_URL": silent_url, "DATA_DIR": str(tmp_path)}) as server:
        server.ends(timeout=45)
        assert "did not answer within 30 seconds" in refusal(server)
