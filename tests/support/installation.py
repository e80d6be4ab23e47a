"""Processes that use an embedded server, and a sweep that leaves none of them behind."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import NullPool, create_engine, text

import app

PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from app.db.embedded.server import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
"""
STAY = """
with server as url:
    print(url, flush=True)
    sys.stdin.read()
"""
STAY_DESPITE_CTRL_C = "signal.signal(signal.SIGINT, lambda *_: None)\n" + STAY
FORGET_TO_STOP = "print(server.start(), flush=True); sys.stdin.read()"
FORK_AND_STAY = """
print(server.start(), flush=True)
if os.fork() == 0:
    server.stop()
    Path("child").touch()
    time.sleep(60)
sys.stdin.read()
"""


class User:
    """A process that uses the server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @cached_property
    def url(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def query(self, statement: str) -> list[Any]:
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return list(result.scalars()) if result.returns_rows else []

    def finish(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def leave(self) -> int:
        """The exit status."""
        self.finish()
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=20)


class Installation:
    """A data folder and the processes that run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "data" / "postgres"
        self.users: list[User] = []

    def join(self, script: str = STAY, *, environment: dict[str, str] | None = None, umask: int = -1) -> User:
        process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script, self.directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(Path(app.__path__[0]).parent)} | (environment or {}),
            umask=umask,
            start_new_session=True,
        )
        self.users.append(User(process))
        return self.users[-1]

    def processes(self, name: str = "") -> list[psutil.Process]:
        """Those that have their working directory in here; a zombie has none."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if name in process.name() and Path(process.cwd()).is_relative_to(self.root):
                    found.append(process)
        return found

    def postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.directory / "postmaster.pid").read_text().splitlines()[0]))

    def sweep(self) -> None:
        while processes := self.processes():
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.02)
        while self.users:
            with self.users.pop().process:
                pass


@contextmanager
def swept() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="pg-") as root:  # tmp_path is too long for a socket
        place = Installation(Path(root).resolve())
        try:
            yield place
        finally:
            place.sweep()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
