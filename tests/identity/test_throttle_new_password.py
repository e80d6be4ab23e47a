"""What a new password does to the failures at an account."""

from sqlalchemy import Engine

from app.identity.throttle import forget_failures
from app.models.database import User
from app.web.session import transaction
from tests.support.identity import execute
from tests.support.throttle import CAFE, HOME, LAIR, PER_ACCOUNT, begin, exhaust_network, fail, refused, remember


def forget(engine: Engine, user_id: int) -> None:
    with transaction(engine) as session:
        forget_failures(session, session.get_one(User, user_id))


def test_it_forgets_the_failures_under_every_name(engine: Engine, url: str, ann: int) -> None:
    execute(url, "UPDATE users SET username = 'Ann' WHERE id = :id", id=ann)
    for name in ("ann@example.test", "ann", "somebody else"):
        fail(engine, PER_ACCOUNT, name)
    forget(engine, ann)
    for name in ("ANN@example.test", "aNN"):
        begin(engine, name, CAFE, ann)
    refused(engine, "somebody else", CAFE)


def test_it_forgets_the_failures_on_known_networks(engine: Engine, ann: int) -> None:
    for address in (HOME, CAFE):
        remember(engine, ann, address)
        fail(engine, PER_ACCOUNT, address=address, user_id=ann)
    forget(engine, ann)
    for address in (HOME, CAFE):
        begin(engine, address=address, user_id=ann)


def test_it_leaves_the_networks_known(engine: Engine, ann: int) -> None:
    """Whoever keeps guessing does not shut out the owner, who had it reset."""
    remember(engine, ann, HOME)
    forget(engine, ann)
    fail(engine, PER_ACCOUNT, "ann@example.test", user_id=ann)
    refused(engine, "ann@example.test", user_id=ann)
    begin(engine, "ann@example.test", HOME, ann)


def test_it_leaves_what_counts_against_the_network(engine: Engine, ann: int) -> None:
    exhaust_network(engine, LAIR)
    forget(engine, ann)
    refused(engine, "ann@example.test", user_id=ann)


def test_it_of_somebody_without_a_username_forgives_no_empty_name(engine: Engine, ann: int) -> None:
    fail(engine, PER_ACCOUNT, "")
    forget(engine, ann)
    refused(engine, "")
