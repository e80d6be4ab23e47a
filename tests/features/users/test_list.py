"""`GET /api/users` and `GET /api/users/{id}`: everybody's accounts, for owners."""

from typing import Any

import pytest

from tests.features.users.support import ME, OWNER, USERS, faults, refusal
from tests.support.identity import Service, add_token, add_user, execute
from tests.support.service import bearer

pytestmark = pytest.mark.anyio


async def listed(service: Service, **params: Any) -> list[dict[str, Any]]:
    answer = await service.client.get(USERS, headers=OWNER, params=params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def found(service: Service, **params: Any) -> list[int]:
    return [user["id"] for user in await listed(service, **params)]


def add(service: Service, email: str, **columns: Any) -> int:
    user_id = add_user(service.url, email)
    for name, value in columns.items():
        execute(service.url, f"UPDATE users SET {name} = :value WHERE id = :id", value=value, id=user_id)
    return user_id


async def test_newest_first_and_each_as_its_user_sees_it(service: Service) -> None:
    ids = [add(service, f"order{number}@example.test", password_hash="$argon2id$x") for number in range(3)]
    users = (await listed(service))[:3]
    assert [user["id"] for user in users] == ids[::-1]
    mine = await service.client.get(ME, headers=bearer(add_token(service.url, ids[2], ["read"])))
    one = await service.client.get(f"{USERS}/{ids[2]}", headers=OWNER)
    assert users[0] == mine.json() == one.json()
    assert users[0]["has_password"] is True
    assert "argon2" not in str(users)


async def test_pages(service: Service) -> None:
    there = [add(service, f"page{number}@pages.test") for number in range(5)]
    seen: list[int] = []
    cursor: str | None = None
    for _ in range(3):
        params = {"q": "@pages.test", "limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = (await service.client.get(USERS, headers=OWNER, params=params)).json()
        add(service, f"late{len(seen)}@pages.test")
        seen += [user["id"] for user in answer["items"]]
        cursor = answer["next_cursor"]
    assert (seen, cursor) == (there[::-1], None)


@pytest.fixture(scope="module")
def ids(service: Service) -> dict[str, int]:
    return {
        "ann": add(service, "Ann.Lee@Search.test", username="annie", full_name="Ann 100% Lee"),
        "bob": add(service, "bob_b@search.test", full_name="Robert \\ Straße"),
        "eve": add(service, "grün@search.test", username="Eve.X", full_name="O'Neil; --", is_active=False),
        "zoe": add(service, "zoe@search.test", role="beta_tester"),
    }


class TestSearch:
    @pytest.mark.parametrize(
        ("q", "who"),
        [
            ("search.test", "zoe eve bob ann"),
            ("SEARCH.TEST", "zoe eve bob ann"),
            ("ann.lee@search.test", "ann"),
            ("ANNIE", "ann"),
            ("100%", "ann"),
            ("%", "ann"),
            ("bob_b", "bob"),
            ("_b@", "bob"),
            ("b_", "bob"),
            ("\\", "bob"),
            ("STRASSE", "bob"),
            ("straße", "bob"),
            ("ｂｏｂ", "bob"),  # noqa: RUF001 - full width
            ("GRÜN", "eve"),
            ("gru\u0308n", "eve"),
            ("o'neil; --", "eve"),
            ("eve.x", "eve"),
            ("anQlee", ""),
            ("b.b@search", ""),
            (".*", ""),
            ("' OR 1=1 --", ""),
            ("x" * 5000, ""),
        ],
    )
    async def test_a_part_of_any_name(self, service: Service, ids: dict[str, int], q: str, who: str) -> None:
        assert await found(service, q=q) == [ids[name] for name in who.split()]

    async def test_nothing_is_a_part_of_everything(self, service: Service) -> None:
        assert await found(service, q="") == await found(service)

    @pytest.mark.parametrize(
        ("params", "who"),
        [
            ({"role": "member"}, "eve bob ann"),
            ({"role": "beta_tester"}, "zoe"),
            ({"role": "MEMBER"}, ""),
            ({"role": ""}, ""),
            ({"role": "mem%"}, ""),
            ({"is_active": "true"}, "zoe bob ann"),
            ({"is_active": "false"}, "eve"),
            ({"is_active": "true", "role": "member"}, "bob ann"),
        ],
    )
    async def test_filters(self, service: Service, ids: dict[str, int], params: dict[str, str], who: str) -> None:
        assert await found(service, q="search.test", **params) == [ids[name] for name in who.split()]


@pytest.mark.parametrize(
    ("params", "pointer", "code"),
    [
        ({"q": "a\0b"}, "query/q", "nul_character"),
        ({"role": "\0"}, "query/role", "nul_character"),
        ({"is_active": "maybe"}, "query/is_active", "bool_parsing"),
        ({"is_active": ""}, "query/is_active", "bool_parsing"),
        ({"limit": "0"}, "query/limit", "greater_than_equal"),
        ({"limit": "201"}, "query/limit", "less_than_equal"),
        ({"cursor": "x"}, "query/cursor", "invalid_cursor"),
    ],
)
async def test_queries_that_do_not_fit(service: Service, params: dict[str, str], pointer: str, code: str) -> None:
    answer = await service.client.get(USERS, headers=OWNER, params=params)
    assert faults(answer) == [(pointer, code)]


class TestUsersThereAreNot:
    @pytest.mark.parametrize(
        ("user_id", "status"),
        [("0", 404), ("-1", 404), ("2147483648", 404), ("9" * 5000, 404), ("x", 422), ("1.0", 422), ("1%00", 422)],
    )
    async def test_ids_nobody_can_have(self, service: Service, user_id: str, status: int) -> None:
        answer = await service.client.get(f"{USERS}/{user_id}", headers=OWNER)
        assert refusal(answer) == (status, "not_found" if status == 404 else "validation_failed")

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("GET", "/sessions"),
            ("DELETE", "/sessions"),
            ("POST", "/password-reset"),
        ],
    )
    async def test_an_id_nobody_has(self, service: Service, method: str, path: str) -> None:
        body = {"full_name": "x"} if method == "PATCH" else None
        answer = await service.client.request(method, f"{USERS}/2000000000{path}", headers=OWNER, json=body)
        assert refusal(answer) == (404, "not_found")
