"""`trading-backend backup …`, as processes."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

from app.db.backup.create import make_backup
from app.db.backup.folder import BackupFolder
from app.db.backup.text import list_as_json, render_list
from app.db.engine import database
from app.db.revisions import head_revision
from tests.support.backups import USERS, beside, deployment, embedded_settings, fake_pg_dump
from tests.support.chain import USERNAMES, dump, execute, revision_of, rows_of
from tests.support.deployment import deploy
from tests.support.service import Running, processes_in, running, settings_for

pytestmark = pytest.mark.slow


@pytest.fixture
def legacy_url(server_url: str) -> Iterator[str]:
    """A deployment, behind this code."""
    with deployment(server_url) as url:
        yield url


def finished(folder: Path, variables: dict[str, str], *arguments: str) -> Running:
    with running(folder, variables, "-m", "app.cli", *arguments) as command:
        command.ends()
    return command


def test_there_and_back(legacy_url: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": legacy_url, "DATA_DIR": str(tmp_path / "data")}

    def backup(*arguments: str) -> str:
        command = finished(tmp_path, variables, "backup", *arguments)
        assert command.process.returncode == 0, command.output()
        return command.printed()

    path = Path(backup("create").rstrip("\n"))
    assert path.is_file()
    assert path.parent == tmp_path / "data" / "backups"

    (entry,) = json.loads(backup("list", "--json"))
    assert entry["name"] == path.stem
    assert (entry["revision"], entry["size"], entry["made_by"]) == (USERNAMES, path.stat().st_size, "command")
    assert entry["rows"] > USERS

    verified = backup("verify").splitlines()
    assert [line.split() for line in verified if line.startswith("public.users ")] == [["public.users", "7", "7", "ok"]]
    assert verified[-1] == f"[OK] {path.stem} restores to what was backed up, row for row."

    execute(legacy_url, "TRUNCATE users CASCADE")
    restored = backup("restore", path.stem, "--yes")
    (kept,) = beside(legacy_url)
    assert kept in restored
    assert len(rows_of(legacy_url, "users")) == USERS
    assert "discard" in backup("undo", "--yes")
    assert rows_of(legacy_url, "users") == []


def test_refusals(legacy_url: str, tmp_path: Path) -> None:
    """Each is one sentence, without the password, and status 1."""
    password = "hunter2-hunter2"
    url = make_url(legacy_url).set(username="postgres", password=password).render_as_string(hide_password=False)
    variables = {"DATABASE_URL": url, "DATA_DIR": str(tmp_path / "data")}
    good = make_backup(settings_for(legacy_url, tmp_path / "data"), legacy_url, "command")
    before = dump(legacy_url)

    unknown = finished(tmp_path, variables, "backup", "verify", "no-such-name")
    unasked = finished(tmp_path, variables, "backup", "restore", "newest")
    manifest = json.loads(good.manifest_path.read_text())
    manifest["contents"]["tables"]["public.users"]["hash"] = "1"
    good.manifest_path.write_text(json.dumps(manifest))
    different = finished(tmp_path, variables, "backup", "verify", good.name)

    assert [command.process.returncode for command in (unknown, unasked, different)] == [1, 1, 1]
    assert unknown.output().startswith("ERROR: There is no backup 'no-such-name' in ")
    assert unknown.output().count("\n") == 1
    assert f"{good.name} holds {good.manifest().contents.rows} rows of the database" in unasked.output()
    assert unasked.output().endswith("Aborted.\n") or "Abort" in unasked.output()
    assert "public.users                      7          7         DIFFERENT\n" in different.printed()
    assert f"[FAIL] {good.name} does not restore to what its manifest describes: 1 differ." in different.printed()
    assert not any(password in command.output() for command in (unknown, unasked, different))
    assert dump(legacy_url) == before
    assert beside(legacy_url) == []


def test_list_shows_what_cannot_be_restored_too(legacy_url: str, tmp_path: Path) -> None:
    folder = BackupFolder(settings_for(legacy_url, tmp_path).data)
    assert render_list(folder.backups()) == "There is no backup."
    lost, good = (make_backup(settings_for(legacy_url, tmp_path), legacy_url, "command") for _ in range(2))
    lost.manifest_path.unlink()

    entries = json.loads(list_as_json(folder.backups()))
    assert [entry["name"] for entry in entries] == [good.name, lost.name]
    assert entries[1].keys() == {"name", "path", "size", "error"}
    assert "has no manifest" in entries[1]["error"]
    heading, first, second = render_list(folder.backups()).splitlines()
    assert heading.split() == ["NAME", "REVISION", "SIZE", "WHEN", "ROWS", "MADE", "BY"]
    assert first.startswith(f"{good.name}  {USERNAMES}  ")
    assert second.startswith(f"{lost.name}  ? ")


def test_killed_in_the_middle(legacy_url: str, tmp_path: Path) -> None:
    """pg_dump ends with it, the half-written file is no backup, and the next one clears it away."""
    data_dir = tmp_path / "data"
    endless = fake_pg_dump(tmp_path, f"echo $$ > {tmp_path}/pid; exec yes")
    variables = {
        "DATABASE_URL": legacy_url,
        "DATA_DIR": str(data_dir),
        "BACKUP_BEFORE_MIGRATION": "always",
        "PATH": f"{endless}:{os.environ['PATH']}",
    }
    with running(tmp_path, variables, "-m", "app.cli", "migrate") as command:
        command.wait_for((tmp_path / "pid").exists)
        command.wait_for(lambda: any(path.stat().st_size for path in (data_dir / "backups").glob(".*.partial")))
        command.process.send_signal(signal.SIGKILL)
        command.process.wait(10)
        pid = int((tmp_path / "pid").read_text())
        assert not psutil.pid_exists(pid) or psutil.Process(pid).wait(5) is None

    assert revision_of(legacy_url) == [USERNAMES]
    assert not list((data_dir / "backups").glob("*.dump"))
    backup = make_backup(settings_for(legacy_url, data_dir), legacy_url, "command")
    assert sorted(path.name for path in (data_dir / "backups").iterdir()) == sorted(
        [".lock", backup.path.name, backup.manifest_path.name]
    )


def test_full_disk(legacy_url: str, tmp_path: Path) -> None:
    """A limit on the size of files, as near as a test without a disk of its own comes."""
    execute(legacy_url, "CREATE TABLE big AS SELECT gen_random_uuid() FROM generate_series(1, 20000)")
    before = dump(legacy_url)
    variables = {
        "DATABASE_URL": legacy_url,
        "DATA_DIR": str(tmp_path / "data"),
        "BACKUP_BEFORE_MIGRATION": "always",
        "API_TOKEN": "x" * 40,
    }
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
    limited += "sys.argv[1:] = ['migrate']; runpy.run_module('app.cli', run_name='__main__')"
    with running(tmp_path, variables, "-c", limited) as command:
        assert command.ends() == 1

    assert "The backup before the migration failed, so nothing was changed" in command.output()
    assert "cannot be written to" in command.output()
    assert "(File too large): make room" in command.output()
    assert dump(legacy_url) == before
    assert [path.name for path in (tmp_path / "data" / "backups").iterdir()] == [".lock"]


@pytest.mark.slow
def test_embedded_database(data_dir: Path, tmp_path: Path) -> None:
    """Without DATABASE_URL a migration of a database with users takes a backup unasked, and it can be restored."""
    variables = {"DATA_DIR": str(data_dir)}
    settings = embedded_settings(data_dir)
    with database(settings) as url:
        deploy(url)

    assert finished(tmp_path, variables, "migrate").process.returncode == 0
    (entry,) = json.loads(finished(tmp_path, variables, "backup", "list", "--json").printed())
    assert (entry["revision"], entry["made_by"]) == (USERNAMES, "migration")
    assert finished(tmp_path, variables, "backup", "verify").process.returncode == 0
    assert finished(tmp_path, variables, "backup", "restore", "newest", "--yes").process.returncode == 0
    with database(settings) as url:
        assert revision_of(url) == [USERNAMES]
    assert finished(tmp_path, variables, "migrate").process.returncode == 0
    with database(settings) as url:
        assert revision_of(url) == [head_revision()]
        assert len(rows_of(url, "users")) == USERS
    assert processes_in(data_dir) == []
