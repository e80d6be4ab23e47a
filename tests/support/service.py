"""The service as tests reach it: in this process through ASGI, or as a uvicorn process on a real port."""

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from weakref import WeakSet

import httpx
import psutil
import pytest

from app.core.settings import REPOSITORY, Settings
from app.db.notifications import Listener
from app.main import create_app
from app.web.access_log import access_log

MVP_TOKEN = "mvp-token-of-the-tests-0123456789-ABCDEF"


def bearer(token: str = MVP_TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def settings_for(url: str, data_dir: Path, **overrides: object) -> Settings:
    values = {"database_url": url, "data_dir": data_dir, "api_token": MVP_TOKEN} | overrides
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]


@asynccontextmanager
async def in_process(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The application, started and stopped as a server would, behind a client without credentials."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        _listeners.add(app.state.listener)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


_listeners: WeakSet[Listener] = WeakSet()


def heed_changes() -> None:
    """Let every service in this process hear what was changed behind its back."""
    for listener in list(_listeners):
        listener.catch_up(1.0)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """All that was logged up to now, the access log included, which is written a moment later."""
    access_log.write()
    return caplog.text


@dataclass
class Running:
    """A process that leads a session of its own, and what it prints."""

    process: subprocess.Popen[str]
    stdout: Path
    stderr: Path

    def printed(self) -> str:
        return self.stdout.read_text(encoding="utf-8")

    def logged(self) -> str:
        return self.stderr.read_text(encoding="utf-8")

    def output(self) -> str:
        return self.printed() + self.logged()

    def wait_for(self, condition: Callable[[], object], timeout: float = 40) -> None:
        """AssertionError with what it printed when it ends, or `timeout` passes, before the condition holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.output()}"
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def ends(self, timeout: float = 30) -> int:
        """Its exit status, negative when a signal ended it."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s: {self.output()}") from None

    def stop(self, with_signal: signal.Signals = signal.SIGTERM, timeout: float = 30) -> int:
        self.process.send_signal(with_signal)
        return self.ends(timeout)

    def ctrl_c(self, timeout: float = 30) -> int:
        """As a terminal does it: SIGINT to the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.ends(timeout)


@dataclass
class Server(Running):
    """A process that serves the API on `port`."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        headers = bearer(token) if token else {}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=10, trust_env=False, verify=False)

    def is_ready(self) -> bool:
        try:
            return self.get("/api/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def wait_until_up(self, timeout: float = 40) -> None:
        self.wait_for(self.is_ready, timeout)

    def token(self) -> str:
        """The token in the banner's `curl` line."""
        found = re.search(r"Bearer ([^\"]+)\"", self.printed())
        assert found, self.output()
        return found[1]


@cache
def clone() -> Path:
    """What a clone has to run, without the `.env` and the data of whoever runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="clone-")).resolve()
    atexit.register(shutil.rmtree, folder)
    shutil.copy(REPOSITORY / "alembic.ini", folder)
    shutil.copytree(REPOSITORY / "backend", folder / "backend")
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's own, without any configuration of the service, and with `variables`."""
    configured = {name.upper() for name in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name not in configured}
    return inherited | {"PYTHONUNBUFFERED": "1"} | dict(variables)


@contextmanager
def uvicorn_process(
    folder: Path, variables: Mapping[str, str], *arguments: str, port: int | None = None
) -> Iterator[Server]:
    """`python -m uvicorn app.main:app` in backend/; nothing of its session outlives the test."""
    with serving(folder, variables, "-m", "uvicorn", "app.main:app", *arguments, port=port) as server:
        yield server


@contextmanager
def serving(folder: Path, variables: Mapping[str, str], *arguments: str, port: int | None = None) -> Iterator[Server]:
    """`python … --port N` in backend/, N being free where no `port` is given."""
    port = port or free_port()
    with running(folder, variables, *arguments, "--port", str(port)) as program:
        yield Server(program.process, program.stdout, program.stderr, port)


@contextmanager
def running(folder: Path, variables: Mapping[str, str], *arguments: str, cwd: str = "backend") -> Iterator[Running]:
    """`python …` in the clone's folder `cwd`, in a session of its own, of which nothing is left afterwards.

    What it prints goes to files in `folder`.
    """
    stdout, stderr = (folder / f"{uuid.uuid4().hex}.{name}" for name in ("stdout", "stderr"))
    with stdout.open("w", encoding="utf-8") as out, stderr.open("w", encoding="utf-8") as err:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=clone() / cwd,
            env=environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
            start_new_session=True,
        )
    try:
        yield Running(process, stdout, stderr)
    finally:
        kill_session(process)


def kill_session(process: subprocess.Popen[str]) -> None:
    """Kill whatever still runs in the session that `process` leads, and reap it."""
    for other in psutil.process_iter():
        try:
            if os.getsid(other.pid) == process.pid:
                other.kill()
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    process.wait(10)


_MEMORY = Path("/dev/shm")
_ENOUGH = 4 * 1024**3
"""Bytes."""


def folder_of_folders() -> Path | None:
    """Where databases are made: in memory, where they are copied ten times as fast; None for the system's default."""
    fits = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH
    return _MEMORY if fits else None


@contextmanager
def data_folder() -> Iterator[Path]:
    """A DATA_DIR that is not there yet; at the end it is gone, and with it whatever runs in it.

    Its path is short: in a longer one the embedded PostgreSQL would put its socket elsewhere.
    """
    with tempfile.TemporaryDirectory(prefix="data-", dir=folder_of_folders(), ignore_cleanup_errors=True) as folder:
        data_dir = Path(folder).resolve() / "data"
        try:
            yield data_dir
        finally:
            while left := processes_in(data_dir):
                for process in left:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
                time.sleep(0.02)


def processes_in(folder: Path) -> list[psutil.Process]:
    """Those that have their working directory in `folder`, as PostgreSQL has in its data."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found
