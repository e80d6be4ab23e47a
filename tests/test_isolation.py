"""What belongs to one person is neither shown to another nor within its reach; owners see it where the API says so."""

from enum import Enum, auto
from typing import NamedTuple

import httpx
import pytest

from app.db.engine import connect
from tests.support.identity import Service, execute, without_request_id
from tests.support.people import NO_ID, Holder, Person, Rows, add_nobodys, add_person, rows, spread_ids
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
    ("GET", "/api/order-templates/{template_id}"): Reach.OWN,
    ("PATCH", "/api/order-templates/{template_id}"): Reach.OWN,
    ("DELETE", "/api/order-templates/{template_id}"): Reach.OWN,
    ("POST", "/api/order-templates/{template_id}/use"): Reach.OWN,
    ("GET", "/api/recommendations/{recommendation_id}"): Reach.OWN,
    ("PATCH", "/api/recommendations/{recommendation_id}"): Reach.OWN,
}
"""Of every operation on the object with an id."""

TEMPLATE, RECOMMENDATION = {"template_id", "symbol", "name"}, {"recommendation_id", "symbol", "name"}
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
    "/api/order-templates": TEMPLATE,
    "/api/order-templates/{template_id}": TEMPLATE,
    "/api/recommendations": RECOMMENDATION,
    "/api/recommendations/accuracy": {"symbol"},
    "/api/recommendations/{recommendation_id}": RECOMMENDATION,
}
"""Which marks of a person each GET shows to whoever may see them."""

MOVE = ("PATCH", "/api/recommendations/{recommendation_id}")
ADOPT = [("/api/order-templates/adopt", "template_id"), ("/api/recommendations/adopt", "recommendation_id")]
"""And what names one of them elsewhere."""

GETS = [each for each in OPERATIONS if each.method == "GET" and each.permission]
WITH_ID = [each for each in OPERATIONS if each.ids]
REACHING = [each for each in OPERATIONS if "owner" in each.query]


class People(NamedTuple):
    ann: Person
    bob: Person
    eve: Person
    """An owner."""
    nobody: Holder

    @property
    def persons(self) -> tuple[Person, ...]:
        return self.ann, self.bob, self.eve

    def marks_in(self, answer: httpx.Response) -> dict[str, set[str]]:
        """Only of those who have any in it."""
        text = f"{answer.text} {answer.headers}"
        return {name: found for name, holder in self._asdict().items() if (found := holder.shown_in(text))}


@pytest.fixture(scope="module")
def people(service: Service) -> People:
    spread_ids(service.url)
    persons = (add_person(service, "ann"), add_person(service, "bob"), add_person(service, "eve", "owner"))
    return People(*persons, add_nobodys(service))


def held(service: Service, owner: int | None) -> Rows:
    """What belongs to a person, or where it is None to nobody."""
    with connect(service.url) as connection:
        return {key: row for key, row in rows(connection).items() if row.owner == owner}


def everything(service: Service, owner: Person) -> tuple[Rows, int]:
    """What belongs to a person, and how much the activity log tells of it."""
    (log,) = execute(service.url, "SELECT count(*) AS size FROM activity_log WHERE user_id = :id", id=owner.id)
    return held(service, owner.id), log["size"]


async def call(
    service: Service, operation: Operation, token: str, number: int | None = None, **params: str
) -> httpx.Response:
    """With that number for each id in the path, a long page, and as little in the body as will do."""
    body = {"status": "dismissed"} if operation.name == MOVE else {}
    return await service.client.request(
        operation.method,
        operation.path.format_map(dict.fromkeys(operation.ids, number)),
        headers=bearer(token),
        params=params | ({"limit": "200"} if "limit" in operation.query else {}),
        json=body if operation.media_type == JSON else None,
    )


