"""A deployment of the years before this code, with the rows such deployments have, is taken over by one start."""

from pathlib import Path
from typing import Any

import pytest

from app.core.errors import StartupError
from app.db.engine import connect
from app.db.migration.migrate import migrate
from app.db.revisions import head_revision
from app.db.schema.report import inspect_schema
from tests.support.chain import Row, catalog, execute, fetch, in_decimals, revision_of, rows, rows_of, shell
from tests.support.deployment import BCRYPT, HIGHEST_ID, MANAGED, STAMP, UNMANAGED, deploy
from tests.support.service import bearer, in_process, settings_for

pytestmark = pytest.mark.anyio

NEXT_IDS = dict.fromkeys(MANAGED, HIGHEST_ID + 1) | {"order_templates": 500}
INSERTS = {
    "users": "(email, created_at, updated_at, preferences) VALUES ('new@desk.test', now(), now(), '{}')",
    "ai_recommendations": "(symbol, recommendation_type, confidence_score, analysis_data, status, created_at) "
    "VALUES ('AAPL', 'buy', 50, '{}', 'pending', now())",
    "order_templates": "(name, symbol, side, quantity, order_type, created_at, updated_at) "
    "VALUES ('new', 'AAPL', 'buy', 1, 'market', now(), now())",
    "user_sessions": "(user_id, access_token_jti, refresh_token_jti, expires_at, last_activity_at, created_at) "
    "VALUES (1, 'new', 'new', now(), now(), now())",
    "activity_log": "(user_id, action_type, details, timestamp) VALUES (1, 'login', '{}', now())",
}


@pytest.fixture
def deployed_url(empty_url: str) -> str:
    deploy(empty_url)
    return empty_url


async def start(url: str, folder: Path, **overrides: object) -> dict[str, Any]:
    """Start the service and stop it; who the MVP token spoke for meanwhile."""
    async with in_process(settings_for(url, folder, **overrides)) as client:
        answer = await client.get("/api/users/me", headers=bearer())
        assert answer.status_code == 200, answer.text
        me: dict[str, Any] = answer.json()
        return me


def changes(before: Row, after: Row) -> dict[str, tuple[str | None, str | None]]:
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def as_before(after: list[Row], before: list[Row]) -> list[Row]:
    """The rows without the columns that they have got since."""
    columns = before[0].keys()
    return [{name: row[name] for name in columns} for row in after]


async def test_one_start_brings_it_to_head_and_keeps_every_row(deployed_url: str, tmp_path: Path) -> None:
    before = rows(deployed_url)
    await start(deployed_url, tmp_path)
    after = rows(deployed_url)
    assert revision_of(deployed_url) == [head_revision()]
    *kept, made = after.pop("users")
    (token,) = after.pop("api_tokens")
    assert kept == before.pop("users")
    entries = len(before["activity_log"])
    assert {entry["user_id"] for entry in after["activity_log"][entries:]} <= {made["id"]}
    del after["activity_log"][entries:]
    assert {table: as_before(after[table], before[table]) for table in before} == in_decimals(before)
    assert not any(after[table] for table in after.keys() - before.keys())
    assert token["user_id"] == made["id"] == str(HIGHEST_ID + 1)
    assert made | {"created_at": "", "updated_at": ""} == {
        "id": str(HIGHEST_ID + 1),
        "email": "mvp@localhost",
        "alpaca_account_id": None,
        "created_at": "",
        "updated_at": "",
        "preferences": "{}",
        "password_hash": None,
        "full_name": None,
        "role": "owner",
        "is_active": "true",
        "last_login_at": None,
        "username": "mvp",
    }


@pytest.mark.slow
async def test_the_second_start_changes_nothing(deployed_url: str, tmp_path: Path) -> None:
    first = await start(deployed_url, tmp_path)
    before = rows(deployed_url), catalog(deployed_url)
    assert await start(deployed_url, tmp_path) == first
    assert (rows(deployed_url), catalog(deployed_url)) == before


