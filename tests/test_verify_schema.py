"""The command of that name, run as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.db.revisions import UPGRADE, head_revision
from tests.db.support import staged

REPOSITORY = Path(__file__).resolve().parents[1]


def verify(url: str, *arguments: str, folder: str = ".") -> subprocess.CompletedProcess[str]:
    script = os.path.relpath(REPOSITORY / "backend" / "verify_schema.py", REPOSITORY / folder)
    return subprocess.run(
        [sys.executable, script, *arguments],
        cwd=REPOSITORY / folder,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("folder", [".", "backend"])
def test_exits_0_on_what_the_code_expects(clone_url: str, folder: str) -> None:
    run = verify(clone_url, folder=folder)

    assert (run.returncode, run.stderr) == (0, "")
    assert "[OK]   users.username is nullable\n" in run.stdout
    assert run.stdout.endswith("[OK] The database is what this code expects.\n")


def test_exits_1_and_says_what_to_run(clone_url: str) -> None:
    with staged(clone_url, "UPDATE alembic_version SET version_num = '50b91afc8456'"):
        people, machine = verify(clone_url), verify(clone_url, "--json")

    assert people.returncode == machine.returncode == 1
    assert UPGRADE in people.stdout
    report = json.loads(machine.stdout)
    assert (report["ok"], report["usable"], report["drift"]) == (False, True, [])
    assert report["revisions"]["pending"][-1] == report["revisions"]["head"] == head_revision()
    assert report["verdict"] in people.stdout


def test_exits_2_with_one_sentence_when_the_database_is_not_there(clone_url: str) -> None:
    nowhere = make_url(clone_url).set(database="nowhere").render_as_string(hide_password=False)
    for url in (nowhere, "mysql://localhost/trading", "postgresql://postgres:secret@127.0.0.1:1/trading"):
        run = verify(url)

        assert (run.returncode, run.stdout) == (2, "")
        assert run.stderr.count("\n") == 1
        assert "Traceback" not in run.stderr
        assert "secret" not in run.stderr
