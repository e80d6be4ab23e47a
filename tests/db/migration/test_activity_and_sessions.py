"""What the sessions and the activity log keep on the way up and down."""

from tests.support.chain import (
    ACTIVITY,
    INITIAL,
    NAMES,
    SESSIONS,
    Row,
    catalog,
    downgrade,
    execute,
    fetch,
    rows_of,
    upgrade,
)

ASIDE = "activity_log_without_user"
NEXT_ENTRY = "INSERT INTO activity_log (action_type, details, timestamp) VALUES ('next', '{}', now()) RETURNING id"
ENTRIES = """
INSERT INTO users (email, created_at, updated_at, preferences, password_hash)
    VALUES ('ana@desk.test', now(), now(), '{}', '');
INSERT INTO activity_log (user_id, action_type, details, timestamp, user_email, actor_id, actor_kind, request_id) VALUES
    (NULL, 'login_refused', '{"a":  1}', '2026-11-24', NULL, NULL, 'anonymous', 'req-1'),
    (77, 'user_deleted', '{}', '2026-11-25 01:02:03.000004', 'gone@desk.test', 1, 'session', 'req-2'),
    (1, 'login', '{}', '2026-11-26', 'ana@desk.test', 1, 'session', 'req-3')
"""
SESSION = """
INSERT INTO user_sessions (user_id, access_token_jti, refresh_token_jti, expires_at, last_activity_at, created_at{more})
    VALUES (1, '{jti}', '{jti}', '2030-01-01', '2026-01-01', '2026-01-01'{values})
"""


def entries_at_activity(url: str) -> list[Row]:
    upgrade(url, ACTIVITY)
    execute(url, ENTRIES)
    return rows_of(url, "activity_log")


class TestActivity:
    def test_entries_without_a_user_wait_aside_and_come_back_whole(self, empty_url: str) -> None:
        *homeless, kept = entries_at_activity(empty_url)
        downgrade(empty_url, SESSIONS)
        assert rows_of(empty_url, ASIDE) == homeless
        (left,) = rows_of(empty_url, "activity_log")
        assert left == {name: kept[name] for name in left}
        upgrade(empty_url, ACTIVITY)
        assert rows_of(empty_url, "activity_log")[:2] == homeless
        assert ASIDE not in catalog(empty_url)

    def test_where_there_are_none_no_table_is_left(self, empty_url: str) -> None:
        upgrade(empty_url, ACTIVITY)
        downgrade(empty_url, SESSIONS)
        assert ASIDE not in catalog(empty_url)

    def test_they_come_back_to_a_log_that_was_made_anew(self, empty_url: str) -> None:
        """Ids began at 1 again: the entries that were there first keep theirs, and no id is handed out twice."""
        first, second, _ = entries_at_activity(empty_url)
        downgrade(empty_url, INITIAL)
        upgrade(empty_url, SESSIONS)
        execute(
            empty_url,
            "INSERT INTO activity_log (user_id, action_type, details, timestamp) VALUES (1, 'new', '{}', now())",
        )
        upgrade(empty_url, ACTIVITY)
        found = {row["action_type"]: row for row in rows_of(empty_url, "activity_log")}
        assert found.keys() == {"new", "login_refused", "user_deleted"}
        assert found["new"]["id"] == "1"
        assert found["user_deleted"] == second
        assert found["login_refused"] == first | {"id": found["login_refused"]["id"]}
        highest = max(int(row["id"] or 0) for row in found.values())
        execute(empty_url, NEXT_ENTRY)
        assert rows_of(empty_url, "activity_log")[-1]["id"] == str(highest + 1)

    def test_it_goes_down_again_where_a_killed_way_down_left_it(self, empty_url: str) -> None:
        *homeless, _ = entries_at_activity(empty_url)
        downgrade(empty_url, SESSIONS)
        before = catalog(empty_url)
        upgrade(empty_url, ACTIVITY)
        execute(
            empty_url,
            f"CREATE TABLE {ASIDE} (LIKE activity_log); WITH moved AS (DELETE FROM activity_log WHERE user_id IS NULL "
            f"RETURNING *) INSERT INTO {ASIDE} SELECT * FROM moved",
            "ALTER TABLE activity_log ADD CONSTRAINT activity_log_user_id_is_not_null "
            "CHECK (user_id IS NOT NULL) NOT VALID",
            "DROP INDEX ix_activity_log_timestamp_id",
        )
        downgrade(empty_url, SESSIONS)
        assert catalog(empty_url) == before
        assert rows_of(empty_url, ASIDE) == homeless

    def test_deleting_a_user_leaves_its_entries(self, empty_url: str) -> None:
        before = entries_at_activity(empty_url)
        execute(empty_url, "DELETE FROM users")
        assert rows_of(empty_url, "activity_log") == before


class TestSessions:
    def test_those_that_exist_end_and_new_ones_are_open(self, empty_url: str) -> None:
        upgrade(empty_url, NAMES)
        execute(empty_url, ENTRIES.partition(";")[0], SESSION.format(jti="old", more="", values=""))
        upgrade(empty_url, SESSIONS)
        execute(empty_url, SESSION.format(jti="new", more="", values=""))
        found = fetch(
            empty_url, "SELECT (ended_at <= timezone('utc', now()))::text AS ended, end_reason FROM user_sessions"
        )
        assert found == [{"ended": "true", "end_reason": "legacy"}, {"ended": None, "end_reason": None}]

    def test_on_the_way_back_one_that_ended_stays_over_and_older_ones_are_what_they_were(self, empty_url: str) -> None:
        upgrade(empty_url, NAMES)
        execute(empty_url, ENTRIES.partition(";")[0], SESSION.format(jti="old", more="", values=""))
        before = rows_of(empty_url, "user_sessions")
        upgrade(empty_url, SESSIONS)
        ended = {"more": ", ended_at, end_reason", "values": ", '2026-02-03', 'logout'"}
        execute(empty_url, SESSION.format(jti="over", **ended), SESSION.format(jti="open", more="", values=""))
        downgrade(empty_url, NAMES)
        old, over, still_open = rows_of(empty_url, "user_sessions")
        assert [old] == before
        assert over["expires_at"] == "2026-02-03 00:00:00"
        assert still_open["expires_at"] == "2030-01-01 00:00:00"