def owned(holder: Holder, operation: Operation) -> int | None:
    """The number for the path."""
    return holder.ids[operation.ids[0]] if operation.ids else None


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
        for token in (people.ann.access_token, people.ann.api_token):
            for person in people.persons if operation.permission == "admin" else [people.ann]:
                answer = await call(service, operation, token, owned(person, operation))
                if operation.permission == "admin":
                    assert (answer.status_code, people.marks_in(answer)) == (403, {})
                else:
                    assert (answer.status_code, people.marks_in(answer)) == (200, {"ann": SHOWN[operation.path]})

    async def test_to_an_owner(self, service: Service, people: People, operation: Operation) -> None:
        seen = ["eve"]
        if operation.permission == "admin":
            seen = ["bob"] if operation.ids else ["ann", "bob", "eve"]
        for token in (people.eve.access_token, people.eve.api_token):
            answer = await call(service, operation, token, owned(getattr(people, seen[0]), operation))
            assert answer.status_code == 200
            assert people.marks_in(answer) == dict.fromkeys(seen, SHOWN[operation.path])


@pytest.mark.parametrize(
    "operation", [each for each in GETS if "cursor" in each.query and each.permission != "admin"], ids=str
)
async def test_another_ones_cursor_is_only_a_place(service: Service, people: People, operation: Operation) -> None:
    url, cursors = operation.path, []
    for person in people.persons:
        answer = await service.client.get(f"{url}?limit=1", headers=bearer(person.access_token))
        cursors.append(answer.json()["next_cursor"])
    for cursor in cursors:
        assert cursor
        answer = await service.client.get(url, params={"cursor": cursor}, headers=bearer(people.ann.access_token))
        assert answer.status_code == 200
        assert people.marks_in(answer).keys() <= {"ann"}


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
        zoe = add_person(service, f"zoe{operation.method}{len(operation.path)}".lower())
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
        others = [everything(service, person) for person in people.persons]
        answer = await call(service, operation, people.eve.access_token, owned(zoe, operation))
        assert answer.status_code < 300, answer.text
        assert [everything(service, person) for person in people.persons] == others
        assert (await call(service, operation, people.eve.access_token, NO_ID)).status_code == 404


@pytest.mark.parametrize("operation", REACHING, ids=str)
class TestNobodys:
    async def test_members_learn_nothing(self, service: Service, people: People, operation: Operation) -> None:
        for token in (people.ann.access_token, people.ann.api_token):
            answer = await call(service, operation, token, owned(people.nobody, operation), owner="none")
            alike = await call(service, operation, token, NO_ID, owner="none")
            assert (answer.status_code, people.marks_in(answer)) == (403, {})
            assert without_request_id(answer) == without_request_id(alike)

    async def test_owners_see_them_when_they_ask(self, service: Service, people: People, operation: Operation) -> None:
        for token in (people.eve.access_token, people.eve.api_token):
            answer = await call(service, operation, token, owned(people.nobody, operation), owner="none")
            assert (answer.status_code, people.marks_in(answer)) == (200, {"nobody": SHOWN[operation.path]})
            if operation.ids:
                for holder, owner in ((people.nobody, "me"), (people.bob, "none"), (people.eve, "none")):
                    answer = await call(service, operation, token, owned(holder, operation), owner=owner)
                    missing = await call(service, operation, token, NO_ID, owner=owner)
                    assert answer.status_code == missing.status_code == 404
                    assert without_request_id(answer) == without_request_id(missing)


@pytest.mark.parametrize(("path", "kind"), ADOPT)
async def test_nobody_adopts_what_is_somebodys(service: Service, people: People, path: str, kind: str) -> None:
    before = everything(service, people.bob), held(service, None)
    for caller, status in ((people.ann, 403), (people.eve, 404)):
        for ids in ([people.bob.ids[kind]], [people.nobody.ids[kind], people.bob.ids[kind]]):
            answer = await service.client.post(path, json={"ids": ids}, headers=bearer(caller.access_token))
            assert (answer.status_code, people.marks_in(answer).keys() - {"bob"}) == (status, set())
    assert (everything(service, people.bob), held(service, None)) == before
