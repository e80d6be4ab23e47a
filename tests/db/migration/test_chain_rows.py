"""What the revisions do to rows; and the way back that a person must open first."""

import pytest

from app.core.errors import StartupError
from app.db.engine import connect
from tests.support.chain import (
    ACCOUNTS,
    CHAIN,
    ORDER_TEMPLATES,
    USERNAMES,
    Row,
    downgrade,
    dump,
    execute,
    revision_of,
    rows,
    rows_of,
    shell,
    upgrade,
)
from tests.support.deployment import BCRYPT
from tests.support.population import POPULATION, arrive

pytestmark = pytest.mark.slow


def only(row: Row, names: Row) -> Row:
    return {name: row[name] for name in names}


def user_at_head(user: Row) -> Row:
    """What an upgrade makes of a user: an address for who had none, and no mark in place of a password."""
    changes = {"email": user["email"] or f"user-{user['id']}@placeholder.invalid"}
    return user | changes | ({"password_hash": None} if user.get("password_hash") == "!" else {})


class TestUpgrade:
    @pytest.mark.parametrize("revision", CHAIN[:-1])
    def test_from_any_revision_every_row_is_kept(self, empty_url: str, revision: str) -> None:
        arrive(empty_url, revision)
        before = rows(empty_url)
        upgrade(empty_url)
        after = rows(empty_url)
        before["users"] = [user_at_head(user) for user in before["users"]]
        for table, kept in before.items():
            assert [only(row, like) for row, like in zip(after[table], kept, strict=True)] == kept

    def test_users_from_before_accounts_cannot_sign_in(self, empty_url: str) -> None:
        arrive(empty_url, ORDER_TEMPLATES)
        given = {"role": "personal_only", "is_active": "true", "full_name": None, "last_login_at": None}
        upgrade(empty_url, ACCOUNTS)
        for user in rows_of(empty_url, "users"):
            assert only(user, given) == given
            assert user["password_hash"] == "!"
        upgrade(empty_url, USERNAMES)
        for user in rows_of(empty_url, "users"):
            assert only(user, given) == given
            assert (user["password_hash"], user["username"]) == (None, None)

    def test_an_address_invented_on_the_way_up_is_gone_on_the_way_down(self, empty_url: str) -> None:
        arrive(empty_url, ORDER_TEMPLATES)
        before = rows(empty_url)
        upgrade(empty_url, ACCOUNTS)
        assert [user["email"] for user in rows_of(empty_url, "users")] == [
            "user--7@placeholder.invalid",
            "user-0@placeholder.invalid",
            "first@desk.test",
            "user-2@placeholder.invalid",
            "user-3@placeholder.invalid",
        ]
        downgrade(empty_url, ORDER_TEMPLATES)
        assert rows(empty_url) == before

    def test_a_sequence_that_was_set_ahead_stays_ahead(self, empty_url: str) -> None:
        arrive(empty_url, USERNAMES)
        execute(empty_url, "ALTER SEQUENCE users_id_seq RESTART WITH 500")
        upgrade(empty_url)
        assert next_id(empty_url, "users") == 500

    def test_a_sequence_one_behind_is_brought_past_the_highest_id(self, empty_url: str) -> None:
        arrive(empty_url, USERNAMES)
        highest = max(int(user["id"] or 0) for user in rows_of(empty_url, "users"))
        execute(empty_url, f"ALTER SEQUENCE users_id_seq RESTART WITH {highest}")
        upgrade(empty_url)
        assert next_id(empty_url, "users") == highest + 1


def next_id(url: str, table: str) -> int:
    with connect(url) as connection:
        return int(connection.exec_driver_sql(f"SELECT nextval('{table}_id_seq')").scalar_one())


class TestRefusedDowngrade:
    def test_users_without_a_password_keep_it_from_changing_anything(self, empty_url: str) -> None:
        arrive(empty_url, USERNAMES)
        before = dump(empty_url)
        done = shell(empty_url, "downgrade", "-1")
        assert done.returncode != 0
        said = done.stdout + done.stderr
        assert "7 user(s) have no password" in said
        assert "(ids: -7, 0, 1, 2, 3, 6, 7)" in said
        assert "desk.test" not in said
        assert "placeholder.invalid" not in said
        assert "Traceback" not in said
        assert dump(empty_url) == before

    def test_the_first_ten_of_many_are_named(self, empty_url: str) -> None:
        upgrade(empty_url, USERNAMES)
        execute(
            empty_url,
            "INSERT INTO users (email, created_at, updated_at, preferences) "
            "SELECT i, now(), now(), '{}' FROM generate_series(1, 12) i",
        )
        with pytest.raises(StartupError, match=r"^12 user\(s\) .* \(ids: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, \.\.\.\)"):
            downgrade(empty_url, ACCOUNTS)

    def test_what_lies_above_it_is_undone_and_it_says_where_it_stopped(self, clone_url: str) -> None:
        execute(clone_url, POPULATION[USERNAMES])
        with pytest.raises(StartupError, match=f"stays at revision {USERNAMES}"):
            downgrade(clone_url, ACCOUNTS)
        assert revision_of(clone_url) == [USERNAMES]

    def test_with_passwords_it_keeps_every_row(self, empty_url: str) -> None:
        arrive(empty_url, USERNAMES)
        execute(empty_url, f"UPDATE users SET password_hash = '{BCRYPT}' WHERE password_hash IS NULL")
        before = rows(empty_url)
        downgrade(empty_url, ACCOUNTS)
        for user in before["users"]:
            del user["username"]
        assert rows(empty_url) == before
