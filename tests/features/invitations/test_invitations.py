"""Ways in for new people: handed out, listed and revoked by owners."""

import asyncio
import json
import re
from datetime import datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import RowMapping

from tests.features.users.support import ME, OWNER, add_person, faults, refusal
from tests.support.accounts import PASSWORD
from tests.support.identity import Service, execute
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

URL = "/api/invitations"
DAY = 24 * 60 * 60


async def create(service: Service, body: Any) -> httpx.Response:
    """`body` as JSON, surrogates and all."""
    headers = OWNER | {"Content-Type": "application/json"}
    return await service.client.post(URL, content=json.dumps(body), headers=headers)


async def created(service: Service, **body: Any) -> dict[str, Any]:
    answer = await create(service, {"role": "member"} | body)
    assert answer.status_code == 201, answer.text
    invitation: dict[str, Any] = answer.json()
    return invitation


async def listed(service: Service, **params: Any) -> dict[str, Any]:
    answer = await service.client.get(URL, headers=OWNER, params=params)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def revoke(service: Service, invitation_id: Any) -> httpx.Response:
    return await service.client.delete(f"{URL}/{invitation_id}", headers=OWNER)


async def register(service: Service, token: str, email: str) -> httpx.Response:
    body = {"email": email, "password": PASSWORD, "invitation": token}
    return await service.client.post("/api/auth/register", json=body)


def log(url: str, invitation_id: int) -> list[RowMapping]:
    return execute(
        url,
        "SELECT * FROM activity_log WHERE resource_type = 'invitation' AND resource_id = :id ORDER BY id",
        id=invitation_id,
    )


class TestCreate:
    async def test_the_answer(self, service: Service) -> None:
        answer = await create(service, {"role": "owner", "email": "Ann@Example.test", "expires_in": 3600})
        invitation = answer.json()
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["location"] == f"{URL}/{invitation['id']}"
        assert re.fullmatch(r"tbi_[0-9A-Za-z]{49}", invitation["token"])
        assert invitation == {
            "id": invitation["id"],
            "role": "owner",
            "email": "Ann@Example.test",
            "created_by": 1,
            "created_at": invitation["created_at"],
            "expires_at": invitation["expires_at"],
            "used_at": None,
            "used_by": None,
            "revoked_at": None,
            "token": invitation["token"],
        }
        without_token = {name: value for name, value in invitation.items() if name != "token"}
        assert (await listed(service))["items"][0] == without_token

    @pytest.mark.parametrize(
        ("body", "seconds"),
        [({}, 7 * DAY), ({"expires_in": 60}, 60), ({"expires_in": 30 * DAY, "email": None}, 30 * DAY)],
    )
    async def test_how_long_it_is_good(self, service: Service, body: dict[str, Any], seconds: int) -> None:
        invitation = await created(service, **body)
        begin, end = (datetime.fromisoformat(invitation[name]) for name in ("created_at", "expires_at"))
        assert (end - begin).total_seconds() == seconds

    async def test_the_token_is_kept_nowhere(self, service: Service) -> None:
        invitation = await created(service, email="log@example.test")
        (event,) = log(service.url, invitation["id"])
        assert (event["action_type"], event["user_id"]) == ("invitation_created", None)
        assert (event["actor_id"], event["actor_kind"]) == (1, "mvp_token")
        assert event["details"] == {"role": "member", "email": "log@example.test"}
        stored = execute(service.url, "SELECT each::text FROM invitations AS each WHERE id = :id", id=invitation["id"])
        for secret in (invitation["token"][4:], invitation["token"].encode().hex()):
            assert secret not in str(stored) + str(dict(event))
            assert secret not in json.dumps(await listed(service))

    async def test_by_another_owner(self, service: Service) -> None:
        owner = add_person(service, role="owner")
        answer = await service.client.post(URL, json={"role": "member"}, headers=owner.headers)
        assert answer.json()["created_by"] == owner.id

    @pytest.mark.parametrize(
        ("body", "pointer", "code"),
        [
            ({}, "/role", "missing"),
            ({"role": None}, "/role", "literal_error"),
            ({"role": "admin"}, "/role", "literal_error"),
            ({"role": "Owner"}, "/role", "literal_error"),
            ({"role": "owner", "email": "x"}, "/email", "email"),
            ({"role": "owner", "email": ""}, "/email", "email"),
            ({"role": "owner", "email": "Ann <a@example.test>"}, "/email", "email"),
            ({"role": "owner", "email": "a\0@example.test"}, "/email", "nul_character"),
            ({"role": "owner", "email": "a\ud800@example.test"}, "/email", "unpaired_surrogate"),
            ({"role": "owner", "email": 7}, "/email", "string_type"),
            ({"role": "owner", "expires_in": None}, "/expires_in", "int_type"),
            ({"role": "owner", "expires_in": 59}, "/expires_in", "greater_than_equal"),
            ({"role": "owner", "expires_in": 0}, "/expires_in", "greater_than_equal"),
            ({"role": "owner", "expires_in": -(10**30)}, "/expires_in", "greater_than_equal"),
            ({"role": "owner", "expires_in": 30 * DAY + 1}, "/expires_in", "less_than_equal"),
            ({"role": "owner", "expires_in": 10**30}, "/expires_in", "less_than_equal"),
            ({"role": "owner", "expires_in": "3600"}, "/expires_in", "int_type"),
            ({"role": "owner", "expires_in": 3600.0}, "/expires_in", "int_type"),
            ({"role": "owner", "expires_in": True}, "/expires_in", "int_type"),
            ({"role": "owner", "token": "tbi_mine"}, "/token", "extra_forbidden"),
            ({"role": "owner", "created_by": 2}, "/created_by", "extra_forbidden"),
            ([], "", "model_attributes_type"),
        ],
    )
    async def test_what_does_not_fit_is_named(self, service: Service, body: Any, pointer: str, code: str) -> None:
        before = execute(service.url, "SELECT count(*) FROM invitations")
        assert faults(await create(service, body)) == [(pointer, code)]
        assert execute(service.url, "SELECT count(*) FROM invitations") == before

    async def test_a_huge_body(self, service: Service) -> None:
        assert refusal(await create(service, {"role": "x" * 2_000_000})) == (413, "payload_too_large")


