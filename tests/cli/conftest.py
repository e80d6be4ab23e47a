from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.doctor import command, host
from app.core.settings import Settings
from tests.cli.examination import STRONG, TOKEN
from tests.cli.support import CommandLine
from tests.support.service import MVP_TOKEN


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from whoever runs the tests."""
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def cli(unconfigured: None, clone_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line on the database that `anonymous` serves, too."""
    monkeypatch.setenv("DATABASE_URL", clone_url)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("API_TOKEN", MVP_TOKEN)
    return CommandLine()


@pytest.fixture
def examined(cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """For the doctor: nothing is wrong yet, and no secret is ever printed."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("API_TOKEN", TOKEN)
    monkeypatch.setattr(host, "ENV_FILE", tmp_path / ".env")
    monkeypatch.setattr(command, "PATIENCE", 0.2)
    yield cli
    for outcome in cli.outcomes:
        assert not any(secret in outcome.printed + outcome.told for secret in (STRONG, TOKEN))
