"""From a process to a service and back down, whatever becomes of the process on the way."""

import json
import re
import signal
import socket
from pathlib import Path
from stat import S_IMODE

import httpx
import pytest
from sqlalchemy import text

from app.db.embedded.server import EmbeddedPostgres
from app.db.engine import connect
from tests.db.support import INSERT_USER
from tests.support.postgres import run_outside_transaction
from tests.support.service import MVP_TOKEN, running, uvicorn_process
from tests.support.start import assert_all_gone, has_data, leave_data, pasted


def mvp_users(url: str) -> int:
    with connect(url) as connection:
        found: int = connection.execute(text("SELECT count(*) FROM users")).scalar_one()
        return found


def test_the_first_start_and_the_second(data_dir: Path, tmp_path: Path) -> None:
    with uvicorn_process(tmp_path, {"DATA_DIR": str(data_dir)}) as server:
        server.wait_until_up()
        token, docs = server.token(), f"http://localhost:{server.port}/docs"
        assert re.fullmatch(rf"\n  Docs +{docs}\n  Try +curl [^\n]+\n\n?", server.printed())
        assert pasted(server).json()["status"] == "healthy"
        assert httpx.get(docs, trust_env=False).status_code == 200
        assert S_IMODE(data_dir.stat().st_mode) == 0o700
        assert S_IMODE((data_dir / "api_token").stat().st_mode) == 0o600
        left = leave_data(server)
        assert server.ctrl_c() == 0
        assert token not in server.logged()
        assert "Application shutdown complete" in server.logged()
        assert_all_gone(data_dir)

    with uvicorn_process(tmp_path, {"DATA_DIR": str(data_dir)}) as server:
        server.wait_until_up(timeout=10)
        assert server.token() == token
        assert has_data(server, left)
        assert server.stop(signal.SIGTERM) == -signal.SIGTERM
        assert token not in server.logged()
        assert left not in server.output()
        assert "migrating" not in server.logged()
        assert_all_gone(data_dir)


def test_logs_survive_migrations_and_show_no_secret(empty_url: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": empty_url, "DATA_DIR": str(tmp_path), "API_TOKEN": MVP_TOKEN, "LOG_FORMAT": "json"}
    with uvicorn_process(tmp_path, variables) as server:
        server.wait_until_up()
        assert '"Authorization: Bearer $API_TOKEN"' in server.printed()
        run_outside_transaction(empty_url, "ALTER TABLE users RENAME TO people")
        fault = server.get(f"/api/users/me?token={MVP_TOKEN}", MVP_TOKEN)
        assert (fault.status_code, fault.json()["code"]) == (500, "internal_error")
        assert server.stop(signal.SIGTERM) == -signal.SIGTERM

    lines = [json.loads(line) for line in server.logged().splitlines()]
    (bug,) = [line for line in lines if line["logger"] == "app.errors"]
    # The last request's line, though the process was stopped at once.
    (access,) = [line for line in lines if line["logger"] == "app.access" and line["status"] == 500]
    assert bug["request_id"] == access["request_id"] == fault.json()["request_id"]
    assert "Traceback" in bug["exc_info"]
    assert {"app.db.migration.migrate", "alembic.runtime.migration", "uvicorn.error"} <= {
        line["logger"] for line in lines
    }
    assert lines[-1]["message"].startswith("Finished server process")
    assert MVP_TOKEN not in server.output()


def test_a_start_brings_an_old_database_up_to_date(empty_url: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": empty_url, "DATA_DIR": str(tmp_path)}
    with running(tmp_path, variables, "-m", "alembic", "upgrade", "ad76030fa92e") as command:
        assert command.ends() == 0, command.output()
    run_outside_transaction(empty_url, INSERT_USER.format(7, "early@example.test"))
    with uvicorn_process(tmp_path, variables) as server:
        server.wait_until_up(timeout=15)
        assert pasted(server).json()["status"] == "healthy"
        assert "could not have its lock" not in server.logged()
    with connect(empty_url) as connection:
        assert connection.execute(text("SELECT email FROM users WHERE id = 7")).scalar_one() == "early@example.test"


@pytest.mark.slow
def test_reload(data_dir: Path, tmp_path: Path) -> None:
    """A change starts the service anew; a killed supervisor takes it along; Ctrl-C stops everything."""
    watched = tmp_path / "watched"
    watched.mkdir()
    variables, reload = {"DATA_DIR": str(data_dir)}, ("--reload", "--reload-dir", str(watched))
    with uvicorn_process(tmp_path, variables, *reload) as server:
        server.wait_until_up()
        left = leave_data(server)
        (watched / "changed.py").touch()
        server.wait_for(lambda: server.logged().count("Application startup complete") == 2)
        server.wait_until_up()
        assert "Reloading" in server.logged()
        assert has_data(server, left)
        server.process.kill()
        assert_all_gone(data_dir, within=5)
        with uvicorn_process(tmp_path, variables, *reload, port=server.port) as successor:
            successor.wait_until_up()
            assert has_data(successor, left)
            assert successor.ctrl_c() == 0
            assert_all_gone(data_dir)


@pytest.mark.slow
def test_two_that_start_at_once_share_one_database(data_dir: Path, tmp_path: Path) -> None:
    variables = {"DATA_DIR": str(data_dir)}
    with uvicorn_process(tmp_path, variables) as first, uvicorn_process(tmp_path, variables) as second:
        first.wait_until_up()
        second.wait_until_up()
        assert first.token() == second.token()
        assert pasted(first).status_code == pasted(second).status_code == 200
        with EmbeddedPostgres(data_dir / "postgres") as url:
            assert mvp_users(url) == 1
        with uvicorn_process(tmp_path, variables, port=second.port) as late:
            assert late.ends() > 0
        assert f"Port {second.port} of 127.0.0.1 is taken" in late.logged()
        assert first.ctrl_c() == 0
        assert pasted(second).json()["status"] == "healthy"
        assert second.ctrl_c() == 0
        assert_all_gone(data_dir)


def test_two_that_start_at_once_migrate_an_empty_database_once(empty_url: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": empty_url, "DATA_DIR": str(tmp_path / "data")}
    with uvicorn_process(tmp_path, variables) as first, uvicorn_process(tmp_path, variables) as second:
        first.wait_until_up()
        second.wait_until_up()
        assert pasted(first).json()["status"] == pasted(second).json()["status"] == "healthy"
        assert mvp_users(empty_url) == 1
        for server in (first, second):
            assert server.stop(signal.SIGTERM) == -signal.SIGTERM
            assert "Traceback" not in server.logged()


@pytest.mark.parametrize(
    ("reload", "status", "sentence"),
    [((), 1, "Port {port} of 127.0.0.1 is taken: stop what serves it"), (("--reload",), 3, "address already in use")],
    ids=["plain", "reload"],
)
def test_a_taken_port_is_said_before_anything_starts(
    reload: tuple[str, ...], status: int, sentence: str, data_dir: Path, tmp_path: Path
) -> None:
    """With a supervisor it is uvicorn that says it: there it binds the port first."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with uvicorn_process(tmp_path, {"DATA_DIR": str(data_dir)}, *reload, port=port) as server:
            assert server.ends() == status
    assert sentence.format(port=port).lower() in server.logged().lower()
    assert "Traceback" not in server.logged()
    assert server.printed() == ""
    assert not data_dir.exists()
