"""A real PgBouncer in transaction mode in front of the test server."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import RealDictCursor
from sqlalchemy import URL, make_url

from tests.support.service import free_port

NOBODY = 65534


@dataclass(frozen=True)
class Bouncer:
    port: int
    user: str

    def url(self, url: str) -> str:
        """The address of the database at `url` by way of this pooler."""
        through = URL.create(
            "postgresql+psycopg2", self.user, host="127.0.0.1", port=self.port, database=make_url(url).database
        )
        return through.render_as_string(hide_password=False)

    def show(self, what: str, url: str) -> list[dict[str, Any]]:
        """The rows of the console's `SHOW what` that speak of the database at `url`."""
        with closing(self._console()) as console, console.cursor() as cursor:
            cursor.execute(f"SHOW {what}")
            return [dict(row) for row in cursor if row["database"] == make_url(url).database]

    def answers(self) -> bool:
        with suppress(psycopg2.OperationalError):
            self._console().close()
            return True
        return False

    def _console(self) -> Any:
        console = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=self.user, dbname="pgbouncer", cursor_factory=RealDictCursor
        )
        console.autocommit = True
        return console


@contextmanager
def pgbouncer(server_url: str, **settings: str | int) -> Iterator[Bouncer]:
    """A pooler of its own, gone at the end; without Debian's `pgbouncer` the test is skipped, or with CI set fails.

    `settings` are those of its configuration file; left out, its defaults hold.
    """
    program = _program()
    upstream = make_url(server_url)
    bouncer = Bouncer(free_port(), upstream.username or "postgres")
    account = _account(upstream)
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(_configuration(upstream, bouncer, settings), encoding="utf-8")
        if account is not None:
            shutil.chown(folder, account)
            shutil.chown(configuration, account)
        with (folder / "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [program, configuration],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=account,
                group=None if account is None else NOBODY,  # root's group may not pass where others may
                extra_groups=None if account is None else [],
                start_new_session=True,
            )
        try:
            _wait_until_up(bouncer, process, folder / "log")
            yield bouncer
        finally:
            process.kill()
            process.wait(10)


def _program() -> str:
    found = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
    if found is None:
        missing = "there is no pgbouncer: install the package of that name"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def _account(upstream: URL) -> int | None:
    """Whom it runs as where root starts it, which it refuses to be: one who may reach the server's socket."""
    if os.geteuid() != 0:
        return None
    folder = upstream.query.get("host")
    return Path(folder).stat().st_uid or NOBODY if isinstance(folder, str) and folder.startswith("/") else NOBODY


def _configuration(upstream: URL, bouncer: Bouncer, settings: dict[str, str | int]) -> str:
    server = {
        "host": upstream.host or upstream.query.get("host"),
        "port": upstream.port or upstream.query.get("port"),
        "user": bouncer.user,
        "password": upstream.password,
    }
    general = {
        "listen_addr": "127.0.0.1",
        "listen_port": bouncer.port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
    } | settings
    lines = ["[databases]", "* = " + " ".join(f"{name}='{value}'" for name, value in server.items() if value)]
    lines += ["[pgbouncer]", *(f"{name} = {value}" for name, value in general.items())]
    return "\n".join(lines) + "\n"


def _wait_until_up(bouncer: Bouncer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while not bouncer.answers():
        said = log.read_text(encoding="utf-8")
        assert process.poll() is None, f"pgbouncer ended with {process.returncode}: {said}"
        assert time.monotonic() < deadline, said
        time.sleep(0.02)
