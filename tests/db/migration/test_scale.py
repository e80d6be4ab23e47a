"""Indexes: what deletes cascade along has one, none repeats another, and all are made while rows are written."""

import re

import pytest

from tests.support.chain import REVOCATIONS, SCALE, catalog, execute, fetch, rendered, upgrade
from tests.support.rows import fill

# Of each foreign key, those indexes over all rows that begin with its columns.
REFERENCES = """
    SELECT conname, count(indexrelid)::text AS indexes FROM pg_constraint
    LEFT JOIN pg_index ON indrelid = conrelid AND indpred IS NULL AND indisvalid
                      AND (indkey::int2[])[0:cardinality(conkey) - 1] @> conkey
    WHERE contype = 'f' GROUP BY conname
"""
# Indexes over the same rows of which one begins with all that the other has.
REPEATED = """
    SELECT less.indexrelid::regclass::text AS name FROM pg_index AS less JOIN pg_index AS more USING (indrelid)
    WHERE less.indexrelid <> more.indexrelid AND indrelid IN ('user_sessions'::regclass, 'activity_log'::regclass)
      AND less.indpred IS NULL AND more.indpred IS NULL AND NOT less.indisunique
      AND starts_with(more.indkey::text || ' ', less.indkey::text || ' ')
"""


def test_every_foreign_key_has_an_index(clone_url: str) -> None:
    found = {row["conname"]: row["indexes"] for row in fetch(clone_url, REFERENCES)}
    assert found.keys() > {"refresh_token_exchanges_session_id_fkey", "user_sessions_user_id_fkey"}
    assert [name for name, indexes in found.items() if indexes == "0"] == []


def test_without_an_index_it_would_be_noticed(clone_url: str) -> None:
    execute(clone_url, "DROP INDEX ix_refresh_token_exchanges_session_id")
    assert {"conname": "refresh_token_exchanges_session_id_fkey", "indexes": "0"} in fetch(clone_url, REFERENCES)


def test_no_index_of_a_big_table_repeats_another(clone_url: str) -> None:
    assert fetch(clone_url, REPEATED) == []
    execute(clone_url, "CREATE INDEX again ON activity_log (user_id)")
    assert {row["name"] for row in fetch(clone_url, REPEATED)} == {"again"}


@pytest.mark.parametrize(
    ("direction", "revisions"),
    [("upgrade", f"{REVOCATIONS}:{SCALE}"), ("downgrade", f"{SCALE}:{REVOCATIONS}")],
)
def test_each_is_made_and_dropped_concurrently(direction: str, revisions: str) -> None:
    found = re.findall(r"^(?:CREATE|DROP) .+", rendered(direction, revisions), re.MULTILINE)
    assert len(found) == 4 + 8
    assert [each for each in found if not re.match(r"(CREATE|CREATE UNIQUE|DROP) INDEX CONCURRENTLY IF ", each)] == []


@pytest.mark.slow
def test_one_that_could_not_be_finished_is_made_anew(empty_url: str) -> None:
    upgrade(empty_url, REVOCATIONS)
    fill(empty_url)
    execute(
        empty_url,
        "CREATE INDEX ix_known_addresses_last_seen_at ON known_addresses (last_seen_at)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_known_addresses_last_seen_at'::regclass",
    )
    upgrade(empty_url, SCALE)
    assert "INDEX ix_known_addresses_last_seen_at (last_seen_at)" in catalog(empty_url)["known_addresses"]
