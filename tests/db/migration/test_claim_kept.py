"""That the MVP user was claimed holds for good, also on the way down and up."""

from functools import partial
from pathlib import Path

import pytest
from anyio import to_thread

from tests.support.accounts import claim, join
from tests.support.chain import ACTIVITY, WAYS_IN, catalog, downgrade, execute, rows_of, upgrade
from tests.support.service import bearer, in_process, settings_for

ASIDE = "mvp_claim_set_aside"
CLAIM = """
INSERT INTO users (email, created_at, updated_at, preferences, password_hash)
    VALUES ('ana@desk.test', now(), now(), '{}', ''), ('bob@desk.test', now(), now(), '{}', '');
INSERT INTO mvp_claim (id, user_id, token_hash, claimed_at) VALUES (1, 1, sha256('x'), '2026-11-25 01:02:03.000004')
"""


@pytest.fixture
def claimed_url(empty_url: str) -> str:
    upgrade(empty_url, WAYS_IN)
    execute(empty_url, CLAIM)
    return empty_url


def test_it_waits_aside_and_comes_back_whole(claimed_url: str) -> None:
    before, tables = rows_of(claimed_url, "mvp_claim"), catalog(claimed_url)
    for _ in range(2):
        downgrade(claimed_url, ACTIVITY)
        assert ASIDE in catalog(claimed_url)
        upgrade(claimed_url, WAYS_IN)
        assert rows_of(claimed_url, "mvp_claim") == before
        assert catalog(claimed_url) == tables


def test_it_comes_back_without_a_user_who_was_deleted_meanwhile(claimed_url: str) -> None:
    (before,) = rows_of(claimed_url, "mvp_claim")
    downgrade(claimed_url, ACTIVITY)
    execute(claimed_url, "DELETE FROM users WHERE id = 1")
    upgrade(claimed_url, WAYS_IN)
    assert rows_of(claimed_url, "mvp_claim") == [before | {"user_id": None}]


def test_it_is_not_that_of_tables_made_anew(claimed_url: str) -> None:
    downgrade(claimed_url, "base")
    upgrade(claimed_url, WAYS_IN)
    assert rows_of(claimed_url, "mvp_claim") == []
    assert ASIDE not in catalog(claimed_url)


def test_where_there_is_none_no_table_is_left(empty_url: str) -> None:
    upgrade(empty_url, WAYS_IN)
    downgrade(empty_url, ACTIVITY)
    assert ASIDE not in catalog(empty_url)


@pytest.mark.anyio
@pytest.mark.parametrize("founder", ["has kept the token", pytest.param("is gone", marks=pytest.mark.slow)])
async def test_no_start_opens_it_again(clone_url: str, tmp_path: Path, founder: str) -> None:
    async with in_process(settings_for(clone_url, tmp_path)) as client:
        account = await claim(client, keep_api_token=True)
        other = await join(client, account.headers, "other@example.test", "owner")
        if founder == "is gone":
            answer = await client.delete(f"/api/users/{account.id}", headers=other.headers)
            assert answer.status_code == 204
    await to_thread.run_sync(partial(downgrade, clone_url, ACTIVITY))
    await to_thread.run_sync(partial(upgrade, clone_url))
    token = "another-token-of-the-tests-0123456789-ABCDEF"
    async with in_process(settings_for(clone_url, tmp_path, api_token=token)) as client:
        assert (await client.get("/api/users/me", headers=bearer(token))).status_code == 401
