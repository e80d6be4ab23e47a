"""The folder of backups: what is kept, what is cleared away, and that nothing half-written is a backup.

The dumps are one byte long.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.core.errors import StartupError
from app.db.backup.contents import Contents, Table
from app.db.backup.folder import KEPT, BackupFolder, Manifest
from tests.support.backups import embedded_settings

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> BackupFolder:
    return BackupFolder(embedded_settings(tmp_path).data)


def add(folder: BackupFolder, day: int, revision: str, made_by: str = "migration") -> str:
    at = START + timedelta(days=day)
    with folder.draft(at, revision) as draft:
        draft.file.write(b"x")
        manifest = Manifest.model_validate(
            {"made_by": made_by, "taken_at": at, "database": "trading", "revision": revision}
            | {"server_version": "18.0", "server_major": 18, "pg_dump_major": 18, "size": 1, "sha256": ""}
            | {"contents": Contents(tables={"public.users": Table(rows=1, hash="1")}, sequences={})}
        )
        return draft.publish(manifest).name


def names_in(folder: BackupFolder) -> list[str]:
    return [backup.name for backup in folder.backups()]


def test_newest_five_are_kept(folder: BackupFolder) -> None:
    names = [add(folder, day, f"r{day}") for day in range(8)]
    folder.prune()

    assert names_in(folder) == names[: -KEPT - 1 : -1]
    assert len(list(folder.path.glob("*.json"))) == KEPT


def test_failing_starts_do_not_push_out_what_was_before_them(folder: BackupFolder) -> None:
    before = add(folder, 0, "before")
    failing = [add(folder, day, "stuck") for day in range(1, 9)]
    folder.prune()

    assert names_in(folder) == [*failing[:-5:-1], before]


def test_what_was_made_by_hand_or_has_no_manifest_stays(folder: BackupFolder) -> None:
    by_hand = add(folder, 0, "a", "command")
    (folder.path / "20250101T000000Z-lost.dump").write_bytes(b"x")
    names = [add(folder, day, f"r{day}") for day in range(1, 8)]
    folder.prune()

    assert names_in(folder) == [*names[: -KEPT - 1 : -1], by_hand, "20250101T000000Z-lost"]


def test_two_in_the_same_second_have_names_of_their_own(folder: BackupFolder) -> None:
    with folder.draft(START, "a") as draft:
        draft.file.write(b"x")
        assert add(folder, 0, "a") == "20260101T000001Z-a"
        assert add(folder, 0, "a") == "20260101T000002Z-a"


def test_odd_revision_makes_no_odd_name(folder: BackupFolder) -> None:
    assert add(folder, 0, "../a+b *") == "20260101T000000Z-___a_b__"


def test_leftovers_go_and_drafts_of_others_stay(folder: BackupFolder) -> None:
    with folder.draft(START, "mine") as draft:
        draft.file.write(b"x")
        leftover = folder.path / ".20250101T000000Z-a.dump.partial"
        leftover.write_bytes(b"half")
        add(folder, 1, "b")

        assert not leftover.exists()
        assert [path.name for path in folder.path.glob(".*.partial")] == [".20260101T000000Z-mine.dump.partial"]
    assert not list(folder.path.glob(".*.partial"))


def test_nothing_half_written_is_listed(folder: BackupFolder) -> None:
    with folder.draft(START, "a") as draft:
        draft.file.write(b"x")
        assert not folder.backups()
        with pytest.raises(StartupError, match="There is no backup in"):
            folder.find("newest")