async def test_sessions_of_the_backend_before_are_ended(deployed_url: str) -> None:
    migrate(deployed_url, apply=True)
    ended = "ended_at BETWEEN timezone('utc', now()) - interval '1 minute' AND timezone('utc', now())"
    found = fetch(deployed_url, f"SELECT id::text, ({ended})::text AS now, end_reason FROM user_sessions ORDER BY id")
    assert found == [{"id": each, "now": "true", "end_reason": "legacy"} for each in ("1", str(HIGHEST_ID))]


async def test_the_next_id_is_free_in_every_table(deployed_url: str) -> None:
    migrate(deployed_url, apply=True)
    for table, values in INSERTS.items():
        execute(deployed_url, f"INSERT INTO {table} {values}")
        assert rows_of(deployed_url, table)[-1]["id"] == str(NEXT_IDS[table])


async def test_tables_of_others_are_left_alone_and_are_no_drift(deployed_url: str, tmp_path: Path) -> None:
    before = {table: catalog(deployed_url)[table] for table in UNMANAGED}
    await start(deployed_url, tmp_path)
    assert {table: catalog(deployed_url)[table] for table in UNMANAGED} == before
    with connect(deployed_url) as connection:
        report = inspect_schema(connection)
    assert report.ok
    assert report.unmanaged == UNMANAGED
    assert report.drift == ()


@pytest.mark.parametrize(
    ("email", "place"),
    [("open@desk.test", 4), ("OPEN@desk.test", 4), ("empty@desk.test", 3)],
    ids=["no password", "another case", "an empty password hash"],
)
async def test_a_user_without_a_password_becomes_the_mvp_user(
    deployed_url: str, tmp_path: Path, email: str, place: int
) -> None:
    before = rows_of(deployed_url, "users")
    me = await start(deployed_url, tmp_path, mvp_email=email)
    after = rows_of(deployed_url, "users")
    assert (str(me["id"]), me["role"], me["has_password"]) == (before[place]["id"], "owner", False)
    changed = changes(before.pop(place), after.pop(place))
    assert changed.keys() == {"role", "updated_at"}
    assert changed["role"] == ("personal_only", "owner")
    assert after == before


async def test_a_user_with_a_password_was_claimed_and_api_token_is_refused(
    deployed_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows(deployed_url)
    async with in_process(settings_for(deployed_url, tmp_path, mvp_email="founder@desk.test")) as client:
        answer = await client.get("/api/users/me", headers=bearer())
    assert answer.status_code == 401
    assert "API_TOKEN opens nothing new" in caplog.text
    after = rows(deployed_url)
    assert {table: as_before(after[table], before[table]) for table in before} == in_decimals(before)
    assert after["api_tokens"] == []
    assert fetch(deployed_url, "SELECT password_hash FROM users WHERE id = 1") == [{"password_hash": BCRYPT}]


@pytest.mark.parametrize(
    "emptied",
    [
        pytest.param(False, id="no alembic_version"),
        pytest.param(True, id="an empty alembic_version", marks=pytest.mark.slow),
    ],
)
async def test_without_a_revision_it_is_refused_until_it_is_stamped(
    empty_url: str, tmp_path: Path, emptied: bool
) -> None:
    deploy(empty_url, stamped=False)
    if emptied:
        execute(empty_url, STAMP, "DELETE FROM alembic_version")
    before = rows(empty_url), catalog(empty_url)
    with pytest.raises(StartupError, match="`cd backend && python -m alembic stamp 50b91afc8456`, then start again"):
        migrate(empty_url, apply=True)
    assert (rows(empty_url), catalog(empty_url)) == before
    stamped = shell(empty_url, "stamp", "50b91afc8456")
    assert stamped.returncode == 0, stamped.stderr
    assert (rows(empty_url), catalog(empty_url)) == before
    assert (await start(empty_url, tmp_path))["id"] == HIGHEST_ID + 1
    assert revision_of(empty_url) == [head_revision()]


async def test_tables_of_others_alone_are_an_empty_database(empty_url: str, tmp_path: Path) -> None:
    execute(empty_url, "CREATE TABLE trades (id SERIAL PRIMARY KEY, price NUMERIC); INSERT INTO trades VALUES (1, 2)")
    await start(empty_url, tmp_path)
    assert rows_of(empty_url, "trades") == [{"id": "1", "price": "2"}]
