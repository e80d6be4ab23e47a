"""What a crowd of changes tells; and what the way up makes and the way down leaves."""

from collections.abc import Iterator

import pytest

from tests.support import postgres
from tests.support.chain import CHAIN, REVOCATIONS, downgrade, execute, fetch, upgrade
from tests.support.ear import PEOPLE, Ear, listening

PREVIOUS = CHAIN[CHAIN.index(REVOCATIONS) - 1]

CROWD = """
INSERT INTO users (id, email, created_at, updated_at, preferences)
    SELECT n, n || '@crowd.test', now(), now(), '{{}}' FROM generate_series(1001, {last}) n;
INSERT INTO user_sessions
    (id, user_id, access_token_jti, refresh_token_jti, expires_at, last_activity_at, created_at)
    SELECT n, n, 'x' || n, 'x' || n, '2030-01-01', '2026-01-01', '2026-01-01' FROM generate_series(1001, {last}) n
"""


@pytest.fixture(scope="module")
def ear(server_url: str, template: str) -> Iterator[Ear]:
    with postgres.database(server_url, like=template) as url, listening(url) as ear:
        yield ear


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET is_active = false WHERE id > 1000",
        "UPDATE user_sessions SET ended_at = now() WHERE user_id > 1000",
        "DELETE FROM user_sessions WHERE user_id > 1000",
        "DELETE FROM users WHERE id > 1000",
    ],
)
def test_more_than_a_hundred_users_are_all(ear: Ear, change: str) -> None:
    assert sorted(ear.hears(CROWD.format(last=1100), change)) == [str(number) for number in range(1001, 1101)]
    assert ear.hears(CROWD.format(last=1101), change) == ["all"]


def test_a_statement_over_many_rows_is_told_once(ear: Ear) -> None:
    crowd = CROWD.format(last=11000)
    same = "UPDATE user_sessions SET user_id = 1; "
    assert ear.hears(f"{crowd}; {same}", "UPDATE user_sessions SET ended_at = now()") == ["all", "1"]
    assert ear.hears(crowd, "UPDATE user_sessions SET ended_at = now()") == ["all"]
    assert ear.hears(crowd, "UPDATE user_sessions SET last_activity_at = now()") == []


def test_statements_in_a_transaction_tell_each_user_once(ear: Ear) -> None:
    ends = (f"UPDATE user_sessions SET ended_at = '2026-01-01'::timestamp + interval '{n} s'" for n in range(1000))
    assert sorted(ear.hears("; ".join(ends))) == ["1", "2"]


LEFT = """
SELECT tgname AS name FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname <> 'folded'
"""


def test_up_down_and_up_again(empty_url: str) -> None:
    upgrade(empty_url, PREVIOUS)
    execute(empty_url, PEOPLE)
    upgrade(empty_url, REVOCATIONS)
    made = fetch(empty_url, LEFT)
    downgrade(empty_url, PREVIOUS)
    assert fetch(empty_url, LEFT) == []
    upgrade(empty_url, REVOCATIONS)
    assert sorted(row["name"] or "" for row in fetch(empty_url, LEFT)) == sorted(row["name"] or "" for row in made)
    assert len(made) == 10


def test_a_way_up_that_was_cut_off_goes_on(empty_url: str) -> None:
    """Also over triggers that were disabled meanwhile."""
    upgrade(empty_url, REVOCATIONS)
    execute(
        empty_url,
        "ALTER TABLE users DISABLE TRIGGER revocations_on_update; DROP TRIGGER revocations_on_delete ON api_tokens; "
        f"UPDATE alembic_version SET version_num = '{PREVIOUS}'",
    )
    upgrade(empty_url, REVOCATIONS)
    enabled = fetch(empty_url, "SELECT tgenabled::text AS enabled FROM pg_trigger WHERE NOT tgisinternal")
    assert enabled == [{"enabled": "A"}] * 9
