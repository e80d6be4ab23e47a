"""Verifying and restoring: every row comes back, what was there is kept, and a bad backup changes nothing."""

import json
import os
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError

from app.core.errors import StartupError
from app.core.settings import Settings
from app.db.backup.create import make_backup
from app.db.backup.folder import Backup
from app.db.backup.restore import discard_kept, restore_backup, undo_restore, verify_backup
from app.db.backup.scratch import maintenance, scratch_database, suffixed
from app.db.engine import connect
from app.db.revisions import head_revision
from tests.support.backups import AWKWARD, beside, deployment, fake_pg_dump, migrate_with_backup, name_of
from tests.support.chain import USERNAMES, dump, execute, fetch, revision_of
from tests.support.postgres import address_of, run_outside_transaction
from tests.support.service import settings_for

pytestmark = pytest.mark.slow


@pytest.fixture
def legacy_url(server_url: str) -> Iterator[str]:
    """A deployment, behind this code."""
    with deployment(server_url) as url:
        yield url


@pytest.fixture
def settings(legacy_url: str, tmp_path: Path) -> Settings:
    return settings_for(legacy_url, tmp_path / "data")


@pytest.fixture
def backup(settings: Settings, legacy_url: str) -> Backup:
    return make_backup(settings, legacy_url, "command")


def emails(url: str) -> list[str | None]:
    return [row["email"] for row in fetch(url, "SELECT email FROM users ORDER BY id")]


