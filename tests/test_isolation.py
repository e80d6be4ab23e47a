"""What belongs to one person is neither shown to another nor within its reach; owners see it where the API says so."""

from enum import Enum, auto
from typing import NamedTuple

import httpx
import pytest

from app.db.engine import connect
from tests.support.identity import Service, execute, without_request_id
from tests.support.people import NO_ID, Person, Rows, add_person, rows, spread_ids
from tests.support.service import bearer
from tests.support.surface import JSON, OPERATIONS, Operation, described

pytestmark = pytest.mark.anyio


class Reach(Enum):
    OWN = auto()
    """Another person's is not found, as if it were missing, whoever asks."""
    ADMIN = auto()
    """Anybody's, for those with the permission `admin`; others may not, whether it is there or not."""


REACH = {
    ("DELETE", "/api/sessions/{session_id}"): Reach.OWN,
    ("DELETE", "/api/tokens/{token_id}"): Reach.OWN,
    ("GET", "/api/users/{user_id}"): Reach.ADMIN,
    ("PATCH", "/api/users/{user_id}"): Reach.ADMIN,
    ("DELETE", "/api/users/{user_id}"): Reach.ADMIN,
    ("GET", "/api/users/{user_id}/sessions"): Reach.ADMIN,
    ("DELETE", "/api/users/{user_id}/sessions"): Reach.ADMIN,
    ("POST", "/api/users/{user_id}/password-reset"): Reach.ADMIN,
    ("DELETE", "/api/invitations/{invitation_id}"): Reach.ADMIN,
}
"""Of every operation on the object with an id."""

SHOWN = {
    "/api/health/detailed": {"user_id"},
    "/api/users/me": {"user_id", "name"},
    "/api/users/me/activity": {"user_id", "activity_id", "name"},
    "/api/sessions": {"session_id", "name"},
    "/api/tokens": {"token_id", "prefix", "name"},
    "/api/users": {"user_id", "name"},
    "/api/users/{user_id}": {"user_id", "name"},
    "/api/users/{user_id}/sessions": {"session_id", "name"},
    "/api/invitations": {"user_id", "invitation_id", "name"},
    "/api/activity": {"user_id", "activity_id", "name"},
}
"""Which marks of a person each GET shows to whoever may see them."""

GETS = [each for each in OPERATIONS if each.method == "GET" and each.permission]
WITH_ID = [each for each in OPERATIONS if each.ids]


class People(NamedTuple):
    ann: Person
    bob: Person
    eve: Person
    """An owner."""

    def marks_in(self, answer: httpx.Response) -> dict[str, set[str]]:
        text = f"{answer.text} {answer.headers}"
        return {name: person.shown_in(text) for name, person in self._asdict().items()}


@pytest.fixture(scope="module")
def people(service: Service) -> People:
    spread_ids(service.url)
    return People(add_person(service, "ann"), add_person(service, "bob"), add_person(service, "eve", "owner"))


def everything(service: Service, owner: Person) -> tuple[Rows, int]:
    """What belongs to a person, and how much the activity log tells of it."""
    with connect(service.url) as connection:
        held = {key: row for key, row in rows(connection).items() if row.owner == owner.id}
    (log,) = execute(service.url, "SELECT count(*) AS size FROM activity_log WHERE user_id = :id", id=owner.id)
    return held, log["size"]


async def call(service: Service, operation: Operation, token: str, number: int | None = None) -> httpx.Response:
    """With that number for each id in the path, a long page, and an empty body."""
    return await service.client.request(
        operation.method,
        operation.path.format_map(dict.fromkeys(operation.ids, number)),
        headers=bearer(token),
        params={"limit": 200} if "limit" in operation.query else None,
        json={} if operation.media_type == JSON else None,
    )


def owned(person: Person, operation: Operation) -> int:
    (kind,) = operation.ids
    return person.ids[kind]


async def test_the_document_is_the_one_that_is_served(service: Service) -> None:
    answer = await service.client.get("/openapi.json")
    assert described(answer.json()) == OPERATIONS


async def test_every_operation_is_declared_here(people: People) -> None:
    assert {operation.name for operation in WITH_ID} == REACH.keys()
    assert {operation.path for operation in GETS} == SHOWN.keys()
    assert {name for operation in WITH_ID for name in operation.ids} <= people.ann.ids.keys()


