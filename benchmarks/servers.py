"""Servers to measure: uvicorn processes on a free port, over one embedded database at head."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from app.db.embedded.server import EmbeddedPostgres
from app.db.migration.migrate import migrate

REPOSITORY = Path(__file__).resolve().parents[1]
DEADLINE = 60.0


@contextmanager
def migrated_database() -> Iterator[str]:
    """The address of a database at head, on a server of its own that ends with the context."""
    with TemporaryDirectory(prefix="bench-") as folder, EmbeddedPostgres(Path(folder) / "data" / "postgres") as url:
        migrate(url, apply=True)
        yield url


@contextmanager
def serving(application: str, url: str, ready: str) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """A uvicorn process, its port, and the seconds from its birth to the first 200 for the path `ready`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"DATABASE_URL": url, "API_TOKEN": "benchmark-" + secrets.token_hex(16), "PYTHONPATH": _python_path()}
    factory = ["--factory"] if application.startswith("benchmarks.") else []
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), "--log-level", "warning", *factory]
    born = time.perf_counter()
    with TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | variables, stdout=output, stderr=output)
        try:
            if not _answers_200(process, port, ready):
                output.seek(0)
                raise RuntimeError(f"{application} did not come up: {output.read().decode()}")
            yield process, port, time.perf_counter() - born
        finally:
            process.terminate()
            process.wait(30)


def get(port: int, path: str) -> int:
    """The status of one GET."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def _answers_200(process: subprocess.Popen[bytes], port: int, path: str) -> bool:
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
