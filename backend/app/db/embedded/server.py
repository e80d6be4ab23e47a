"""PostgreSQL 18 from the `embedded` extra, for development and tests: no installation, no port, no password.

Beside the data folder lie two lock files. `.lock` is held shared by every user of the server and exclusively by
the last one while it stops the server; `.start.lock` by whoever creates or starts it. A starter waits for the
first, then for the second; a stopper never waits. The files stay for good: were they deleted, two processes
could each hold a lock of that name.
"""

import atexit
import fcntl
import os
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from io import FileIO
from pathlib import Path
from types import MappingProxyType, TracebackType
from urllib.parse import quote
from weakref import WeakSet

import psycopg2

from app.core.errors import StartupError
from app.core.waiting import pause
from app.db.embedded.cluster import Cluster

DATABASE = "trading"
PATIENCE = 30  # seconds to wait for a lock


class EmbeddedPostgres:
    """PostgreSQL 18 in `directory`, shared by every process that uses it; the last one out stops it.

    The folder around `directory` belongs to this installation alone. Started by root, it is given to the
    account that the server runs as, so that it can stay at mode 0700.
    """

    def __init__(self, directory: Path, *, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._cluster = Cluster(directory, settings)
        self._use: FileIO | None = None

    @property
    def bin_path(self) -> Path:
        """Folder of pg_dump, psql and the other programs of the server's version."""
        return self._cluster.bin_path

    def start(self) -> str:
        """Create, start or join the server, make sure of its database, and return its URL for SQLAlchemy.

        Raises:
            StartupError: no server is to be had; what was started on the way is stopped again.
        """
        if self._use is None or self._use.closed:
            atexit.register(self.stop)
            with ExitStack() as failure:
                failure.callback(self.stop)
                try:
                    self._join()
                except (OSError, psycopg2.Error, subprocess.SubprocessError) as error:
                    raise StartupError(
                        f"The embedded PostgreSQL cannot use {self._cluster.folder} ({error}): "
                        "give it room and write access there, or set DATA_DIR or DATABASE_URL."
                    ) from error
                failure.pop_all()
        return f"postgresql+psycopg2://postgres@/{DATABASE}?host={quote(str(self._cluster.socket_folder))}&port=5432"

    def stop(self) -> None:
        """Leave the server; when nobody else uses it, stop it and wait until it is down. Idempotent."""
        atexit.unregister(self.stop)
        use, self._use = self._use, None
        if use is None or use.closed:
            return
        try:
            if _try_lock(use, fcntl.LOCK_EX):
                self._cluster.shut_down()
        finally:
            # Closing is not enough while a fork on its way to exec holds a copy.
            fcntl.flock(use, fcntl.LOCK_UN)
            use.close()

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _join(self) -> None:
        self._cluster.prepare_parent()
        self._use = self._lock_file(".lock")
        _lock(self._use, fcntl.LOCK_SH, "is stopping the server")
        with closing(self._lock_file(".start.lock")) as turn:
            _lock(turn, fcntl.LOCK_EX, "is starting the server")
            self._cluster.ensure_data_folder(turn.fileno())
            self._cluster.ensure_socket_folder()
            with closing(self._cluster.connect()) as server, server.cursor() as cursor:
                server.autocommit = True
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
                if cursor.rowcount == 0:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")

    def _lock_file(self, suffix: str) -> FileIO:
        file = _open_lock(self._cluster.beside(suffix))
        if self._cluster.account:
            os.chown(file.fileno(), *self._cluster.account)
        return file


# Locks are flock(2): the kernel drops them however their holder ends, but a forked child would hold them too.
_locks: WeakSet[FileIO] = WeakSet()


def _close_locks() -> None:
    for file in _locks:
        file.close()


os.register_at_fork(after_in_child=_close_locks)


def _open_lock(path: Path) -> FileIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW  # the folder's owner may be less than root
    file = FileIO(path, "r+", opener=lambda name, _: os.open(name, flags, 0o600))
    _locks.add(file)
    return file


def _try_lock(file: FileIO, mode: int) -> bool:
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock(file: FileIO, mode: int, occupation: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _try_lock(file, mode):
        if time.monotonic() > deadline:
            raise StartupError(
                f"Another process {occupation} and has held {file.name} for {PATIENCE} s: "
                "end it (`lsof` on that file names it) and start again."
            )
        pause(0.02)
