"""Whom throttling spares: the owner on a network of his, who succeeds, and whoever comes much later."""

from datetime import timedelta

from sqlalchemy import Engine

from app.identity.throttle import (
    FREE_ATTEMPTS,
    Kind,
    begin_attempt,
    network_of,
    prune_networks,
    prune_throttle,
    succeeded,
    withdraw,
)
from app.web.session import transaction
from tests.support.identity import add_user, execute
from tests.support.throttle import (
    CAFE,
    HOME,
    LAIR,
    PER_ACCOUNT,
    PER_NETWORK,
    begin,
    exhaust_network,
    fail,
    let_pass,
    refused,
    remember,
    rows,
    succeed,
)


class TestAKnownNetwork:
    def test_others_cannot_shut_the_owner_out(self, engine: Engine, ann: int) -> None:
        remember(engine, ann, HOME)
        fail(engine, PER_ACCOUNT, user_id=ann, address=LAIR)
        exhaust_network(engine, HOME)
        begin(engine, user_id=ann, address=HOME)
        refused(engine, "somebody else", HOME)
        refused(engine, user_id=ann, address=CAFE)

    def test_it_is_the_network_that_is_known(self, engine: Engine, ann: int) -> None:
        remember(engine, ann, "2001:db8::1")
        fail(engine, PER_ACCOUNT, user_id=ann, address=LAIR)
        begin(engine, user_id=ann, address="2001:db8::2")
        refused(engine, user_id=ann, address="2001:db8:0:1::1")

    def test_has_an_allowance_of_its_own(self, engine: Engine, ann: int) -> None:
        remember(engine, ann, HOME)
        fail(engine, PER_ACCOUNT, user_id=ann, address=HOME)
        assert refused(engine, user_id=ann, address=HOME) in {29, 30}
        fail(engine, PER_ACCOUNT, user_id=ann, address=CAFE)

    def test_failures_there_count_against_the_network_too(self, engine: Engine, url: str) -> None:
        """Or whoever guesses at many who have been there could go on and on."""
        for number in range(PER_NETWORK):
            user = add_user(url, f"user{number}@example.test")
            remember(engine, user, HOME)
            begin(engine, f"user{number}", HOME, user)
        assert refused(engine, "somebody else", HOME) in {29, 30}

    def test_where_the_network_waits_it_is_left_as_it_is(self, engine: Engine, ann: int) -> None:
        remember(engine, ann, HOME)
        exhaust_network(engine, HOME)
        before = rows(engine)
        for end in (succeeded, withdraw, None):
            attempt = begin(engine, user_id=ann, address=HOME)
            assert [counted.kind for counted in attempt.counted] == [Kind.USER_AT_NETWORK]
            with transaction(engine) as session:
                if end is not None:
                    end(session, attempt)
        assert set(before) < set(rows(engine))

    def test_a_refused_attempt_there_changes_nothing(self, engine: Engine, ann: int) -> None:
        remember(engine, ann, HOME)
        fail(engine, PER_ACCOUNT, user_id=ann, address=HOME)
        before = rows(engine)
        refused(engine, user_id=ann, address=HOME)
        assert rows(engine) == before

    def test_says_when_the_account_may_go_on_there(self, engine: Engine, ann: int) -> None:
        remember(engine, ann, HOME)
        fail(engine, PER_ACCOUNT, user_id=ann, address=HOME)
        let_pass(engine, timedelta(seconds=20))
        exhaust_network(engine, HOME, PER_NETWORK - PER_ACCOUNT)
        assert refused(engine, user_id=ann, address=HOME) in {9, 10}
        assert refused(engine, "somebody else", HOME) in {29, 30}

    def test_a_success_there_counts_nothing_against_the_network(self, engine: Engine, ann: int) -> None:
        remember(engine, ann, HOME)
        for _ in range(PER_NETWORK + 5):
            succeed(engine, user_id=ann, address=HOME)
        exhaust_network(engine, HOME)

    def test_is_known_for_that_account_alone(self, engine: Engine, url: str, ann: int) -> None:
        remember(engine, ann, HOME)
        bob = add_user(url, "bob@example.test")
        exhaust_network(engine, HOME)
        refused(engine, user_id=bob, address=HOME)

    def test_a_success_there_leaves_the_account_blocked_elsewhere(self, engine: Engine, ann: int) -> None:
        remember(engine, ann, HOME)
        fail(engine, PER_ACCOUNT, user_id=ann, address=LAIR)
        fail(engine, PER_ACCOUNT - 1, user_id=ann, address=HOME)
        succeed(engine, user_id=ann, address=HOME)
        refused(engine, user_id=ann, address=LAIR)
        fail(engine, PER_ACCOUNT, user_id=ann, address=HOME)

    def test_the_last_sign_in_from_there_counts(self, engine: Engine, url: str, ann: int) -> None:
        remember(engine, ann, HOME)
        execute(url, "UPDATE known_addresses SET last_seen_at = last_seen_at - interval '2 years'")
        remember(engine, ann, HOME)
        (row,) = execute(
            url,
            "SELECT last_seen_at > timezone('utc', now()) - interval '1 minute' AS is_new FROM known_addresses",
        )
        assert row["is_new"]

    def test_answers_do_not_tell_it_from_others(self) -> None:
        assert FREE_ATTEMPTS[Kind.NAME] == FREE_ATTEMPTS[Kind.USER_AT_NETWORK]


