"""What becomes of order templates and recommendations: no digit is lost, and no writer waits for an index."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import make_url

from app.core.errors import StartupError
from app.db.engine import connect
from app.db.schema.report import inspect_schema
from tests.support import postgres
from tests.support.chain import (
    DECIMALS,
    FLOATS,
    THROTTLING,
    TRADING_LISTS,
    Row,
    catalog,
    downgrade,
    execute,
    fetch,
    in_decimals,
    rendered,
    revision_of,
    rows,
    rows_of,
    upgrade,
)
from tests.support.deployment import AWKWARD, deploy

pytestmark = pytest.mark.slow

Tables = dict[str, list[Row]]

NEW_TEMPLATE = """
INSERT INTO order_templates (name, symbol, side, quantity, order_type, created_at, updated_at)
    VALUES ('new', 'AAPL', 'buy', 1, 'market', now(), now())
"""
WRITES = (
    NEW_TEMPLATE,
    "UPDATE ai_recommendations SET status = 'dismissed', actual_pnl = 1 WHERE id = 1",
    "DELETE FROM ai_recommendations WHERE id = 2",
)
BUILDING = """
SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
   AND starts_with(query, 'CREATE INDEX CONCURRENTLY')
"""


@pytest.fixture
def deployed_url(empty_url: str) -> str:
    """A deployment just before prices are decimals."""
    deploy(empty_url)
    upgrade(empty_url, THROTTLING)
    return empty_url


@pytest.fixture(params=[None, -15], ids=["as usual", "extra_float_digits = -15"])
def before(request: pytest.FixtureRequest, deployed_url: str) -> Tables:
    """What the tables hold; printed by the database as usual, or with one digit of each number."""
    found = {table: rows_of(deployed_url, table) for table in FLOATS}
    if request.param is not None:
        name = make_url(deployed_url).database
        postgres.run_outside_transaction(
            deployed_url, f'ALTER DATABASE "{name}" SET extra_float_digits = {request.param}'
        )
        assert fetch(deployed_url, "SELECT 0.30000000000000004::float8::text AS number") == [{"number": "0.3"}]
    return found


def now(url: str, like: Tables) -> Tables:
    """The tables' rows, without the columns that they have got since."""
    return {table: [{name: row[name] for name in like[table][0]} for row in rows_of(url, table)] for table in like}


class TestDecimals:
    def test_the_deployment_has_the_numbers_in_question(self, deployed_url: str) -> None:
        for table, columns in FLOATS.items():
            for column in columns:
                assert set(AWKWARD) <= {row[column] for row in rows_of(deployed_url, table)}

    def test_every_value_stays(self, deployed_url: str, before: Tables) -> None:
        """Compared as text; the numbers that a DOUBLE PRECISION writes as 1e-07 or -0, by their value."""
        upgrade(deployed_url, DECIMALS)
        assert now(deployed_url, before) == in_decimals(before)
        kinds = (
            "SELECT DISTINCT data_type FROM information_schema.columns WHERE column_name IN ({}) AND table_name = '{}'"
        )
        for table, columns in FLOATS.items():
            names = ", ".join(f"'{column}'" for column in columns)
            assert fetch(deployed_url, kinds.format(names, table)) == [{"data_type": "numeric"}]

    def test_every_value_stays_on_the_way_back_and_up_again(self, deployed_url: str, before: Tables) -> None:
        """But for -0, which comes back as 0."""
        database = make_url(deployed_url).database
        upgrade(deployed_url, DECIMALS)
        downgrade(deployed_url, THROTTLING)
        postgres.run_outside_transaction(deployed_url, f'ALTER DATABASE "{database}" RESET extra_float_digits')
        assert now(deployed_url, before) == {
            table: [{name: "0" if value == "-0" else value for name, value in row.items()} for row in found]
            for table, found in before.items()
        }
        upgrade(deployed_url, DECIMALS)
        assert now(deployed_url, before) == in_decimals(before)

    def test_rows_from_before_are_for_the_day_and_have_no_stop(self, deployed_url: str) -> None:
        upgrade(deployed_url, DECIMALS)
        execute(deployed_url, NEW_TEMPLATE)
        assert {(row["stop_price"], row["time_in_force"]) for row in rows_of(deployed_url, "order_templates")} == {
            (None, "day")
        }

    def test_nobodys_rows_stay_nobodys(self, deployed_url: str) -> None:
        count = "SELECT (SELECT count(*) FROM {} WHERE user_id IS NULL)::text AS nobodys"
        before = {table: fetch(deployed_url, count.format(table)) for table in FLOATS}
        assert {each["nobodys"] for (each,) in before.values()} == {"7"}
        upgrade(deployed_url)
        assert {table: fetch(deployed_url, count.format(table)) for table in FLOATS} == before


