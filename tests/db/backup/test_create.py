"""Backups: when one is taken, what it holds while others write, and that a failing one changes nothing."""

import json
import logging
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.core.errors import StartupError
from app.core.settings import Settings
from app.db.backup.create import make_backup
from app.db.backup.folder import Backup, BackupFolder
from app.db.backup.restore import verify_backup
from app.db.engine import connect
from app.db.revisions import head_revision
from tests.support.backups import (
    AWKWARD,
    USERS,
    deployment,
    embedded_settings,
    fake_pg_dump,
    migrate_with_backup,
    name_of,
)
from tests.support.chain import USERNAMES, execute, revision_of
from tests.support.service import in_process, settings_for

pytestmark = pytest.mark.slow

INSERT = """
INSERT INTO users (email, preferences, created_at, updated_at) VALUES (gen_random_uuid()::text, '{}', now(), now())
"""


@pytest.fixture
def legacy_url(server_url: str) -> Iterator[str]:
    """A deployment with users, behind this code."""
    with deployment(server_url) as url:
        yield url


def backups(settings: Settings) -> list[Backup]:
    return BackupFolder(settings.data).backups()


class TestPolicy:
    """BACKUP_BEFORE_MIGRATION, by whether DATABASE_URL is set and what the database holds."""

    @pytest.mark.parametrize(
        ("policy", "embedded", "taken"),
        [
            ("auto", True, True),
            ("auto", False, False),
            ("always", True, True),
            ("always", False, True),
            ("never", True, False),
            ("never", False, False),
        ],
    )
    def test_with_users(self, legacy_url: str, tmp_path: Path, policy: str, embedded: bool, taken: bool) -> None:
        make = embedded_settings if embedded else lambda data, **more: settings_for(legacy_url, data, **more)
        settings = make(tmp_path / "data", backup_before_migration=policy)

        migrate_with_backup(settings, legacy_url)

        assert revision_of(legacy_url) == [head_revision()]
        assert [backup.manifest().revision for backup in backups(settings)] == [USERNAMES] * taken

    @pytest.mark.parametrize(("policy", "taken"), [("auto", False), ("always", True), ("never", False)])
    def test_without_users(self, legacy_url: str, tmp_path: Path, policy: str, taken: bool) -> None:
        settings = embedded_settings(tmp_path / "data", backup_before_migration=policy)

        execute(legacy_url, "TRUNCATE users CASCADE")
        migrate_with_backup(settings, legacy_url)

        assert len(backups(settings)) == taken

    @pytest.mark.parametrize(("policy", "names"), [("auto", []), ("always", ["empty"])])
    def test_without_tables(self, empty_url: str, tmp_path: Path, policy: str, names: list[str]) -> None:
        settings = embedded_settings(tmp_path / "data", backup_before_migration=policy)

        migrate_with_backup(settings, empty_url)

        assert [backup.name.split("-")[1] for backup in backups(settings)] == names

    def test_at_head_there_is_nothing_to_do(self, clone_url: str, tmp_path: Path) -> None:
        settings = embedded_settings(tmp_path / "data", backup_before_migration="always")

        migrate_with_backup(settings, clone_url)

        assert not settings.data_dir.exists()

    def test_auto_says_how_to_opt_in(self, legacy_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "app.db.backup.create"):
            migrate_with_backup(settings_for(legacy_url, tmp_path / "data"), legacy_url)

        assert [record.message for record in caplog.records if record.name == "app.db.backup.create"] == [
            "migrating without a backup: BACKUP_BEFORE_MIGRATION=always takes one where DATABASE_URL is set, too"
        ]

    @pytest.mark.anyio
    async def test_a_start_takes_one(self, legacy_url: str, tmp_path: Path) -> None:
        settings = settings_for(legacy_url, tmp_path / "data", backup_before_migration="always")

        async with in_process(settings) as client:
            assert (await client.get("/api/health/ready")).status_code == 200

        (backup,) = backups(settings)
        assert backup.manifest().contents.tables["public.users"].rows == USERS


class TestFailure:
    """Whatever keeps the backup from being made: one sentence, and a database that is what it was."""

    @pytest.fixture
    def settings(self, legacy_url: str, tmp_path: Path) -> Settings:
        return settings_for(legacy_url, tmp_path / "data", backup_before_migration="always")

    def refusal(self, settings: Settings, url: str) -> str:
        with pytest.raises(StartupError) as refusal:
            migrate_with_backup(settings, url)
        assert revision_of(url) == [USERNAMES]
        assert not backups(settings)
        text = str(refusal.value)
        assert text.startswith("The backup before the migration failed, so nothing was changed: ")
        assert text.endswith(" (BACKUP_BEFORE_MIGRATION=never migrates without one.)")
        assert "\n" not in text
        return text

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            (
                "echo 'pg_dump: error: query failed: ERROR:  out of paper\npg_dump: detail: none' >&2; exit 1",
                "pg_dump ended with status 1 (query failed: ERROR:  out of paper).",
            ),
            ("echo half; exit 3", "pg_dump ended with status 3."),
            ("echo half; kill -9 $$", "pg_dump was ended by SIGKILL."),
            ("echo half; echo 'pg_dump: warning: circular' >&2; kill $$", "pg_dump was ended by SIGTERM."),
        ],
    )
    def test_pg_dump_fails(
        self,
        settings: Settings,
        legacy_url: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        script: str,
        said: str,
    ) -> None:
        monkeypatch.setenv("PATH", f"{fake_pg_dump(tmp_path, script)}:/usr/bin:/bin")

        assert said in self.refusal(settings, legacy_url)
        assert [path.name for path in settings.data.backups.iterdir()] == [".lock"]

    def test_folder_cannot_be_made(self, settings: Settings, legacy_url: str) -> None:
        settings.data_dir.mkdir()
        settings.data.backups.write_text("in the way")

        assert f"cannot be written to {settings.data.backups} (File exists)" in self.refusal(settings, legacy_url)

    def test_data_dir_cannot_be_made(self, settings: Settings, legacy_url: str) -> None:
        settings.data_dir.write_text("in the way")

        assert f"DATA_DIR {settings.data_dir} cannot be used" in self.refusal(settings, legacy_url)

    def test_table_cannot_be_read(self, settings: Settings, legacy_url: str) -> None:
        execute(
            legacy_url,
            "CREATE TABLE broken AS SELECT 1 AS a",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1/0'",
        )
        execute(legacy_url, "ALTER TABLE broken ADD b int GENERATED ALWAYS AS (1 / (a - 1)) VIRTUAL")

        assert "division by zero" in self.refusal(settings, legacy_url)


