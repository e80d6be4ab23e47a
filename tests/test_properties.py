"""Whatever is asked by whomever: no more comes of it than the caller's role, credential and scopes allow together."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, text

from tests.support.accounts import hash_of, quick_sign_ins
from tests.support.bodies import bodies_for
from tests.support.identity import INVALID, SCOPES, Service, insufficient
from tests.support.people import NO_ID, Holder, Person, Rows, add_nobodys, add_person, mvp_user, rows, spread_ids
from tests.support.policy import OF_NOBODY, needed
from tests.support.service import bearer, heed_changes
from tests.support.surface import FORM, OPERATIONS, Operation

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


class Kind(StrEnum):
    API_TOKEN = "API token"
    SESSION = "session"
    MVP_TOKEN = "MVP token"


MISSING = "missing"
ROLES = ("owner", "member", "personal_only", "Owner", "OWNER", "owner ", "", "admin", "owner,member", "*")
ODD_SCOPES = ("issue", "claim", "logout", "owner", "READ", " admin", "admin ", "write admin", "*", "")


@dataclass(frozen=True)
class Attempt:
    """Somebody tries an operation."""

    kind: Kind
    role: str
    scopes: tuple[str, ...] = SCOPES
    """Of the API token, or what its row says of the token from the configuration."""
    whose: str = "ann"
    """The object that is named in the path or the query."""
    choice: int = 0
    """Which of the bodies, and of the values a parameter may have."""
    is_active: bool = True

    def granted(self) -> set[str]:
        """The permissions of the role, of the credential and of the scopes together."""
        if not self.is_active:
            return set()
        of_role = {"read", "write", "issue", *(["admin"] if self.role == "owner" else [])}
        match self.kind:
            case Kind.API_TOKEN:
                return of_role & {"read", "write", "admin"} & set(self.scopes)
            case Kind.SESSION:
                return of_role | {"logout"}
            case Kind.MVP_TOKEN:
                return of_role | {"claim"}


ATTEMPTS = st.builds(
    Attempt,
    kind=st.sampled_from(Kind),
    role=st.sampled_from(ROLES),
    scopes=st.lists(st.sampled_from(SCOPES) | st.sampled_from(ODD_SCOPES), max_size=4, unique=True).map(tuple),
    whose=st.sampled_from(["caller", "ann", "eve", "mvp", "nobody", MISSING]),
    choice=st.integers(0, 11),
    is_active=st.integers(0, 9).map(bool),
)


class World:
    """A caller, other people, and what they own, put back in its place before each attempt."""

    CHANGING = (
        "users",
        "user_sessions",
        "refresh_token_exchanges",
        "api_tokens",
        "invitations",
        "password_resets",
        "mvp_claim",
        "known_addresses",
        "throttled_keys",
        "order_templates",
        "ai_recommendations",
    )

    def __init__(
        self, connection: Connection, client: httpx.AsyncClient, people: dict[str, Person], nobody: Holder
    ) -> None:
        self.connection = connection
        self.client = client
        self.people = people
        self.holders: dict[str, Holder] = {**people, "nobody": nobody}
        self._execute(*(f"CREATE TEMPORARY TABLE kept_{table} AS TABLE {table}" for table in self.CHANGING))

    def _execute(self, *statements: str, **parameters: Any) -> None:
        self.connection.execute(text("; ".join(statements)), parameters)

    def caller(self, attempt: Attempt) -> Person:
        return self.people["mvp" if attempt.kind is Kind.MVP_TOKEN else "caller"]

    def restore(self, attempt: Attempt) -> None:
        caller = self.caller(attempt)
        self._execute(
            *(f"DELETE FROM {table}" for table in reversed(self.CHANGING)),
            *(f"INSERT INTO {table} SELECT * FROM kept_{table}" for table in self.CHANGING),
            "DELETE FROM activity_log",  # where somebody finds again what was his in another attempt
            "UPDATE users SET role = :role, is_active = :is_active WHERE id = :id",
            "UPDATE api_tokens SET scopes = :scopes WHERE id = :token_id",
            role=attempt.role,
            is_active=attempt.is_active,
            scopes=[*attempt.scopes],
            id=caller.id,
            token_id=caller.api_token_id,
        )
        heed_changes()

    def rows(self) -> Rows:
        return rows(self.connection)

    def other(self, attempt: Attempt) -> Person:
        return self.people["eve" if attempt.whose == "eve" else "ann"]

    def params(self, operation: Operation, attempt: Attempt) -> dict[str, Any]:
        choices = {name: schema["enum"] for name, schema in operation.query.items() if "enum" in schema}
        choices |= {"user_id": [self.other(attempt).id]} if "user_id" in operation.query else {}
        return {name: values[attempt.choice % len(values)] for name, values in choices.items()}

    def needed(self, operation: Operation, attempt: Attempt) -> list[str]:
        method, path = operation.name
        nobodys = self.params(operation, attempt).get("owner") == "none"
        return needed((method, path + OF_NOBODY if nobodys else path))

    def body(self, operation: Operation, attempt: Attempt) -> dict[str, Any]:
        if operation.media_type is None:
            return {}
        bodies = bodies_for(self.caller(attempt), self.other(attempt), self.holders["nobody"])[operation.name]
        return {"data" if operation.media_type == FORM else "json": bodies[attempt.choice % len(bodies)]}

    async def make(self, operation: Operation, attempt: Attempt) -> httpx.Response:
        caller, subject = self.caller(attempt), self.holders.get(attempt.whose)
        ids = subject.ids if subject else {}
        return await self.client.request(
            operation.method,
            operation.path.format_map({kind: ids.get(kind, NO_ID) for kind in operation.ids}),
            headers=bearer(caller.access_token if attempt.kind is Kind.SESSION else caller.api_token),
            params=self.params(operation, attempt),
            **self.body(operation, attempt),
        )


@pytest.fixture(scope="module")
def world(service: Service) -> Iterator[World]:
    spread_ids(service.url)
    engine = create_engine(service.url, isolation_level="AUTOCOMMIT")
    with quick_sign_ins(), engine.connect() as connection:
        caller = add_person(service, "caller", password_hash=hash_of())
        people = {"caller": caller, "ann": add_person(service, "ann"), "eve": add_person(service, "eve", "owner")}
        yield World(connection, service.client, people | {"mvp": mvp_user()}, add_nobodys(service))
    engine.dispose()


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@settings(deadline=None, derandomize=True, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(attempt=ATTEMPTS)
@example(attempt=Attempt(Kind.SESSION, "owner"))
@example(attempt=Attempt(Kind.SESSION, "member"))
@example(attempt=Attempt(Kind.SESSION, "member", whose="caller"))
@example(attempt=Attempt(Kind.MVP_TOKEN, "owner", whose="eve"))
@example(attempt=Attempt(Kind.MVP_TOKEN, "owner", whose="mvp"))
@example(attempt=Attempt(Kind.API_TOKEN, "owner", ("read", "write"), whose="caller"))
@example(attempt=Attempt(Kind.API_TOKEN, "owner", ODD_SCOPES))
@example(attempt=Attempt(Kind.API_TOKEN, "member", choice=1))
@example(attempt=Attempt(Kind.SESSION, "member", whose="nobody", choice=1))
@example(attempt=Attempt(Kind.SESSION, "owner", whose="nobody", choice=1))
@example(attempt=Attempt(Kind.SESSION, "owner", whose="nobody"))
async def test_nobody_can_do_more(world: World, operation: Operation, attempt: Attempt) -> None:
    world.restore(attempt)
    before = world.rows()
    answer = await world.make(operation, attempt)
    after = world.rows()
    assert answer.status_code < 500, answer.text
    if not answer.is_success:
        assert after == before
    asked = world.needed(operation, attempt)
    lacking = [permission for permission in asked if permission not in attempt.granted()]
    if lacking:
        expected = (403, insufficient(lacking[0])) if attempt.is_active else (401, INVALID)
        assert (answer.status_code, answer.headers["www-authenticate"]) == expected
    assert scopes_given(before, after) <= attempt.granted()
    if lacking or "admin" not in asked:
        caller = world.caller(attempt)
        assert of_others(after, caller, before) == of_others(before, caller, before)
        assert not {name for name, one in world.holders.items() if one is not caller and one.shown_in(said(answer))}
        assert roles(after) <= roles(before)


def said(answer: httpx.Response) -> str:
    return f"{answer.text} {answer.headers}"


def of_others(rows: Rows, caller: Person, before: Rows) -> Rows:
    """By the owners of before: the invitations of somebody who is deleted belong to nobody afterwards."""
    return {key: row for key, row in rows.items() if before.get(key, row).owner != caller.id}


def scopes_given(before: Rows, after: Rows) -> set[str]:
    """Those of new API tokens."""
    new = [row.columns["scopes"] for key, row in after.items() if key[0] == "api_tokens" and key not in before]
    return {scope for scopes in new for scope in scopes}


def roles(rows: Rows) -> set[tuple[int, str]]:
    return {(number, row.columns["role"]) for (table, number), row in rows.items() if table == "users"}
