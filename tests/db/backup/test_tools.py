"""Which pg_dump is taken, and what it is told, seen from inside a pg_dump of our own."""

import io
import os
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn
from sqlalchemy import URL, make_url

from app.core.errors import StartupError
from app.core.settings import Settings
from app.db.backup.create import make_backup
from app.db.backup.tools import PostgresTools, find_tools
from tests.support.backups import embedded_settings, fake_pg_dump
from tests.support.pgbouncer import pgbouncer
from tests.support.service import settings_for

PASSWORD = "pass'w\\ord %25&= λ"


def seen(folder: Path, url: URL) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of a pg_dump that dumps `url`."""
    script = f'for argument; do printf "%s\\0" "$argument"; done > {folder}/arguments; env -0 > {folder}/environment'
    PostgresTools(fake_pg_dump(folder, script), 18).dump(url, "00000003-00000002-1", io.BytesIO())
    arguments, environment = (
        (folder / name).read_text().removesuffix("\0").split("\0") for name in ("arguments", "environment")
    )
    return arguments, dict(variable.split("=", 1) for variable in environment)


def test_password_is_on_no_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in ("API_TOKEN", "JWT_SECRET", "DATABASE_URL"):
        monkeypatch.setenv(secret, f"the {secret}")
    arguments, environment = seen(tmp_path, URL.create("postgresql+psycopg2", "me", PASSWORD, "h", 5433, "name"))

    assert environment["PGPASSWORD"] == PASSWORD
    assert not any(PASSWORD in argument or "password=" in argument for argument in arguments)
    assert "--no-password" in arguments
    assert "--snapshot=00000003-00000002-1" in arguments
    assert environment.keys().isdisjoint({"API_TOKEN", "JWT_SECRET", "DATABASE_URL"})


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("me:x@db.test:5433/n", {"host": "db.test", "port": "5433", "user": "me", "dbname": "n"}),
        ("/n?host=/run/pg sql&user=me", {"host": "/run/pg sql", "user": "me", "dbname": "n"}),
        ("me@[::1]/n", {"host": "::1", "user": "me", "dbname": "n"}),
        ("/n?host=a:1&host=b:2&target_session_attrs=read-write", {"host": "a,b", "port": "1,2", "dbname": "n"}),
        ("m%40e@h/it's%20%5C", {"user": "m@e", "host": "h", "dbname": "it's \\"}),
        ("/?service=mine&passfile=/p", {"service": "mine", "passfile": "/p"}),
        (
            "h/n?sslmode=verify-full&sslrootcert=/ca&options=-c%20a%3Db&connect_timeout=99",
            {"sslmode": "verify-full", "sslrootcert": "/ca", "options": "-c a=b", "connect_timeout": "5"},
        ),
    ],
)
def test_address_is_passed_on(
    address: str, told: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "from the environment")
    arguments, environment = seen(tmp_path, make_url(f"postgresql+psycopg2://{address}"))

    (dsn,) = (argument.removeprefix("--dbname=") for argument in arguments if argument.startswith("--dbname="))
    assert parse_dsn(dsn).items() >= (told | {"application_name": "trading-backend backup"}).items()
    assert environment["PGPASSWORD"] == ("x" if ":x@" in address else "from the environment")


def test_secret_that_could_not_be_hidden_is_refused(tmp_path: Path) -> None:
    url = make_url(f"postgresql+psycopg2://me@h/n?sslpassword={PASSWORD[:5]}")
    with pytest.raises(StartupError, match=r"The sslpassword of me@h/n would be seen .* \?service=NAME") as refusal:
        seen(tmp_path, url)
    assert PASSWORD[:5] not in str(refusal.value)


class TestChoice:
    """On a PATH of folders each of which claims a version."""

    @pytest.fixture
    def settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
        monkeypatch.setattr("app.db.backup.tools._PLACES", (f"{tmp_path}/packaged/*/bin",))
        monkeypatch.setenv("PATH", "/nonexistent")
        return settings_for("postgresql://h/n", tmp_path / "data")

    def install(self, folder: Path, answer: str, monkeypatch: pytest.MonkeyPatch | None = None) -> Path:
        folder.mkdir(parents=True)
        for program in ("pg_dump", "pg_restore"):
            (folder / program).write_text(f"#!/bin/sh\n{answer}\n")
            (folder / program).chmod(0o700)
        if monkeypatch:
            monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{folder}")
        return folder

    @pytest.mark.parametrize(
        ("server", "archive", "taken"),
        [(30, 0, "31"), (31, 0, "31"), (32, 0, "33"), (33, 0, "33"), (30, 33, "33"), (15, 0, "15"), (16, 0, None)],
    )
    def test_oldest_that_fits(
        self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: int, archive: int, taken: str
    ) -> None:
        for version in ("33", "29", "15", "31"):
            self.install(
                tmp_path / version, f"echo 'pg_dump (PostgreSQL) {version}.2 (Debian {version}-1)'", monkeypatch
            )

        if taken:
            assert find_tools(settings, server, archive) == PostgresTools(tmp_path / taken, int(taken))
        else:
            with pytest.raises(StartupError, match=r"^PostgreSQL 16 needs pg_dump and pg_restore of version 16, "):
                find_tools(settings, server, archive)

    def test_what_is_first_on_path(self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.install(tmp_path / "packaged" / "30" / "bin", "echo 'pg_dump (EnterpriseDB) 30beta1'")
        assert find_tools(settings, 30).folder == tmp_path / "packaged" / "30" / "bin"
        first = self.install(tmp_path / "first", "echo 'pg_dump (PostgreSQL) 30.9'", monkeypatch)
        self.install(tmp_path / "second", "echo 'pg_dump (PostgreSQL) 30.9'", monkeypatch)
        assert find_tools(settings, 30).folder == first

    def test_what_is_no_pg_dump_is_passed_over(
        self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.install(tmp_path / "fails", "exit 1", monkeypatch)
        self.install(tmp_path / "garbage", "echo 30", monkeypatch)
        alone = self.install(tmp_path / "alone", "echo 'pg_dump (PostgreSQL) 30.0'", monkeypatch)
        (alone / "pg_restore").unlink()
        wrapper = self.install(tmp_path / "wrapper", "echo 'pg_dump (PostgreSQL) 30.0'", monkeypatch)
        (wrapper / "pg_dump").rename(wrapper / "pg_wrapper")
        (wrapper / "pg_dump").symlink_to("pg_wrapper")

        with pytest.raises(StartupError) as refusal:
            find_tools(settings, 30)
        assert str(refusal.value).endswith("install the package postgresql-client-30.")
        assert str(tmp_path) not in str(refusal.value)

    def test_embedded_server_has_its_own(self, tmp_path: Path) -> None:
        tools = find_tools(embedded_settings(tmp_path), 18)
        assert (tools.folder.parent.name, tools.major) == ("pginstall18", 18)


def test_pooler_is_refused(clone_url: str, server_url: str, tmp_path: Path) -> None:
    with pgbouncer(server_url) as bouncer:
        url = bouncer.url(clone_url)
        with pytest.raises(StartupError, match="is a connection pooler: set DATABASE_URL to the address of PostgreSQL"):
            make_backup(settings_for(url, tmp_path), url, "command")