class TestList:
    async def test_all_newest_first(self, service: Service) -> None:
        used, revoked, expired, fresh = [await created(service) for _ in range(4)]
        user = (await register(service, used["token"], "listed@example.test")).json()["user"]
        await revoke(service, revoked["id"])
        execute(service.url, "UPDATE invitations SET expires_at = created_at WHERE id = :id", id=expired["id"])
        items = (await listed(service, limit=4))["items"]
        assert [item["id"] for item in items] == [each["id"] for each in (fresh, expired, revoked, used)]
        assert [item["revoked_at"] is not None for item in items] == [False, False, True, False]
        assert (items[3]["used_by"], items[3]["used_at"]) == (user["id"], user["created_at"])
        await service.client.delete(f"/api/users/{user['id']}", headers=OWNER)
        assert (await listed(service, limit=4))["items"][3] == items[3] | {"used_by": None}

    async def test_pages(self, service: Service) -> None:
        there = [(await created(service))["id"] for _ in range(3)]
        first = await listed(service, limit=2)
        await created(service)
        second = await listed(service, limit=1, cursor=first["next_cursor"])
        assert [item["id"] for item in first["items"] + second["items"]] == there[::-1]

    @pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"cursor": "a\0"}])
    async def test_pages_there_are_not(self, service: Service, params: dict[str, Any]) -> None:
        answer = await service.client.get(URL, headers=OWNER, params=params)
        assert [pointer for pointer, _ in faults(answer)] == [f"query/{name}" for name in params]


class TestRevoke:
    async def test_nobody_can_use_it(self, service: Service) -> None:
        invitation = await created(service, email="out@example.test")
        answer = await revoke(service, invitation["id"])
        assert (answer.status_code, answer.content) == (204, b"")
        assert refusal(await register(service, invitation["token"], "out@example.test")) == (403, "invalid_invitation")
        _, event = log(service.url, invitation["id"])
        assert (event["action_type"], event["actor_id"]) == ("invitation_revoked", 1)
        assert event["details"] == {"role": "member", "email": "out@example.test"}

    async def test_what_is_not_there(self, service: Service) -> None:
        used, revoked, expired = [await created(service) for _ in range(3)]
        assert (await register(service, used["token"], "user@used.test")).status_code == 201
        await revoke(service, revoked["id"])
        for invitation_id in (used["id"], revoked["id"], 2_000_000_000):
            assert refusal(await revoke(service, invitation_id)) == (404, "not_found")
        execute(service.url, "UPDATE invitations SET expires_at = created_at WHERE id = :id", id=expired["id"])
        assert (await revoke(service, expired["id"])).status_code == 204

    @pytest.mark.parametrize(
        ("invitation_id", "status"),
        [("0", 404), ("-1", 404), ("2147483648", 404), ("9" * 5000, 404), ("x", 422), ("1.0", 422), ("1%00", 422)],
    )
    async def test_ids_nothing_can_have(self, service: Service, invitation_id: str, status: int) -> None:
        assert (await revoke(service, invitation_id)).status_code == status

    async def test_of_several_at_once_one_revokes(self, service: Service) -> None:
        invitation = await created(service)
        answers = await asyncio.gather(*(revoke(service, invitation["id"]) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [204] + [404] * 7

    async def test_whoever_came_in_stays(self, service: Service) -> None:
        invitation = await created(service)
        joined = (await register(service, invitation["token"], "stays@example.test")).json()
        assert (await revoke(service, invitation["id"])).status_code == 404
        assert (await service.client.get(ME, headers=bearer(joined["access_token"]))).status_code == 200