class TestRefusedDowngrade:
    @pytest.mark.parametrize(
        ("number", "reason"),
        [
            pytest.param("123456789012345678.123456789", "with more digits than DOUBLE PRECISION keeps", id="too long"),
            pytest.param("-1e309", "outside the range of DOUBLE PRECISION", id="too great"),
            pytest.param("1e-400", "outside the range of DOUBLE PRECISION", id="too small"),
        ],
    )
    def test_a_number_that_would_change_keeps_it_from_changing_anything(
        self, deployed_url: str, number: str, reason: str
    ) -> None:
        upgrade(deployed_url, DECIMALS)
        execute(deployed_url, f"UPDATE ai_recommendations SET accuracy_score = {number} WHERE id = 1")
        before = rows(deployed_url), catalog(deployed_url)
        with pytest.raises(StartupError, match=rf" {reason}\. The database stays at revision {DECIMALS}: "):
            downgrade(deployed_url, THROTTLING)
        assert revision_of(deployed_url) == [DECIMALS]
        assert (rows(deployed_url), catalog(deployed_url)) == before

    @pytest.mark.slow
    def test_whichever_column_it_is_in(self, deployed_url: str) -> None:
        upgrade(deployed_url, DECIMALS)
        for table, columns in FLOATS.items():
            for column in columns:
                execute(deployed_url, f"UPDATE {table} SET {column} = 0.1234567890123456789 WHERE id = 1")
                with pytest.raises(StartupError, match="with more digits"):
                    downgrade(deployed_url, THROTTLING)
                execute(deployed_url, f"UPDATE {table} SET {column} = 0.1 WHERE id = 1")
        downgrade(deployed_url, THROTTLING)

    def test_it_says_how_many_there_are(self, deployed_url: str) -> None:
        upgrade(deployed_url, DECIMALS)
        execute(
            deployed_url,
            "UPDATE order_templates SET limit_price = 0.1234567890123456789 WHERE id < 4",
            "UPDATE ai_recommendations SET accuracy_score = 0.1234567890123456789 WHERE id IN (1, 2)",
        )
        with pytest.raises(StartupError, match=r"^3 order template\(s\) and 2 recommendation\(s\) hold numbers"):
            downgrade(deployed_url, THROTTLING)


class TestIndexes:
    def test_those_over_one_column_are_gone_but_for_the_keys_and_the_name(self, deployed_url: str) -> None:
        upgrade(deployed_url)
        lines = {table: "\n".join(catalog(deployed_url)[table]) for table in FLOATS}
        assert re.findall(r"INDEX \w+ \((\w+)\)$", lines["ai_recommendations"], re.MULTILINE) == ["id"]
        assert re.findall(r"INDEX \w+ \((\w+)\)$", lines["order_templates"], re.MULTILINE) == ["id", "name"]
        assert "INVALID" not in "".join(lines.values())
        with connect(deployed_url) as connection:
            assert inspect_schema(connection).drift == ()

    @pytest.mark.parametrize(
        ("direction", "revisions"),
        [("upgrade", f"{DECIMALS}:{TRADING_LISTS}"), ("downgrade", f"{TRADING_LISTS}:{DECIMALS}")],
    )
    def test_each_is_made_and_dropped_concurrently(self, direction: str, revisions: str) -> None:
        found = re.findall(r"^(?:CREATE|DROP) .+", rendered(direction, revisions), re.MULTILINE)
        assert len(found) == 15 + 4
        assert [
            each for each in found if not re.match("(CREATE|DROP) INDEX CONCURRENTLY IF (NOT )?EXISTS ", each)
        ] == []

    def test_rows_are_written_while_one_is_built(self, deployed_url: str) -> None:
        """The build is held up halfway by a snapshot older than it."""
        upgrade(deployed_url, DECIMALS)
        with ThreadPoolExecutor(1) as threads, connect(deployed_url) as older:
            older.execution_options(isolation_level="REPEATABLE READ").exec_driver_sql("SELECT 1")
            building = threads.submit(upgrade, deployed_url, TRADING_LISTS)
            wait_for_a_build(deployed_url)
            execute(deployed_url, *(f"SET LOCAL lock_timeout = '500ms'; {write}" for write in WRITES))
            assert len(fetch(deployed_url, BUILDING)) == 1
            older.rollback()
            building.result(30)
        assert revision_of(deployed_url) == [TRADING_LISTS]


def wait_for_a_build(url: str) -> None:
    deadline = time.monotonic() + 20
    while not fetch(url, BUILDING):
        assert time.monotonic() < deadline, "no index is being built"
        time.sleep(0.02)


def test_kept_answers_go_with_their_user(clone_url: str) -> None:
    user = "INSERT INTO users (email, created_at, updated_at, preferences) VALUES ('{}', now(), now(), '{{}}')"
    answers = (
        "INSERT INTO idempotency_keys (user_id, operation, key, fingerprint) SELECT id, 'o', 'k', sha256('') FROM users"
    )
    execute(
        clone_url, user.format("a@desk.test"), user.format("b@desk.test"), answers, "DELETE FROM users WHERE id = 1"
    )
    assert [row["user_id"] for row in rows_of(clone_url, "idempotency_keys")] == ["2"]
