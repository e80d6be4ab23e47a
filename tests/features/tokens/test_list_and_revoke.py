"""A user's own tokens: listed page by page, revoked for good."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.identity import INVALID, Service, add_token, add_user, execute, insufficient
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

TOKENS = "/api/tokens"


@pytest.fixture
async def user(service: Service) -> int:
    (row,) = execute(service.url, "SELECT count(*) AS users FROM users")
    return add_user(service.url, f"user{row['users']}@example.test")


async def page(service: Service, token: str, **params: Any) -> dict[str, Any]:
    answer = await service.client.get(TOKENS, headers=bearer(token), params=params)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def revoke(service: Service, token: str, token_id: Any) -> httpx.Response:
    return await service.client.delete(f"{TOKENS}/{token_id}", headers=bearer(token))


def id_of(url: str, token: str) -> int:
    (row,) = execute(url, "SELECT id FROM api_tokens WHERE secret_hash = sha256(:token)", token=token.encode())
    token_id: int = row["id"]
    return token_id


class TestList:
    async def test_the_configured_token_is_listed_as_such(self, mvp: httpx.AsyncClient) -> None:
        body = (await mvp.get(TOKENS)).json()
        (token,) = body["items"]
        assert (token["id"], token["name"], token["prefix"]) == (1, "API_TOKEN", "API_TOKEN")
        assert (token["from_configuration"], token["expires_at"]) == (True, None)
        assert body["next_cursor"] is None

    async def test_only_what_is_ones_own_and_alive(self, service: Service, user: int) -> None:
        other = add_user(service.url, f"beside{user}@example.test", role="owner")
        add_token(service.url, other)
        add_token(service.url, user, revoked=True)
        mine = [add_token(service.url, user) for _ in range(3)]
        items = (await page(service, mine[0]))["items"]
        assert [item["id"] for item in items] == [id_of(service.url, token) for token in reversed(mine)]

    async def test_a_client_that_pages_sees_each_once(self, service: Service, user: int) -> None:
        reader = add_token(service.url, user, ["read"])
        there = [id_of(service.url, reader), *(id_of(service.url, add_token(service.url, user)) for _ in range(6))]
        seen, cursor = [], None
        for _ in range(len(there)):
            body = await page(service, reader, limit=2, **({"cursor": cursor} if cursor else {}))
            seen += [item["id"] for item in body["items"]]
            add_token(service.url, user)
            cursor = body["next_cursor"]
            if cursor is None:
                break
        assert seen == sorted(there, reverse=True)

    async def test_what_is_revoked_meanwhile_is_no_stumbling_block(self, service: Service, user: int) -> None:
        reader = add_token(service.url, user, ["read"])
        there = [id_of(service.url, add_token(service.url, user)) for _ in range(4)]
        first = await page(service, reader, limit=2)
        execute(service.url, "UPDATE api_tokens SET revoked_at = now() WHERE id = ANY(:ids)", ids=there[1:3])
        second = await page(service, reader, limit=2, cursor=first["next_cursor"])
        assert [item["id"] for item in first["items"]] == [there[3], there[2]]
        assert [item["id"] for item in second["items"]] == [there[0], id_of(service.url, reader)]
        assert second["next_cursor"] is None

    @pytest.mark.parametrize(
        ("params", "pointer"),
        [
            ({"limit": 0}, "query/limit"),
            ({"limit": 201}, "query/limit"),
            ({"limit": "many"}, "query/limit"),
            ({"cursor": "nonsense"}, "query/cursor"),
            ({"cursor": ""}, "query/cursor"),
            ({"cursor": "a\0b"}, "query/cursor"),
        ],
    )
    async def test_pages_there_are_not(self, service: Service, params: dict[str, Any], pointer: str) -> None:
        answer = await service.client.get(TOKENS, headers=bearer(), params=params)
        assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (422, [pointer])

    async def test_another_users_cursor_shows_nothing_of_theirs(self, service: Service, user: int) -> None:
        mine = [add_token(service.url, user) for _ in range(3)]
        cursor = (await page(service, mine[0], limit=1))["next_cursor"]
        other = add_token(service.url, add_user(service.url, f"beside{user}@example.test"))
        assert (await page(service, other, cursor=cursor))["items"] == []


class TestRevoke:
    async def test_it_is_refused_from_now_on(self, service: Service, user: int) -> None:
        keeper, goer = add_token(service.url, user), add_token(service.url, user)
        goer_id = id_of(service.url, goer)
        answer = await revoke(service, keeper, goer_id)
        assert (answer.status_code, answer.content) == (204, b"")
        refused = await service.client.get(TOKENS, headers=bearer(goer))
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, INVALID)
        assert (await revoke(service, keeper, goer_id)).status_code == 404
        assert goer_id not in [item["id"] for item in (await page(service, keeper))["items"]]
        (row,) = execute(service.url, "SELECT revoked_at FROM api_tokens WHERE id = :id", id=goer_id)
        assert row["revoked_at"] is not None

    async def test_a_token_can_revoke_itself(self, service: Service, user: int) -> None:
        token = add_token(service.url, user, ["write"])
        assert (await revoke(service, token, id_of(service.url, token))).status_code == 204
        assert (await revoke(service, token, id_of(service.url, token))).status_code == 401

    async def test_a_read_token_cannot(self, service: Service, user: int) -> None:
        reader, other = add_token(service.url, user, ["read"]), add_token(service.url, user)
        answer = await revoke(service, reader, id_of(service.url, other))
        assert (answer.status_code, answer.headers["www-authenticate"]) == (403, insufficient("write"))
        assert (await page(service, other))["items"]

    @pytest.mark.parametrize("role", ["owner", "member"])
    async def test_anothers_is_not_there(self, service: Service, user: int, role: str) -> None:
        theirs = add_token(service.url, user)
        other = add_token(service.url, add_user(service.url, f"{role}{user}@example.test", role=role))
        foreign = await revoke(service, other, id_of(service.url, theirs))
        missing = await revoke(service, other, 2_000_000_000)
        assert foreign.status_code == missing.status_code == 404
        assert foreign.json() | {"request_id": ""} == missing.json() | {"request_id": ""}
        assert (await page(service, theirs))["items"]

    @pytest.mark.parametrize(
        ("token_id", "status"),
        [
            (0, 404),
            (-1, 404),
            (2**31 - 1, 404),
            (2**31, 404),
            (2**63, 404),
            (10**40, 404),
            ("9" * 5000, 404),
            ("abc", 422),
            ("1.0", 422),
            ("1e3", 422),
            ("0x1", 422),
            ("1_000", 422),
            ("%D9%A1", 422),
            ("1%00", 422),
            ("%201", 422),
            ("null", 422),
        ],
    )
    async def test_ids_nothing_can_have(self, service: Service, token_id: Any, status: int) -> None:
        answer = await revoke(service, add_token(service.url, 1), token_id)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await service.client.delete(f"{TOKENS}/{token_id}")).status_code == 401

    async def test_the_configured_token_stays(self, mvp: httpx.AsyncClient, clone_url: str) -> None:
        script = add_token(clone_url, 1)
        for credential in ({}, bearer(script)):
            answer = await mvp.delete(f"{TOKENS}/1", headers=credential)
            assert (answer.status_code, answer.json()["code"]) == (409, "configured_token")
        assert (await mvp.get(TOKENS)).status_code == 200

    async def test_of_two_at_the_same_moment_one_succeeds(self, service: Service, user: int) -> None:
        keeper, goer = add_token(service.url, user), add_token(service.url, user)
        goer_id = id_of(service.url, goer)
        answers = await asyncio.gather(*(revoke(service, keeper, goer_id) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [204] + [404] * 7

    async def test_one_token_cannot_be_read_or_changed(self, service: Service) -> None:
        for method in ("GET", "PUT", "PATCH", "POST"):
            answer = await service.client.request(method, f"{TOKENS}/1", headers=bearer())
            assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE")
