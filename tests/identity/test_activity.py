"""What is written down of an event."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from app.core.errors import NotFound, TooManyAttempts
from app.identity.activity import COMMAND_LINE, MAX_USER_AGENT, Action, Origin, Resource, record
from app.identity.permissions import CredentialKind
from app.identity.principal import Principal, Profile
from app.models.database import ActivityLog, User
from app.web.session import transaction
from tests.support.identity import add_user, execute

ORIGIN = Origin(address="2001:db8::1", user_agent="curl/8.0", request_id="a.request-id_1")


@pytest.fixture
def engine(clone_url: str) -> Iterator[Engine]:
    engine = create_engine(clone_url)
    yield engine
    engine.dispose()


@pytest.fixture
def ann(engine: Engine, clone_url: str) -> User:
    return user(engine, add_user(clone_url, "ann@example.test"))


def user(engine: Engine, user_id: int) -> User:
    with Session(engine, expire_on_commit=False) as session:
        return session.get_one(User, user_id)


def principal(user: User, kind: CredentialKind) -> Principal:
    return Principal(Profile.of(user), kind, 1, frozenset())


def write(engine: Engine, origin: Origin = ORIGIN, action: Action = Action.SIGNED_IN, **more: Any) -> ActivityLog:
    """The row as it is read afterwards."""
    with transaction(engine) as session:
        record(session, origin, action, **more)
    with Session(engine) as session:
        return session.scalars(select(ActivityLog)).one()


def test_all_there_is_to_say(engine: Engine, clone_url: str, ann: User) -> None:
    owner = user(engine, add_user(clone_url, "owner@example.test", role="owner"))
    origin = ORIGIN.by(principal(owner, CredentialKind.API_TOKEN))
    row = write(engine, origin, Action.TOKEN_REVOKED, user=ann, resource=(Resource.TOKEN, 17), name="é", tags=[1, None])
    assert (row.user_id, row.user_email, row.action_type) == (ann.id, ann.email, "token_revoked")
    assert (row.actor_id, row.actor_email, row.actor_kind) == (owner.id, owner.email, "api_token")
    assert (row.resource_type, row.resource_id, row.details) == ("token", 17, {"name": "é", "tags": [1, None]})
    assert (row.ip_address, row.user_agent, row.request_id) == ("2001:db8::1", "curl/8.0", "a.request-id_1")
    (clock,) = execute(
        clone_url, "SELECT timezone('utc', now()) - timestamp < interval '1 minute' AS fits FROM activity_log"
    )
    assert clock["fits"]


def test_as_little_as_there_may_be(engine: Engine) -> None:
    row = write(engine, Origin())
    said = {column.name for column in ActivityLog.__table__.columns if getattr(row, column.name) is not None}
    assert said == {"id", "timestamp", "action_type", "details", "actor_kind"}
    assert (row.details, row.actor_kind) == ({}, "anonymous")


def test_from_the_command_line(engine: Engine, ann: User) -> None:
    row = write(engine, COMMAND_LINE, Action.USER_CREATED, user=ann)
    assert (row.actor_kind, row.actor_id, row.ip_address, row.user_id) == ("command", None, None, ann.id)


def test_by_whoever_has_just_proved_to_be_somebody(engine: Engine, ann: User) -> None:
    row = write(engine, ORIGIN.as_user(ann), user=ann)
    assert (row.actor_id, row.actor_email, row.actor_kind) == (ann.id, ann.email, "proven")
    assert row.ip_address == ORIGIN.address


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (None, None),
        ("", None),
        ("x" * MAX_USER_AGENT, "x" * MAX_USER_AGENT),
        ("x" * (MAX_USER_AGENT + 1), "x" * MAX_USER_AGENT),
        ("é" * 10_000, "é" * MAX_USER_AGENT),
        (bytes(range(1, 256)).decode("latin-1"), bytes(range(1, 256)).decode("latin-1")),
        ("Gerät/1.0 \U0001f600", "Gerät/1.0 \U0001f600"),
        ("%s %(name)s :name {}", "%s %(name)s :name {}"),
    ],
)
def test_any_user_agent_is_kept_as_far_as_it_fits(engine: Engine, header: str | None, kept: str | None) -> None:
    assert write(engine, replace(ORIGIN, user_agent=header)).user_agent == kept


@pytest.mark.parametrize("action", Action)
def test_every_action_fits_the_column(action: Action) -> None:
    assert 0 < len(action) <= 50


def test_it_outlives_its_user_and_its_actor(engine: Engine, clone_url: str, ann: User) -> None:
    write(engine, ORIGIN.as_user(ann), user=ann)
    execute(clone_url, "DELETE FROM users WHERE id = :id", id=ann.id)
    (row,) = execute(clone_url, "SELECT user_id, user_email, actor_id, actor_email FROM activity_log")
    assert dict(row) == {"user_id": ann.id, "user_email": ann.email, "actor_id": ann.id, "actor_email": ann.email}


class TestInTheTransactionOfWhatItTellsOf:
    def rows(self, url: str) -> int:
        return len(execute(url, "SELECT 1 FROM activity_log"))

    def test_it_goes_with_what_is_rolled_back(self, engine: Engine, clone_url: str) -> None:
        def refuse() -> None:
            with transaction(engine) as session:
                record(session, ORIGIN, Action.TOKEN_REVOKED)
                raise NotFound

        with pytest.raises(NotFound):
            refuse()
        assert self.rows(clone_url) == 0

    def test_it_stays_with_a_refusal_that_keeps_its_writes(self, engine: Engine, clone_url: str) -> None:
        def refuse() -> None:
            with transaction(engine) as session:
                record(session, ORIGIN, Action.SIGN_IN_THROTTLED)
                raise TooManyAttempts(30)

        with pytest.raises(TooManyAttempts):
            refuse()
        assert self.rows(clone_url) == 1

    def test_it_is_written_at_once(self, engine: Engine) -> None:
        with Session(engine) as session:
            record(session, ORIGIN, Action.SIGNED_IN)
            assert not session.new
