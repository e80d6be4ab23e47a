"""However the service is stopped, at whatever moment: nothing runs on, and the next start works."""

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.service import Server, free_port, kill_session, processes_in, uvicorn_process
from tests.support.start import assert_all_gone, has_data, leave_data, pasted

pytestmark = pytest.mark.slow


def assert_starts(data_dir: Path, tmp_path: Path) -> None:
    with uvicorn_process(tmp_path, {"DATA_DIR": str(data_dir)}) as server:
        server.wait_until_up()
        assert pasted(server).json()["status"] == "healthy"
        assert server.ctrl_c() == 0
    assert_all_gone(data_dir)


def kill_server(server: Server, data_dir: Path) -> None:
    server.process.kill()


def kill_the_session(server: Server, data_dir: Path) -> None:
    kill_session(server.process)


def kill_everything(server: Server, data_dir: Path) -> None:
    kill_session(server.process)
    for process in processes_in(data_dir):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def test_kill_9_hinders_no_start(data_dir: Path, tmp_path: Path) -> None:
    variables, port, left = {"DATA_DIR": str(data_dir)}, free_port(), None
    for kill in (kill_server, kill_the_session, kill_everything):
        with uvicorn_process(tmp_path, variables, port=port) as server:
            server.wait_until_up()
            assert left is None or has_data(server, left)
            left = leave_data(server)
            kill(server, data_dir)
            assert server.ends() == -signal.SIGKILL
    with uvicorn_process(tmp_path, variables, port=port) as server:
        server.wait_until_up()
        assert has_data(server, left or "")
        assert server.ctrl_c() == 0
    assert_all_gone(data_dir)


def test_kill_9_during_the_start_hinders_no_start(data_dir: Path, tmp_path: Path) -> None:
    moments: list[Callable[[str], bool]] = [
        lambda _: (data_dir / "postgres.new").exists(),
        lambda _: (data_dir / "postgres" / "postmaster.pid").exists(),
        lambda logged: "Running upgrade" in logged,
        lambda _: (data_dir / "api_token").exists(),
    ]
    for reached in moments:
        with uvicorn_process(tmp_path, {"DATA_DIR": str(data_dir)}) as server:
            server.wait_for(lambda: reached(server.logged()))  # noqa: B023
            server.process.kill()
    assert_starts(data_dir, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.2, 2.0])
def test_kill_9_at_any_moment_hinders_no_start(seconds: float, data_dir: Path, tmp_path: Path) -> None:
    with uvicorn_process(tmp_path, {"DATA_DIR": str(data_dir)}) as server:
        time.sleep(seconds)
        server.process.kill()
    assert_starts(data_dir, tmp_path)


def test_ctrl_c_during_the_first_start(data_dir: Path, tmp_path: Path) -> None:
    with uvicorn_process(tmp_path, {"DATA_DIR": str(data_dir)}) as server:
        server.wait_for((data_dir / "postgres.new").exists)
        assert server.ctrl_c() == 0
        assert "Traceback" not in server.logged()
        assert_all_gone(data_dir)


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_a_request(data_dir: Path, tmp_path: Path) -> None:
    """Uvicorn then skips the application's own shutdown."""
    with uvicorn_process(tmp_path, {"DATA_DIR": str(data_dir)}) as server:
        server.wait_until_up()
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.sendall(b"POST /api/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            peer.sendall(b"Authorization: Bearer %b\r\nContent-Length: 9\r\n\r\n{" % server.token().encode())
            time.sleep(0.2)
            os.killpg(server.process.pid, signal.SIGINT)
            server.wait_for(lambda: "CTRL+C to force quit" in server.logged())
            server.ctrl_c()
        assert_all_gone(data_dir)