@pytest.mark.parametrize("operation", GETS, ids=str)
class TestWhatIsShown:
    async def test_to_a_member(self, service: Service, people: People, operation: Operation) -> None:
        nothing: set[str] = set()
        own = nothing if operation.permission == "admin" else SHOWN[operation.path]
        for token in (people.ann.access_token, people.ann.api_token):
            for number in [owned(person, operation) for person in people] if operation.ids else [None]:
                answer = await call(service, operation, token, number)
                assert answer.status_code == (403 if operation.permission == "admin" else 200)
                assert people.marks_in(answer) == {"ann": own, "bob": nothing, "eve": nothing}

    async def test_to_an_owner(self, service: Service, people: People, operation: Operation) -> None:
        for token in (people.eve.access_token, people.eve.api_token):
            answer = await call(service, operation, token, owned(people.bob, operation) if operation.ids else None)
            assert answer.status_code == 200
            seen = {"ann": not operation.ids, "bob": True, "eve": not operation.ids}
            if operation.permission != "admin":
                seen = {"ann": False, "bob": False, "eve": True}
            assert people.marks_in(answer) == {who: SHOWN[operation.path] if seen[who] else set() for who in seen}


@pytest.mark.parametrize(
    "operation", [each for each in GETS if "cursor" in each.query and each.permission != "admin"], ids=str
)
async def test_another_ones_cursor_is_only_a_place(service: Service, people: People, operation: Operation) -> None:
    url, cursors = operation.path, []
    for person in people:
        answer = await service.client.get(f"{url}?limit=1", headers=bearer(person.access_token))
        cursors.append(answer.json()["next_cursor"])
    for cursor in cursors:
        assert cursor
        answer = await service.client.get(url, params={"cursor": cursor}, headers=bearer(people.ann.access_token))
        assert answer.status_code == 200
        assert people.marks_in(answer) | {"ann": set()} == {"ann": set(), "bob": set(), "eve": set()}


@pytest.mark.parametrize("operation", [each for each in WITH_ID if REACH[each.name] is Reach.OWN], ids=str)
class TestOnesOwn:
    async def test_another_ones_is_missing(self, service: Service, people: People, operation: Operation) -> None:
        before = everything(service, people.bob)
        for caller in (people.ann, people.eve):
            for token in (caller.access_token, caller.api_token):
                answer = await call(service, operation, token, owned(people.bob, operation))
                missing = await call(service, operation, token, NO_ID)
                assert answer.status_code == missing.status_code == 404
                assert without_request_id(answer) == without_request_id(missing)
        assert everything(service, people.bob) == before

    async def test_it_can_be_reached(self, service: Service, operation: Operation) -> None:
        zoe = add_person(service, "zoe" + operation.ids[0].removesuffix("_id"))
        assert (await call(service, operation, zoe.access_token, owned(zoe, operation))).status_code < 300


@pytest.mark.parametrize("operation", [each for each in WITH_ID if REACH[each.name] is Reach.ADMIN], ids=str)
class TestAnybodys:
    async def test_members_learn_nothing(self, service: Service, people: People, operation: Operation) -> None:
        before = everything(service, people.bob)
        for token in (people.ann.access_token, people.ann.api_token):
            answer = await call(service, operation, token, owned(people.bob, operation))
            for number in (owned(people.ann, operation), NO_ID):
                alike = await call(service, operation, token, number)
                assert answer.status_code == alike.status_code == 403
                assert without_request_id(answer) == without_request_id(alike)
        assert everything(service, people.bob) == before

    async def test_an_owner_reaches_one_and_no_other(
        self, service: Service, people: People, operation: Operation
    ) -> None:
        zoe = add_person(service, f"zoe{operation.method}{len(operation.path)}".lower())
        others = [everything(service, person) for person in people]
        answer = await call(service, operation, people.eve.access_token, owned(zoe, operation))
        assert answer.status_code < 300, answer.text
        assert [everything(service, person) for person in people] == others
        assert (await call(service, operation, people.eve.access_token, NO_ID)).status_code == 404