class TestSuccess:
    def test_forgets_the_failures_at_the_account(self, engine: Engine, ann: int) -> None:
        fail(engine, PER_ACCOUNT - 1, user_id=ann)
        succeed(engine, user_id=ann)
        fail(engine, PER_ACCOUNT, user_id=ann)
        refused(engine, user_id=ann)

    def test_counts_nothing_against_the_network(self, engine: Engine, ann: int) -> None:
        for _ in range(PER_NETWORK + 5):
            succeed(engine, user_id=ann)
        exhaust_network(engine, LAIR)

    def test_does_not_wash_the_address_clean(self, engine: Engine, ann: int) -> None:
        exhaust_network(engine, LAIR, PER_NETWORK - 1)
        for _ in range(3):
            succeed(engine, user_id=ann)
        begin(engine, "the last one")
        refused(engine, "one too many")
        refused(engine, user_id=ann)

    def test_lifts_a_wait_that_it_caused_itself(self, engine: Engine, ann: int) -> None:
        exhaust_network(engine, LAIR)
        let_pass(engine, timedelta(seconds=30))
        succeed(engine, user_id=ann)
        begin(engine, "another")
        assert refused(engine, "another") in {59, 60}

    def test_lifts_a_wait_that_others_caused_on_top_of_it(self, engine: Engine, ann: int) -> None:
        attempt = begin(engine, user_id=ann)
        exhaust_network(engine, LAIR, PER_NETWORK - 1)
        refused(engine, "another")
        with transaction(engine) as session:
            succeeded(session, attempt)
        begin(engine, "another")
        refused(engine, "another")

    def test_leaves_a_wait_that_others_caused_later(self, engine: Engine, ann: int) -> None:
        exhaust_network(engine, LAIR)
        let_pass(engine, timedelta(seconds=30))
        attempt = begin(engine, user_id=ann)
        let_pass(engine, timedelta(seconds=60))
        begin(engine, "another")
        with transaction(engine) as session:
            succeeded(session, attempt)
        assert refused(engine, "another") in {119, 120}


def test_an_attempt_whose_password_was_not_looked_at_counts_nowhere(engine: Engine, ann: int) -> None:
    fail(engine, PER_ACCOUNT - 1, user_id=ann)
    exhaust_network(engine, LAIR, PER_NETWORK - PER_ACCOUNT)
    for _ in range(3):
        attempt = begin(engine, user_id=ann)
        with transaction(engine) as session:
            withdraw(session, attempt)
    begin(engine, user_id=ann)
    assert refused(engine, user_id=ann) in {29, 30}
    assert refused(engine, "another") in {29, 30}


class TestPrune:
    def test_what_no_longer_counts_goes(self, engine: Engine, url: str, ann: int) -> None:
        begin(engine, "old")
        let_pass(engine, timedelta(hours=24))
        begin(engine, "new", CAFE)
        for address in (HOME, CAFE):
            remember(engine, ann, address)
        at_home = f" WHERE network = '{network_of(HOME)}'"
        execute(url, "UPDATE known_addresses SET last_seen_at = last_seen_at - interval '366 days'" + at_home)
        with transaction(engine) as session:
            assert [len(prune(session, 100)) for prune in (prune_throttle, prune_networks)] == [2, 1]
        with transaction(engine) as session:
            assert [prune(session, 100) for prune in (prune_throttle, prune_networks)] == [[], []]
        assert len(rows(engine)) == 2
        assert [row["network"] for row in execute(url, "SELECT network FROM known_addresses")] == ["198.51.100.7/32"]

    def test_in_batches_and_past_what_is_in_use(self, engine: Engine) -> None:
        for number in range(4):
            begin(engine, f"name {number}", LAIR)
        let_pass(engine, timedelta(hours=25))
        with transaction(engine) as user, transaction(engine) as session:
            begin_attempt(user, "name 0", LAIR, None)
            assert [len(prune_throttle(session, 2)) for _ in range(3)] == [2, 1, 0]
        assert len(rows(engine)) == 2