class TestRestore:
    def test_everything_comes_back(self, settings: Settings, legacy_url: str) -> None:
        execute(legacy_url, *AWKWARD)
        before = dump(legacy_url)
        backup = make_backup(settings, legacy_url, "command")
        execute(
            legacy_url, "DROP SCHEMA ledger CASCADE", "DELETE FROM users WHERE id = 3", "DROP TABLE alembic_version"
        )
        after = dump(legacy_url)

        kept = restore_backup(settings, legacy_url, backup)

        assert dump(legacy_url) == before
        assert dump(address_of(legacy_url, kept)) == after
        assert beside(legacy_url) == [kept]

    def test_next_start_migrates_again(self, settings: Settings, legacy_url: str, backup: Backup) -> None:
        people = emails(legacy_url)
        migrate_with_backup(settings, legacy_url)
        kept = restore_backup(settings, legacy_url, backup)
        assert revision_of(legacy_url) == [USERNAMES]

        migrate_with_backup(settings, legacy_url)

        assert revision_of(legacy_url) == revision_of(address_of(legacy_url, kept)) == [head_revision()]
        assert emails(legacy_url) == people

    def test_what_is_the_databases_own_stays(self, settings: Settings, legacy_url: str) -> None:
        name = name_of(legacy_url)
        run_outside_transaction(
            legacy_url,
            f"ALTER DATABASE {name} CONNECTION LIMIT 42",
            f"COMMENT ON DATABASE {name} IS 'it''s ours'",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
            f"GRANT CONNECT ON DATABASE {name} TO pg_monitor WITH GRANT OPTION",
            f"ALTER DATABASE {name} SET search_path TO \"$user\", public, 'a b'",
            f"ALTER DATABASE {name} SET \"DateStyle\" TO 'German, DMY'",
            f"ALTER DATABASE {name} SET temp_tablespaces TO ''",
            f"ALTER ROLE {make_url(legacy_url).username} IN DATABASE {name} SET work_mem TO '1MB'",
        )
        before = own_properties(legacy_url)

        restore_backup(settings, legacy_url, make_backup(settings, legacy_url, "command"))

        assert own_properties(legacy_url) == before

    def test_short_timeouts_and_a_database_made_read_only(
        self, settings: Settings, legacy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow = fake_pg_dump(tmp_path, 'sleep 0.8; exec $REAL "$@"')
        monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
        limits = ("statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout")
        for setting in (*(f"{limit} = '400ms'" for limit in limits), "default_transaction_read_only = on"):
            run_outside_transaction(legacy_url, f"ALTER DATABASE {name_of(legacy_url)} SET {setting}")
        before = dump(legacy_url)

        restore_backup(settings, legacy_url, make_backup(settings, legacy_url, "command"))

        assert dump(legacy_url) == before
        assert fetch(legacy_url, "SHOW default_transaction_read_only") == [{"default_transaction_read_only": "on"}]

    def test_undone_and_discarded(self, settings: Settings, legacy_url: str, backup: Backup) -> None:
        execute(legacy_url, "UPDATE users SET email = 'changed@desk.test' WHERE id = 1")
        kept = restore_backup(settings, legacy_url, backup)
        assert emails(legacy_url)[0] == "founder@desk.test"

        again = undo_restore(legacy_url)

        assert emails(legacy_url)[0] == "changed@desk.test"
        assert emails(address_of(legacy_url, again))[0] == "founder@desk.test"
        assert beside(legacy_url) == [again] != [kept]
        with pytest.raises(StartupError, match=f"template1 is not kept from a restore; these are: {again}"):
            discard_kept(legacy_url, "template1")
        discard_kept(legacy_url, again)
        assert beside(legacy_url) == []
        with pytest.raises(StartupError, match="nothing to go back to"):
            undo_restore(legacy_url)

    def test_service_that_keeps_coming_back(self, settings: Settings, legacy_url: str, backup: Backup) -> None:
        done = threading.Event()
        connections = 0

        def serve() -> None:
            nonlocal connections
            engine = create_engine(legacy_url)
            while not done.is_set():
                try:
                    with engine.connect() as connection:
                        connection.exec_driver_sql("SELECT 1")
                        connections += 1
                        done.wait(0.01)
                except OperationalError:
                    continue
            engine.dispose()

        services = [threading.Thread(target=serve) for _ in range(4)]
        for service in services:
            service.start()
        try:
            with connect(legacy_url) as idle:
                idle.exec_driver_sql("SELECT FROM users")
                restore_backup(settings, legacy_url, backup)
                until_now = connections
                idle.invalidate()
            while connections == until_now:
                done.wait(0.01)
        finally:
            done.set()
            for service in services:
                service.join()
        assert emails(legacy_url)[0] == "founder@desk.test"


def own_properties(url: str) -> dict[str, Any]:
    with connect(url) as connection:
        return dict(
            connection.exec_driver_sql(
                """
                SELECT to_jsonb(d) - ARRAY['oid', 'datfrozenxid', 'datminmxid'] AS columns,
                       shobj_description(d.oid, 'pg_database') AS comment,
                       (SELECT jsonb_agg(to_jsonb(s) - 'setdatabase' ORDER BY setrole)
                          FROM pg_db_role_setting s WHERE setdatabase = d.oid) AS settings
                  FROM pg_database d WHERE datname = current_database()
                """
            )
            .mappings()
            .one()
        )


def tamper(backup: Backup, **changes: object) -> None:
    manifest = json.loads(backup.manifest_path.read_text())
    backup.manifest_path.write_text(json.dumps(manifest | changes))


class TestBadBackup:
    """None changes the database, and none leaves another one behind."""

    @pytest.fixture(autouse=True)
    def _nothing_changes(self, legacy_url: str, backup: Backup) -> Iterator[None]:
        before = dump(legacy_url)
        yield
        assert dump(legacy_url) == before
        assert beside(legacy_url) == []

    def test_manifest_that_says_otherwise(self, settings: Settings, legacy_url: str, backup: Backup) -> None:
        manifest = json.loads(backup.manifest_path.read_text())
        tables, sequences = manifest["contents"]["tables"], manifest["contents"]["sequences"]
        tables["public.users"]["hash"] = "1"
        tables["public.trades"]["rows"] += 1
        tables["absent"] = {"rows": 0, "hash": "0"}
        del tables["public.strategies"]
        sequences["public.users_id_seq"] = [2, 3]
        sequences["public.trades_id_seq"] = [0, 1]
        sequences["absent_too"] = [1, 1]
        del sequences["public.strategies_id_seq"]
        backup.manifest_path.write_text(json.dumps(manifest))

        findings = verify_backup(settings, legacy_url, backup)

        assert {finding.name: finding[1:3] for finding in findings if not finding.agrees} == {
            "absent": (0, None),
            "public.strategies": (None, 2),
            "public.trades": (3, 2),
            "public.users": (7, 7),
            "absent_too": (1, None),
            "public.strategies_id_seq": (None, 3),
            "public.trades_id_seq": (0, 3),
            "public.users_id_seq": (2, 1),
        }
        with pytest.raises(StartupError, match=r"is not what its manifest describes .*absent, .* nothing was changed"):
            restore_backup(settings, legacy_url, backup)

    def test_damaged_dump(self, settings: Settings, legacy_url: str, backup: Backup) -> None:
        whole = backup.path.read_bytes()
        flipped = whole[:500] + bytes([whole[500] ^ 1]) + whole[501:]
        for damaged in (whole[:-1], whole[: len(whole) // 2], flipped, b"", whole + b"0"):
            backup.path.write_bytes(damaged)

            for action in (verify_backup, restore_backup):
                with pytest.raises(StartupError, match="is damaged: its SHA-256 is not the one in its manifest"):
                    action(settings, legacy_url, backup)

    def test_dump_that_cannot_be_restored(self, settings: Settings, legacy_url: str, backup: Backup) -> None:
        whole = backup.path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"no archive"):
            backup.path.write_bytes(damaged)
            tamper(backup, sha256=sha256(damaged).hexdigest())

            for action in (verify_backup, restore_backup):
                with pytest.raises(StartupError, match=r"^pg_restore ended with status 1 \(.*input file"):
                    action(settings, legacy_url, backup)

    def test_missing_manifest(self, settings: Settings, legacy_url: str, backup: Backup) -> None:
        backup.manifest_path.unlink()

        with pytest.raises(StartupError, match="has no manifest"):
            restore_backup(settings, legacy_url, backup)

    def test_unreadable_manifest(self, settings: Settings, legacy_url: str, backup: Backup) -> None:
        for text in ("", "{}", '{"format": 2}'):
            backup.manifest_path.write_text(text)

            with pytest.raises(StartupError, match="cannot be read as a backup's manifest"):
                restore_backup(settings, legacy_url, backup)

    def test_newer_server(self, settings: Settings, legacy_url: str, backup: Backup) -> None:
        tamper(backup, server_major=99)

        with pytest.raises(StartupError, match="was made on PostgreSQL 99 and cannot be restored on"):
            verify_backup(settings, legacy_url, backup)


def test_databases_that_killed_processes_left_behind_go(settings: Settings, legacy_url: str, backup: Backup) -> None:
    name = name_of(legacy_url)
    leftover, similar = suffixed(name, "_scratch_0123456789ab"), suffixed(name, "_scratch_of_my_own")
    run_outside_transaction(legacy_url, f'CREATE DATABASE "{leftover}"', f'CREATE DATABASE "{similar}"')

    with maintenance(legacy_url) as server, scratch_database(server, name) as in_use:
        verify_backup(settings, legacy_url, backup)
        assert beside(legacy_url) == sorted([in_use, similar])

    assert beside(legacy_url) == [similar]


def test_restored_database_is_analyzed(settings: Settings, legacy_url: str, backup: Backup) -> None:
    restore_backup(settings, legacy_url, backup)

    assert fetch(legacy_url, "SELECT reltuples::int::text AS rows FROM pg_class WHERE relname = 'users'") == [
        {"rows": "7"}
    ]
