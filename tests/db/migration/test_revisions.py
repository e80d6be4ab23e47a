"""What every revision must pass, found by its file: those there are and those to come."""

import ast
import json
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.config import Config
from pytest_alembic.tests import (  # noqa: F401
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from pytest_alembic.tests.experimental import test_downgrade_leaves_no_trace

from app.core.settings import REPOSITORY
from app.db.migration.migrate import ALEMBIC_INI
from app.db.revisions import VERSIONS, revisions
from tests.support.chain import CHAIN, rendered
from tests.support.rewinding import RewindingConnection
from tests.support.sources import built_statements, imported_modules

pytest.mark.slow(test_downgrade_leaves_no_trace)
pytest.mark.slow(test_up_down_consistency)

FILES = sorted(VERSIONS.glob("*.py"))
SQUAWK = Path(sysconfig.get_path("scripts")) / "squawk"

EXCUSED = {
    "037b216f2ed1": {"ban-drop-default"},  # of the column that the same revision added with it
    "50b91afc8456": {"ban-drop-not-null"},  # what it is for; older code writes a hash for every user
    # Of the columns that the same revision added with them; now() is not volatile, so that no row is rewritten.
    "74e7f4b7c3a3": {"adding-field-with-default", "ban-drop-default"},
    "b6790272e292": {"ban-drop-not-null", "ban-drop-constraint"},  # what it is for; older code writes users that exist
    # A rewrite under a lock, of tables that no released version reads; repeated, it changes no value.
    "d94b1c6e7a05": {"changing-column-type", "prefer-robust-stmts"},
}
"""Revisions and what squawk has against them."""


@pytest.fixture
def alembic_config(empty_url: str) -> Config:
    return Config(ALEMBIC_INI, attributes={"url": empty_url})


@pytest.fixture
def alembic_engine(empty_url: str, server_url: str) -> Iterator[RewindingConnection]:
    """For what pytest-alembic itself asks the database; the revisions run as they do in a start."""
    connection = RewindingConnection(empty_url, server_url)
    yield connection
    connection.close()


def test_the_chain_is_linear_and_holds_every_file() -> None:
    assert len(CHAIN) == len(FILES)
    assert [revisions()[revision] for revision in CHAIN] == [None, *CHAIN[:-1]]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def module(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_file_says_which_revision_it_is(path: Path, module: ast.Module) -> None:
    assert re.fullmatch(r"[0-9a-f]{12}(_[a-z0-9]+)+", path.stem)
    revision = path.stem.partition("_")[0]
    constants = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).islower()
    }
    assert constants == {
        "revision": revision,
        "down_revision": revisions()[revision],
        "branch_labels": None,
        "depends_on": None,
    }


def test_file_begins_with_a_sentence_on_what_it_does(path: Path, module: ast.Module) -> None:
    revision = path.stem.partition("_")[0]
    docstring = ast.get_docstring(module) or ""
    heading = rf"Revision ID: {revision}\nRevises: ?{revisions()[revision] or ''}\nCreate Date: \d{{4}}-\d\d-\d\d .+"
    assert re.fullmatch(rf"[A-Z][^\n]+\.\n\n(.+\n\n)?{heading}", docstring, re.DOTALL), docstring


def test_both_ways_are_written_or_say_why_there_is_nothing_to_do(module: ast.Module) -> None:
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    for name in ("upgrade", "downgrade"):
        docstring = ast.get_docstring(functions[name])
        steps = functions[name].body[1 if docstring else 0 :]
        assert docstring or any(not isinstance(step, ast.Pass | ast.Raise) for step in steps), name


def test_only_helpers_made_for_revisions_are_imported(module: ast.Module) -> None:
    ours = {name for name in imported_modules(module) if name.partition(".")[0] in {"app", "benchmarks", "tests"}}
    assert ours <= {"app.db.migration.ddl"}


def test_statements_are_made_of_constants(module: ast.Module) -> None:
    assert list(built_statements(module)) == []


@pytest.mark.parametrize("revision", CHAIN)
def test_squawk_has_nothing_against_it(revision: str, tmp_path: Path) -> None:
    found = squawk(rendered("upgrade", f"{revisions()[revision] or 'base'}:{revision}"), tmp_path)
    assert [each for each in found if each.split()[0] not in EXCUSED.get(revision, set())] == []


def test_squawk_would_notice(tmp_path: Path) -> None:
    sql = "BEGIN; ALTER TABLE users ADD COLUMN colour text NOT NULL; CREATE INDEX i ON users (colour); COMMIT"
    assert {each.split()[0] for each in squawk(sql, tmp_path)} == {
        "adding-required-field",
        "require-concurrent-index-creation",
    }


def squawk(sql: str, folder: Path) -> list[str]:
    """What it has against the SQL: the rule, where, and why."""
    script = folder / "upgrade.sql"
    script.write_text(sql, encoding="utf-8")
    done = subprocess.run(
        [SQUAWK, "--config", REPOSITORY / ".squawk.toml", "--reporter", "json", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    found = [(each["rule_name"], sql.splitlines()[each["line"]], each["message"]) for each in json.loads(done.stdout)]
    return [f"{rule} in {line}: {reason}" for rule, line, reason in found if not is_misjudged(rule, line, sql)]


def is_misjudged(rule: str, line: str, sql: str) -> bool:
    """Whether the line breaks the rule to no harm, wherever it stands."""
    match rule:
        case (
            "ban-drop-constraint"
        ):  # it is added by the same revision: app.db.migration.ddl makes way for it, or drops its proof
            dropped = re.search(r"DROP CONSTRAINT IF EXISTS (\w+)", line)
            return dropped is not None and f"ADD CONSTRAINT {dropped[1]} " in sql
        case "prefer-robust-stmts":  # says of these that they cannot be repeated, and they can
            return re.search(r"ALTER COLUMN \w+ (SET|DROP) (NOT NULL|DEFAULT)|ENABLE ALWAYS TRIGGER", line) is not None
    return False