def test_manifest_describes_the_snapshot_while_others_write(
    legacy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = f'echo > {tmp_path}/dumping; sleep 0.4; exec $REAL "$@"'
    monkeypatch.setenv("PATH", f"{fake_pg_dump(tmp_path, slow)}:/usr/bin:/bin")
    settings = settings_for(legacy_url, tmp_path / "data")
    execute(legacy_url, "SELECT setval('users_id_seq', 100)")
    done = threading.Event()
    written_during_the_dump = threading.Event()

    def write() -> None:
        with connect(legacy_url) as connection:
            while not done.is_set():
                for statement in (
                    INSERT,
                    "UPDATE users SET full_name = clock_timestamp()::text",
                    "DELETE FROM users WHERE id %% 7 = 0",
                ):
                    connection.exec_driver_sql(statement)
                    connection.commit()
                if (tmp_path / "dumping").exists():
                    written_during_the_dump.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup = make_backup(settings, legacy_url, "command")
        assert written_during_the_dump.is_set()
    finally:
        done.set()
        writer.join()

    low, high = backup.manifest().contents.sequences["public.users_id_seq"]
    assert low < high
    assert all(finding.agrees for finding in verify_backup(settings, legacy_url, backup))


def test_manifest_covers_every_table_and_sequence(legacy_url: str, tmp_path: Path) -> None:
    execute(legacy_url, *AWKWARD)
    manifest = make_backup(settings_for(legacy_url, tmp_path), legacy_url, "command").manifest()

    rows = {name: table.rows for name, table in manifest.contents.tables.items() if name.startswith("ledger.")}
    assert rows == {
        "ledger.entries": 502,
        "ledger.nothing": 1,
        "ledger.others": 2,
        "ledger.year_2025": 1,
    }
    assert manifest.contents.tables['public."100% :""odd"" name"'].rows == 5
    assert (
        manifest.contents.sequences.items()
        >= {
            "ledger.down": (44, 44),
            "ledger.entries_id_seq": (503, 503),
            "ledger.fresh": (7, 7),
            "ledger.spent": (3, 3),
            "public.activity_log_id_seq": (41, 41),
        }.items()
    )
    assert (manifest.database, manifest.revision, manifest.made_by) == (name_of(legacy_url), USERNAMES, "command")


def test_hash_depends_on_the_rows_alone(empty_url: str, tmp_path: Path) -> None:
    settings = settings_for(empty_url, tmp_path)
    ascending = (
        "CREATE TABLE {} AS SELECT n, chr(64 + n) AS c, now()::timestamptz(0) AS at FROM generate_series(1, 9) n"
    )
    execute(
        empty_url,
        ascending.format("a"),
        "CREATE TABLE b AS SELECT * FROM a ORDER BY n DESC",
        "CREATE TABLE c AS TABLE b",
    )
    execute(empty_url, "UPDATE c SET c = 'Z' WHERE n = 5", "CREATE TABLE d AS TABLE a", "INSERT INTO d TABLE a")
    tables = make_backup(settings, empty_url, "command").manifest().contents.tables
    execute(empty_url, f"ALTER DATABASE {name_of(empty_url)} SET timezone = 'Asia/Kolkata'")
    execute(empty_url, f"ALTER DATABASE {name_of(empty_url)} SET datestyle = 'German'")
    again = make_backup(settings, empty_url, "command").manifest().contents.tables

    assert tables["public.a"] == tables["public.b"] == again["public.a"]
    assert len({table.hash for table in tables.values()}) == 3
    assert int(tables["public.d"].hash) == 2 * int(tables["public.a"].hash)


def test_files_are_private_and_whole(legacy_url: str, tmp_path: Path) -> None:
    settings = settings_for(legacy_url, tmp_path / "data")
    backup = make_backup(settings, legacy_url, "command")

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert set(modes.values()) == {0o600}
    assert set(modes) == {backup.path, backup.manifest_path, settings.data.backups / ".lock"}
    assert stat.S_IMODE(settings.data.backups.stat().st_mode) == stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    assert backup.path.parent == settings.data.backups
    assert datetime.strptime(backup.name, f"%Y%m%dT%H%M%SZ-{USERNAMES}").replace(tzinfo=UTC) <= datetime.now(UTC)
    assert json.loads(backup.manifest_path.read_text(encoding="utf-8"))["revision"] == USERNAMES
    assert backup.size == backup.intact_manifest().size
