"""`make revision`, given in a copy of the repository: what it writes passes what every revision must pass."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.settings import REPOSITORY
from app.db.revisions import head_revision
from tests.support.service import environment

pytestmark = pytest.mark.slow

PARTS = ("Makefile", "alembic.ini", "pyproject.toml", ".squawk.toml", "requirements-dev.lock", "backend", "tests")
LAST_COLUMN = """
    time_in_force: Mapped[str] = mapped_column(String(10), server_default="day")
"""
COLUMNS = f"""{LAST_COLUMN.rstrip()}
    note: Mapped[str | None] = mapped_column(String(200), index=True)
    valid_until: Mapped[datetime | None]
    token_id: Mapped[int | None] = mapped_column(ForeignKey("api_tokens.id", ondelete="SET NULL"))
"""
TABLE = '''

class Watch(Base):
    """A symbol that a user keeps an eye on."""

    __tablename__ = "watches"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    seen_at: Mapped[datetime] = mapped_column(server_default=NOW_DEFAULT)
'''


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for part in PARTS:
        if (REPOSITORY / part).is_dir():
            shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / part, folder)
    (folder / "installed").touch()
    return folder


def test_what_the_models_add_becomes_a_revision_that_passes_every_check(
    copy: Path, empty_url: str, server_url: str
) -> None:
    models = copy / "backend/app/models/database.py"
    source = models.read_text(encoding="utf-8")
    assert source.count(LAST_COLUMN) == 1
    models.write_text(source.replace(LAST_COLUMN, COLUMNS) + TABLE, encoding="utf-8")

    run(copy, *make("revision", "m=keep notes and watches"))
    (path,) = new_files(copy)
    written = path.read_text(encoding="utf-8")
    revision = path.stem.partition("_")[0]

    assert path.stem == f"{revision}_keep_notes_and_watches"
    assert written.startswith(f'"""Keep notes and watches.\n\nRevision ID: {revision}\nRevises: {head_revision()}\n')
    assert 'create_index_concurrently("ix_order_templates_note", "order_templates", ["note"])' in written
    assert 'op.create_index(op.f("ix_watches_user_id"), "watches", ["user_id"]' in written
    run(copy, sys.executable, "-m", "ruff", "check", path)
    run(copy, sys.executable, "-m", "ruff", "format", "--check", path)
    tests = ("tests/db/migration/test_revisions.py", "tests/db/migration/test_revision_rows.py")
    chosen = f"{revision} or test_model_definitions_match_ddl or test_single_head_revision or linear or no_trace"
    checks = ("-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={copy / 'scratch'}", *tests, "-k", chosen)
    assert " passed" in run(copy, sys.executable, *checks, TEST_DATABASE_URL=server_url)

    run(copy / "backend", sys.executable, "-m", "alembic", "upgrade", "head", DATABASE_URL=empty_url)
    report = run(copy / "backend", sys.executable, "verify_schema.py", DATABASE_URL=empty_url)
    assert f"current  {revision}" in report
    assert "breaking" not in report
    run(copy / "backend", sys.executable, "-m", "alembic", "downgrade", "-1", DATABASE_URL=empty_url)


def test_nothing_is_written_when_the_models_ask_for_nothing(copy: Path) -> None:
    printed = run(copy, *make("revision", "m=nothing"))
    assert "nothing was written" in printed
    assert new_files(copy) == []


def test_empty_revision_is_written_when_asked_for_and_has_to_be_filled_in(copy: Path) -> None:
    run(copy, *make("revision", "m=Move old sessions.", "empty=1"))
    (path,) = new_files(copy)
    written = path.read_text(encoding="utf-8")
    assert written.startswith('"""Move old sessions.\n')
    assert written.count("raise NotImplementedError(") == 2
    run(copy, sys.executable, "-m", "ruff", "format", "--check", path)


def test_message_is_asked_for(copy: Path) -> None:
    with pytest.raises(AssertionError, match="Say what it does"):
        run(copy, *make("revision"))


def make(*arguments: str) -> tuple[str, ...]:
    """With the tools of the environment that runs the tests; nothing is installed into the copy."""
    return "make", f"BIN={Path(sys.executable).parent}", "INSTALLED=installed", *arguments


def run(folder: Path, *command: str | Path, **variables: str) -> str:
    """What it prints; AssertionError with all of it when it fails."""
    top = next(parent for parent in (folder, folder.parent) if (parent / "Makefile").exists())
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment({"PYTHONPATH": os.pathsep.join([str(top / "backend"), str(top)]), **variables}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def new_files(copy: Path) -> list[Path]:
    folder = "backend/alembic/versions"
    return sorted(path for path in (copy / folder).glob("*.py") if not (REPOSITORY / folder / path.name).exists())
