"""The installed command, as processes, and uvicorn's own workers beside it."""

import json
import signal
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, inspect

from tests.support.postgres import run_outside_transaction
from tests.support.service import MVP_TOKEN, processes_in, running, serving

pytestmark = pytest.mark.slow

CLI = ("-m", "app.cli")


@pytest.mark.parametrize(
    ("asked", "status"),
    [(signal.SIGTERM, 128 + signal.SIGTERM), pytest.param(signal.SIGINT, 0, marks=pytest.mark.slow)],
)
def test_serve(asked: signal.Signals, status: int, data_dir: Path, tmp_path: Path) -> None:
    with serving(tmp_path, {"DATA_DIR": str(data_dir)}, *CLI, "serve") as server:
        server.wait_until_up()
        assert server.get("/api/health/detailed", server.token()).json()["status"] == "healthy"
        with running(tmp_path, {"DATA_DIR": str(data_dir)}, *CLI, "users", "list", "--json") as beside:
            assert beside.ends() == 0, beside.output()
        assert json.loads(beside.printed()) == [server.get("/api/users/me", server.token()).json()]
        assert server.stop(asked) == status
    assert "Application shutdown complete" in server.logged()
    assert processes_in(data_dir) == []


def test_the_banner_knows_the_port_that_nobody_named(clone_url: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": clone_url, "DATA_DIR": str(tmp_path)}
    with running(tmp_path, variables, *CLI, "serve") as server:
        server.wait_for(server.printed)
        assert "http://localhost:8001/docs\n" in server.printed()


def test_serve_with_workers(empty_url: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": empty_url, "DATA_DIR": str(tmp_path), "API_TOKEN": MVP_TOKEN, "LOG_FORMAT": "json"}
    with serving(tmp_path, variables, *CLI, "serve", "--workers", "2") as server:
        server.wait_for(lambda: server.logged().count("Application startup complete") == 2)
        assert server.get("/api/users/me", MVP_TOKEN).json()["role"] == "owner"
        family = psutil.Process(server.process.pid).children(recursive=True)
        assert server.stop(signal.SIGTERM) == 0
        assert psutil.wait_procs(family, timeout=5)[1] == []
    messages = [json.loads(line)["message"] for line in server.logged().splitlines()]
    assert messages.count(f"Started parent process [{server.process.pid}]") == 1
    assert len([message for message in messages if message.startswith("migrating the database")]) == 1


@pytest.mark.slow
def test_killing_the_supervisor_stops_its_workers_and_the_database(data_dir: Path, tmp_path: Path) -> None:
    with serving(tmp_path, {"DATA_DIR": str(data_dir)}, *CLI, "serve", "--workers", "2") as server:
        server.wait_for(lambda: server.logged().count("Application startup complete") == 2)
        family = psutil.Process(server.process.pid).children(recursive=True)
        server.process.kill()
        assert psutil.wait_procs(family, timeout=10)[1] == []
        assert processes_in(data_dir) == []


@pytest.mark.parametrize(
    ("program", "status"),
    [
        pytest.param((*CLI, "serve"), 1, id="serve"),
        pytest.param(("-m", "uvicorn", "app.main:app"), 0, id="uvicorn", marks=pytest.mark.slow),  # 0 is its own choice
    ],
)
def test_workers_that_cannot_start_end_it_all(
    program: tuple[str, ...], status: int, clone_url: str, tmp_path: Path
) -> None:
    run_outside_transaction(clone_url, "DROP TABLE alembic_version")
    variables = {"DATABASE_URL": clone_url, "DATA_DIR": str(tmp_path)}
    with serving(tmp_path, variables, *program, "--workers", "2") as server:
        assert server.ends() == status
    assert "python -m alembic stamp" in server.logged()
    assert "Traceback" not in server.logged()


def test_migrate(empty_url: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": empty_url, "DATA_DIR": str(tmp_path)}
    with running(tmp_path, variables, *CLI, "migrate") as command:
        assert command.ends() == 0, command.output()
    engine = create_engine(empty_url)
    assert "api_tokens" in inspect(engine).get_table_names()
    engine.dispose()


def test_a_refusal_is_one_sentence(tmp_path: Path) -> None:
    with running(tmp_path, {"DATABASE_URL": "mysql://user:secret@host/name"}, *CLI, "migrate") as command:
        assert command.ends() == 1
    assert command.output().startswith("ERROR: DATABASE_URL must be a PostgreSQL address")
    assert command.output().count("\n") == 1
