"""Servers to measure: uvicorn processes on a free port, over one embedded database at head."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from sqlalchemy import make_url, text

from app.db.embedded.server import EmbeddedPostgres
from app.db.engine import connect
from app.db.migration.migrate import migrate
from benchmarks.cpus import ALL_CPUS, pinned

REPOSITORY = Path(__file__).resolve().parents[1]
DEADLINE = 60.0
PATIENCE = 15.0
"""Seconds that a server is given to stop."""

FLAGS = ("--log-level", "warning", "--loop", "uvloop", "--http", "httptools", "--no-proxy-headers")


@contextmanager
def migrated_database() -> Iterator[str]:
    """The address of a database at head, on a server of its own that ends with the context."""
    with TemporaryDirectory(prefix="bench-") as folder, EmbeddedPostgres(Path(folder) / "data" / "postgres") as url:
        migrate(url, apply=True)
        yield url


@contextmanager
def empty_database(url: str, name: str) -> Iterator[str]:
    """The address of a database on the same server that holds nothing, dropped at the end."""
    with connect(url) as server:
        server.execution_options(isolation_level="AUTOCOMMIT")
        server.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield make_url(url).set(database=name).render_as_string(hide_password=False)
        finally:
            server.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def serving(
    application: str,
    url: str,
    ready: str,
    *,
    cpus: AbstractSet[int] = ALL_CPUS,
    python: Path = Path(sys.executable),
) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """A uvicorn process, its port, and the seconds from its birth to the first 200 for the path `ready`."""
    port = _free_port()
    variables = {
        "DATABASE_URL": url,
        "API_TOKEN": "benchmark-" + secrets.token_hex(16),
        "PYTHONPATH": _python_path(),
    }
    factory = ["--factory"] if application.startswith("benchmarks.") else []
    command = [str(python), "-m", "uvicorn", application, "--port", str(port), *FLAGS, *factory]
    born = time.perf_counter()
    with TemporaryFile() as output:
        with pinned(cpus):
            process = subprocess.Popen(
                command, cwd=REPOSITORY, env=os.environ | variables, stdout=output, stderr=output
            )
        try:
            if not _answers(process, port, ready):
                output.seek(0)
                raise RuntimeError(f"{application} did not come up: {output.read().decode()}")
            yield process, port, time.perf_counter() - born
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # one whose threads wait for each other
                process.kill()
                process.wait()


def get(port: int, path: str) -> int:
    """The status of one GET."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int, path: str) -> bool:
    deadline = time.monotonic() + DEADLINE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if get(port, path) == 200:
                return True
        except OSError:
            time.sleep(0.005)
    return False


def _python_path() -> str:
    return os.pathsep.join([str(REPOSITORY / "backend"), str(REPOSITORY)])
