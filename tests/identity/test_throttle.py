"""How often one may fail to sign in: at one account, and from one network."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.core.errors import TooManyAttempts
from app.identity.throttle import (
    begin_attempt,
    network_of,
    remember_address,
    succeeded,
    withdraw,
)
from app.web.session import transaction
from tests.support.throttle import (
    CAFE,
    HOME,
    LAIR,
    PER_ACCOUNT,
    PER_NETWORK,
    begin,
    begin_nameless,
    exhaust_network,
    fail,
    let_pass,
    refused,
    refused_nameless,
    remember,
    rows,
)


class TestAnAccount:
    @pytest.mark.parametrize("exists", [True, False])
    def test_has_five_free_attempts(self, engine: Engine, ann: int, exists: bool) -> None:
        user_id = ann if exists else None
        fail(engine, PER_ACCOUNT, "ann", user_id=user_id)
        assert refused(engine, "ann", user_id=user_id) in {29, 30}
        assert refused(engine, "ann", CAFE, user_id) in {29, 30}

    def test_waits_double_up_to_a_quarter_of_an_hour(self, engine: Engine, ann: int) -> None:
        fail(engine, PER_ACCOUNT - 1, user_id=ann)
        waits = []
        for _ in range(8):
            begin(engine, user_id=ann)
            waits.append(refused(engine, user_id=ann))
            let_pass(engine, timedelta(seconds=waits[-1]))
        assert waits == pytest.approx([30, 60, 120, 240, 480, 900, 900, 900], abs=1)

    def test_waits_stay_bounded_however_long_it_goes_on(self, engine: Engine, ann: int) -> None:
        begin(engine, user_id=ann)
        with engine.begin() as connection:
            connection.execute(text("UPDATE throttled_keys SET failures = 2000000000"))
        begin(engine, user_id=ann, address=CAFE)
        assert refused(engine, user_id=ann, address=HOME) == pytest.approx(900, abs=1)

    @pytest.mark.parametrize("exists", [True, False])
    def test_under_another_name_is_another(self, engine: Engine, ann: int, exists: bool) -> None:
        """Or it would tell that somebody has both."""
        user_id = ann if exists else None
        fail(engine, PER_ACCOUNT, "ann@example.test", user_id=user_id)
        fail(engine, PER_ACCOUNT, "ann", user_id=user_id)
        refused(engine, "ann@example.test", user_id=user_id)
        refused(engine, "ann", user_id=user_id)

    @pytest.mark.parametrize("exists", [True, False])
    def test_is_one_however_its_name_is_typed(self, engine: Engine, ann: int, exists: bool) -> None:
        user_id = ann if exists else None
        for name in ("straße", "STRASSE", "Straße", "ｓtrasse", "STRAẞE"):  # noqa: RUF001 - the point
            begin(engine, name, user_id=user_id)
        refused(engine, "strasse", user_id=user_id)
        begin(engine, "strase", user_id=user_id)

    def test_is_one_by_whatever_the_database_finds_it(self, engine: Engine) -> None:
        """As by the letters that Unicode 16 folds to ASCII: PostgreSQL 18 knows them, and Python 3.13 does not."""
        newer = "CREATE OR REPLACE FUNCTION folded(name text) RETURNS text LANGUAGE sql AS $$ SELECT {} $$"
        with Session(engine) as session:
            session.execute(text(newer.format("replace(name, '\U0001ccd6', 'a')")))
            for name in ("ann", "\U0001ccd6nn", "ann", "\U0001ccd6nn", "ann"):
                begin_attempt(session, name, LAIR, None)
            with pytest.raises(TooManyAttempts):
                begin_attempt(session, "\U0001ccd6nn", LAIR, None)

    def test_no_name_is_taken_for_an_account_on_its_network(self, engine: Engine, ann: int) -> None:
        remember(engine, ann, LAIR)
        fail(engine, PER_ACCOUNT, f"{ann} {network_of(LAIR)}")
        begin(engine, "ann", user_id=ann)

    @pytest.mark.parametrize("name", ["", "x" * 100_000, "ﷺ" * 1000])
    def test_any_name_can_be_counted(self, engine: Engine, name: str) -> None:
        fail(engine, PER_ACCOUNT, name)
        refused(engine, name)

    def test_is_forgiven_after_a_day_without_a_failure(self, engine: Engine, ann: int) -> None:
        fail(engine, PER_ACCOUNT, user_id=ann)
        let_pass(engine, timedelta(hours=23, minutes=59))
        begin(engine, user_id=ann)
        assert refused(engine, user_id=ann) in {59, 60}
        let_pass(engine, timedelta(hours=24))
        fail(engine, PER_ACCOUNT, user_id=ann)
        assert refused(engine, user_id=ann) in {29, 30}


class TestANetwork:
    def test_has_twenty_free_attempts_at_all_accounts_together(self, engine: Engine) -> None:
        exhaust_network(engine, LAIR)
        assert refused(engine, "yet another") in {29, 30}
        begin(engine, "yet another", CAFE)

    @pytest.mark.parametrize(
        ("address", "network"),
        [
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::/64"),
            (None, "unknown"),
        ],
    )
    def test_is_what_one_client_has(self, address: str | None, network: str) -> None:
        assert network_of(address) == network

    def test_moving_about_in_it_gains_nothing(self, engine: Engine) -> None:
        for number in range(PER_NETWORK):
            begin(engine, f"name {number}", f"2001:db8::{number:x}")
        refused(engine, "another", "2001:db8::ffff:1")
        begin(engine, "another", "2001:db8:0:1::1")

    def test_clients_without_an_address_share_one(self, engine: Engine) -> None:
        exhaust_network(engine, None)
        refused(engine, "another", None)
        begin(engine, "another", LAIR)


class TestAnAttemptAtNoAccount:
    def test_counts_against_the_network_alone(self, engine: Engine) -> None:
        for _ in range(PER_NETWORK - 1):
            begin_nameless(engine)
        assert len(rows(engine)) == 1
        begin(engine)
        assert refused_nameless(engine) in {29, 30}
        begin_nameless(engine, CAFE)

    def test_is_refused_where_names_were_guessed(self, engine: Engine) -> None:
        exhaust_network(engine, LAIR)
        before = rows(engine)
        assert refused_nameless(engine) in {29, 30}
        assert rows(engine) == before

    def test_that_succeeds_counts_nowhere(self, engine: Engine) -> None:
        exhaust_network(engine, LAIR, PER_NETWORK - 1)
        for end in (succeeded, withdraw):
            attempt = begin_nameless(engine)
            refused_nameless(engine)
            with transaction(engine) as session:
                end(session, attempt)
        begin_nameless(engine)
        refused_nameless(engine)


class TestARefusedAttempt:
    def test_changes_nothing(self, engine: Engine, ann: int) -> None:
        fail(engine, PER_ACCOUNT, user_id=ann)
        before = rows(engine)
        for _ in range(10):
            refused(engine, user_id=ann)
        assert rows(engine) == before

    def test_at_a_blocked_account_does_not_count_against_the_network(self, engine: Engine, ann: int) -> None:
        fail(engine, PER_ACCOUNT, user_id=ann)
        for _ in range(PER_NETWORK + 5):
            refused(engine, user_id=ann, address=CAFE)
        exhaust_network(engine, CAFE)

    def test_from_a_blocked_network_does_not_count_against_the_account(self, engine: Engine, ann: int) -> None:
        exhaust_network(engine, LAIR)
        for _ in range(PER_ACCOUNT + 5):
            refused(engine, user_id=ann)
        fail(engine, PER_ACCOUNT, user_id=ann, address=HOME)

    def test_leaves_what_else_its_transaction_wrote(self, engine: Engine, ann: int) -> None:
        fail(engine, PER_ACCOUNT, user_id=ann)

        def remember_and_begin() -> None:
            with transaction(engine) as session:
                remember_address(session, ann, CAFE)
                begin_attempt(session, "nobody", LAIR, None)

        with pytest.raises(TooManyAttempts):
            remember_and_begin()
        begin(engine, user_id=ann, address=CAFE)

    def test_says_at_least_one_second(self, engine: Engine, ann: int) -> None:
        fail(engine, PER_ACCOUNT, user_id=ann)
        let_pass(engine, timedelta(seconds=29.5))
        assert refused(engine, user_id=ann) == 1

    def test_says_the_longer_of_two_waits(self, engine: Engine, ann: int) -> None:
        fail(engine, PER_ACCOUNT, user_id=ann, address=HOME)
        let_pass(engine, timedelta(seconds=20))
        exhaust_network(engine, LAIR)
        assert refused(engine, user_id=ann, address=LAIR) in {29, 30}
        assert refused(engine, user_id=ann, address=CAFE) in {9, 10}
