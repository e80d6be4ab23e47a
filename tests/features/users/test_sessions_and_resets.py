"""What owners see and do of somebody's sessions, and the leave they give to set a new password."""

import asyncio
import re
from datetime import datetime, timedelta

import httpx
import pytest

from tests.features.users.support import ME, OWNER, USERS, Person, add_person, events, refusal
from tests.support.accounts import password_of, sign_in
from tests.support.identity import Service, add_session, add_token, execute
from tests.support.service import bearer

pytestmark = pytest.mark.anyio


@pytest.fixture
def ann(service: Service) -> Person:
    return add_person(service)


class TestSessions:
    async def test_they_are_listed_as_to_their_user(self, service: Service, ann: Person) -> None:
        add_session(service.client, ann.id)
        own = (await service.client.get("/api/sessions", headers=ann.headers)).json()
        seen = (await service.client.get(f"{USERS}/{ann.id}/sessions", headers=OWNER)).json()
        assert [item["current"] for item in own["items"]] == [False, True]
        assert seen == own | {"items": [item | {"current": False} for item in own["items"]]}

    async def test_an_owner_finds_the_present_one_among_their_own(self, service: Service) -> None:
        owner = add_person(service, role="owner")
        add_session(service.client, owner.id)
        answer = await service.client.get(f"{USERS}/{owner.id}/sessions", headers=owner.headers)
        assert [item["current"] for item in answer.json()["items"]] == [False, True]

    async def test_pages_of_what_is_alive(self, service: Service, ann: Person) -> None:
        for _ in range(3):
            add_session(service.client, ann.id)
        execute(
            service.url,
            "UPDATE user_sessions SET ended_at = now() WHERE id = (SELECT max(id) FROM user_sessions)",
        )
        url = f"{USERS}/{ann.id}/sessions"
        first = (await service.client.get(url, headers=OWNER, params={"limit": 2})).json()
        params = {"limit": 2, "cursor": first["next_cursor"]}
        second = (await service.client.get(url, headers=OWNER, params=params)).json()
        assert (len(first["items"]), len(second["items"]), second["next_cursor"]) == (2, 1, None)

    async def test_all_are_ended(self, service: Service, ann: Person) -> None:
        second, script = bearer(add_session(service.client, ann.id)), bearer(add_token(service.url, ann.id))
        bystander = add_person(service)
        answer = await service.client.delete(f"{USERS}/{ann.id}/sessions", headers=OWNER)
        assert (answer.status_code, answer.content) == (204, b"")
        everybody = (ann.headers, second, script, bystander.headers)
        statuses = [(await service.client.get(ME, headers=headers)).status_code for headers in everybody]
        assert statuses == [401, 401, 200, 200]
        (event,) = events(service.url, ann.id)
        assert (event["action_type"], event["actor_id"]) == ("sessions_ended", 1)
        assert event["details"] == {"scope": "global", "count": 2}

    async def test_where_there_is_none(self, service: Service) -> None:
        assert (await service.client.get(f"{USERS}/1/sessions", headers=OWNER)).json()["items"] == []
        assert (await service.client.delete(f"{USERS}/1/sessions", headers=OWNER)).status_code == 204


class TestPasswordReset:
    async def issue(self, service: Service, person: Person) -> httpx.Response:
        return await service.client.post(f"{USERS}/{person.id}/password-reset", headers=OWNER)

    async def reset(self, service: Service, token: str, password: str) -> httpx.Response:
        body = {"token": token, "new_password": password}
        return await service.client.post("/api/auth/password/reset", json=body)

    async def test_the_answer(self, service: Service, ann: Person) -> None:
        answer = await self.issue(service, ann)
        assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
        assert answer.json().keys() == {"token", "expires_at"}
        assert re.fullmatch(r"tbr_[0-9A-Za-z]{49}", answer.json()["token"])
        (row,) = execute(service.url, "SELECT created_at FROM password_resets WHERE user_id = :id", id=ann.id)
        expires_at = datetime.fromisoformat(answer.json()["expires_at"]).replace(tzinfo=None)
        assert expires_at - row["created_at"] == timedelta(minutes=30)

    async def test_the_token_is_kept_nowhere(self, service: Service, ann: Person) -> None:
        token = (await self.issue(service, ann)).json()["token"]
        stored = execute(service.url, "SELECT each::text FROM password_resets AS each WHERE user_id = :id", id=ann.id)
        (event,) = events(service.url, ann.id)
        assert (event["action_type"], event["actor_id"], event["details"]) == ("password_reset_issued", 1, {})
        for secret in (token, token[4:], token[4:].encode().hex()):
            assert secret not in str(stored)
            assert secret not in str(dict(event))

    async def test_it_sets_a_password_once(self, service: Service, ann: Person) -> None:
        token = (await self.issue(service, ann)).json()["token"]
        assert (await self.reset(service, token, password_of("one"))).status_code == 204
        assert (await sign_in(service.client, ann.email, password_of("one"))).status_code == 200
        assert (await service.client.get(ME, headers=ann.headers)).status_code == 401
        assert refusal(await self.reset(service, token, password_of("two"))) == (400, "invalid_reset_token")

    async def test_a_later_one_voids_it(self, service: Service, ann: Person) -> None:
        bob = add_person(service)
        first, other = [(await self.issue(service, person)).json()["token"] for person in (ann, bob)]
        second = (await self.issue(service, ann)).json()["token"]
        assert refusal(await self.reset(service, first, password_of("first"))) == (400, "invalid_reset_token")
        for token in (second, other):
            assert (await self.reset(service, token, password_of("good"))).status_code == 204

    async def test_of_many_that_are_issued_at_once_one_is_good(self, service: Service, ann: Person) -> None:
        answers = await asyncio.gather(*(self.issue(service, ann) for _ in range(8)))
        assert {answer.status_code for answer in answers} == {201}
        unused = execute(
            service.url, "SELECT id FROM password_resets WHERE user_id = :id AND used_at IS NULL", id=ann.id
        )
        assert len(unused) == 1
