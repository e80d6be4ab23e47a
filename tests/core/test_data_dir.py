"""The folder of one installation, and the secrets in it."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from app.core.data_dir import DataDir
from app.core.errors import StartupError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "deep" / "data")


def test_it_is_made_at_first_use_for_its_owner_alone(data: DataDir) -> None:
    assert not data.path.exists()
    assert data.ensure() == data.path
    assert mode(data.path) == 0o700


def test_one_that_is_open_to_others_is_closed(data: DataDir) -> None:
    data.path.mkdir(parents=True)
    data.path.chmod(0o755)
    data.ensure()
    assert mode(data.path) == 0o700


def test_its_parts_are_inside(data: DataDir) -> None:
    assert data.postgres.parent == data.backups.parent == data.path


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StartupError, match=r"DATA_DIR .*/data cannot be used"):
        DataDir(tmp_path / "data").ensure()


def test_a_file_on_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="DATA_DIR"):
        DataDir(tmp_path / "file" / "data").ensure()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StartupError, match="DATA_DIR"):
        DataDir(tmp_path / "data").ensure()
    tmp_path.chmod(0o700)


def test_a_secret_is_made_once_and_kept(data: DataDir) -> None:
    first = data.secret("jwt-secret")
    assert len(first) >= 32
    assert data.secret("jwt-secret") == first
    assert data.secret("api-token") != first
    assert mode(data.path / "jwt-secret") == 0o600
    assert sorted(path.name for path in data.path.iterdir()) == ["api-token", "jwt-secret"]


def test_the_caller_may_say_what_a_secret_looks_like(data: DataDir) -> None:
    assert data.secret("token", lambda: "made here") == "made here"
    assert data.secret("token", lambda: "made again") == "made here"


def test_many_at_once_agree(data: DataDir) -> None:
    data.ensure()
    with ThreadPoolExecutor(16) as pool:
        values = set(pool.map(lambda _: data.secret("token"), range(64)))
    assert len(values) == 1
    assert [path.name for path in data.path.iterdir()] == ["token"]


def test_two_processes_agree(data: DataDir) -> None:
    with get_context("spawn").Pool(2) as pool:
        values = set(pool.map(data.secret, ["token"] * 4))
    assert len(values) == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_spoiled_secret_is_named(data: DataDir, content: bytes) -> None:
    (data.ensure() / "token").write_bytes(content)
    with pytest.raises(StartupError, match=r"token (is empty|cannot be read).*delete it"):
        data.secret("token")


def test_a_folder_in_a_secrets_place_is_named(data: DataDir) -> None:
    (data.ensure() / "token").mkdir()
    with pytest.raises(StartupError, match="token cannot be read"):
        data.secret("token")
