"""The commands of the README, as a person types them: in backend/ and at the top, on either database."""

import json
import re
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.db.revisions import UPGRADE, head_revision, revisions
from tests.support.service import Running, processes_in, running, uvicorn_process

pytestmark = pytest.mark.slow

BEFORE_HEAD = revisions()[head_revision()]


class Shell:
    """A shell in the virtual environment, at the top of a clone."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.variables = variables

    def type(self, line: str, expect: int = 0) -> Running:
        """Type `[cd backend && ]python …`."""
        place, _, command = line.rpartition(" && ")
        _, *arguments = command.split()
        with running(self.folder, self.variables, *arguments, cwd=place.removeprefix("cd ") or ".") as program:
            assert program.ends(60) == expect, program.output()
            assert "Traceback" not in program.output()
        return program


def test_from_nothing_to_head_and_a_step_back(data_dir: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path, DATA_DIR=str(data_dir))
    assert f"run `{UPGRADE}`" in shell.type("cd backend && python verify_schema.py", 1).printed()
    assert "Running upgrade  -> 0952a611cdfb" in shell.type("cd backend && python -m alembic upgrade head").logged()
    assert shell.type("cd backend && python -m alembic current").printed() == f"{head_revision()} (head)\n"
    assert shell.type("python backend/verify_schema.py").printed().endswith("what this code expects.\n")
    shell.type("cd backend && python -m alembic downgrade -1")
    assert shell.type("python -m alembic current").printed() == f"{BEFORE_HEAD}\n"
    assert processes_in(data_dir) == []


def test_against_a_database_url(clone_url: str, data_dir: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path, DATABASE_URL=clone_url, DATA_DIR=str(data_dir))
    shell.type("python -m alembic downgrade -1")
    report = json.loads(shell.type("cd backend && python verify_schema.py --json", 1).printed())
    assert report["revisions"]["pending"] == [head_revision()]
    shell.type("cd backend && python -m alembic upgrade head")
    assert json.loads(shell.type("python backend/verify_schema.py --json").printed())["ok"] is True
    assert not data_dir.exists()


def test_beside_a_running_server(data_dir: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path, DATA_DIR=str(data_dir))
    with uvicorn_process(tmp_path, shell.variables) as server:
        server.wait_until_up()
        assert shell.type("cd backend && python -m alembic current").printed() == f"{head_revision()} (head)\n"
        shell.type("python backend/verify_schema.py")
        shell.type("cd backend && python -m alembic downgrade -1")
        assert server.get("/api/health/ready").status_code == 503
        shell.type("cd backend && python -m alembic upgrade head")
        assert server.get("/api/health/ready").status_code == 200
        assert server.get("/api/users/me", server.token()).status_code == 200
        assert server.ctrl_c() == 0
    assert processes_in(data_dir) == []


@pytest.mark.parametrize("command", ["python -m alembic current", "python -m alembic upgrade head"])
def test_alembic_says_in_one_sentence_that_there_is_no_database(command: str, clone_url: str, tmp_path: Path) -> None:
    nowhere = make_url(clone_url).set(database="nowhere", password="hidden-part").render_as_string(hide_password=False)
    said = Shell(tmp_path, DATABASE_URL=nowhere).type(command, 255).output()
    assert re.fullmatch(r'FAILED: The database at [^\n]+ database "nowhere" does not exist\. [^\n]+\n\n?', said)
    assert "hidden-part" not in said
    malformed = Shell(tmp_path, DATABASE_URL="mysql://user:hidden-part@host/name").type(command, 255).output()
    assert re.fullmatch(r"FAILED: DATABASE_URL must be a PostgreSQL address [^\n]+\n\n?", malformed)
    assert "hidden-part" not in malformed
