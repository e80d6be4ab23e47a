"""What every revision does to rows, with rows of all the types there are in every table there is."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import psycopg2
import pytest
from sqlalchemy.exc import DBAPIError

from app.core.errors import StartupError
from app.db.revisions import VERSIONS, revisions
from tests.support.chain import CHAIN, Row, downgrade, execute, revision_of, rows, upgrade
from tests.support.rows import PER_TABLE, fill

pytestmark = pytest.mark.slow

FILLED = {
    "037b216f2ed1": frozenset({"users.email"}),  # forbids NULL: users without an address get one at a reserved domain
}
"""Columns whose NULL a revision gives a value."""

SET_ASIDE = {"activity_log": "activity_log_without_user", "mvp_claim": "mvp_claim_set_aside"}
"""Where rows wait that the tables of earlier revisions cannot hold."""

COMMITTING = [
    path.stem.partition("_")[0] for path in VERSIONS.glob("*.py") if "app.db.migration.ddl" in path.read_text()
]
"""Revisions that commit on their way: a process killed there leaves a part of them."""

Tables = dict[str, list[Row]]


@pytest.fixture(params=CHAIN)
def revision(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def previous(revision: str, empty_url: str) -> str:
    """The revision before, which the database is at, with rows."""
    before = revisions()[revision]
    if before is None:
        return "base"
    upgrade(empty_url, before)
    fill(empty_url)
    return before


def test_rows_stay_on_the_way_up_and_down_and_up(revision: str, previous: str, empty_url: str) -> None:
    before = rows(empty_url)
    upgrade(empty_url, revision)
    after = rows(empty_url)
    assert list(changes(before, after, FILLED.get(revision, frozenset()))) == []

    downgrade(empty_url, previous)
    back = rows(empty_url)
    kept = {table: after[table] for table in after.keys() & before.keys()}
    assert list(changes(shared(before, kept), back)) == []

    upgrade(empty_url, revision)
    assert list(changes(back, rows(empty_url), FILLED.get(revision, frozenset()))) == []


def test_rows_written_since_go_back_or_keep_everything_as_it_is(revision: str, previous: str, empty_url: str) -> None:
    upgrade(empty_url, revision)
    fill(empty_url, start=PER_TABLE)
    before = rows(empty_url)
    if goes_back(empty_url, previous):
        after = rows(empty_url)
        for table, aside in SET_ASIDE.items():
            after |= {table: after.get(table, []) + after.pop(aside)} if aside in after else {}
        assert {table: len(after[table]) for table in after} == {table: len(before[table]) for table in after}
    else:
        assert revision_of(empty_url) == [revision]
        assert rows(empty_url) == before


@pytest.mark.parametrize("revision", COMMITTING, indirect=True)
def test_revision_that_commits_on_its_way_can_be_run_again(revision: str, previous: str, empty_url: str) -> None:
    upgrade(empty_url, revision)
    before = rows(empty_url)
    execute(empty_url, f"UPDATE alembic_version SET version_num = '{previous}'")
    upgrade(empty_url, revision)
    assert rows(empty_url) == before


def changes(before: Tables, after: Tables, filled: AbstractSet[str] = frozenset()) -> Iterator[str]:
    """What differs in the columns that both have, and rows that are gone; `filled` may have lost their NULLs."""
    for table in before.keys() & after.keys():
        there = {key_of(row): row for row in after[table]}
        for row in before[table]:
            other = there.get(key_of(row))
            if other is None:
                yield f"{table} {key_of(row)} is gone"
                continue
            for column in row.keys() & other.keys():
                expected = row[column] is None and f"{table}.{column}" in filled
                if row[column] != other[column] and not expected:
                    yield f"{table} {key_of(row)} {column}: {row[column]!r} became {other[column]!r}"


def key_of(row: Row) -> object:
    """Tables without an `id` hold what a change makes another row."""
    return row.get("id") or tuple(row.values())


def shared(before: Tables, after: Tables) -> Tables:
    """`before` without the tables and columns that `after` has not: the way down makes those anew."""
    columns = {table: {column for row in after[table] for column in row} for table in after}
    return {
        table: [{name: value for name, value in row.items() if name in columns[table]} for row in before[table]]
        for table in before.keys() & after.keys()
    }


def goes_back(url: str, revision: str) -> bool:
    """Downgrade, unless the revision refuses in words of its own."""
    try:
        downgrade(url, revision)
    except StartupError as error:
        cause = error.__cause__
        if isinstance(cause, DBAPIError) and isinstance(cause.orig, psycopg2.errors.RaiseException):
            return False
        raise
    return True
