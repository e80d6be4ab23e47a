"""The activity log over HTTP: everybody's, and one's own."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from app.identity.activity import Action
from tests.features.activity.rows import LONG_AGO, add_row
from tests.support.identity import Service, add_token, add_user, execute, insufficient
from tests.support.service import bearer

pytestmark = pytest.mark.anyio

LOG = "/api/activity"
OWN = "/api/users/me/activity"
SECOND = timedelta(seconds=1)


@pytest.fixture
async def user(service: Service) -> int:
    """Somebody of whom no row tells yet."""
    (row,) = execute(service.url, "SELECT max(id) AS last FROM users")
    return add_user(service.url, f"user{row['last']}@example.test")


async def get(service: Service, path: str = LOG, token: str | None = None, **params: Any) -> httpx.Response:
    return await service.client.get(path, headers=bearer(token) if token else bearer(), params=params)


async def items(service: Service, path: str = LOG, token: str | None = None, **params: Any) -> list[dict[str, Any]]:
    answer = await get(service, path, token, **params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def ids(service: Service, path: str = LOG, token: str | None = None, **params: Any) -> list[int]:
    return [item["id"] for item in await items(service, path, token, **params)]


FULL: dict[str, Any] = {
    "user_email": "ann@then.example.test",
    "actor_id": 2_000_000_000,
    "actor_email": "owner@example.test",
    "actor_kind": "session",
    "resource_type": "token",
    "resource_id": 17,
    "details": {"scopes": ["read"]},
    "ip_address": "192.0.2.1",
    "user_agent": "Gerät/1.0",
    "request_id": "a.request-id",
}


class TestARow:
    async def test_says_all_there_is(self, service: Service, user: int) -> None:
        row = add_row(service.url, "token_created", user_id=user, **FULL)
        expected = {"id": row, "timestamp": "2001-02-03T04:05:06.789012Z", "action": "token_created", "user_id": user}
        assert await items(service, user_id=user) == [expected | FULL]

    async def test_of_an_older_deployment(self, service: Service, user: int) -> None:
        row = add_row(service.url, "LOGIN", user_id=user, details=["any", "JSON", None])
        (item,) = await items(service, user_id=user)
        assert (item["id"], item["action"], item["details"]) == (row, "LOGIN", ["any", "JSON", None])
        assert all(
            value is None
            for name, value in item.items()
            if name not in {"id", "action", "details", "timestamp", "user_id"}
        )

    async def test_stays_when_its_account_is_deleted(self, service: Service, user: int) -> None:
        row = add_row(service.url, user_id=user, user_email="gone@example.test")
        execute(service.url, "DELETE FROM users WHERE id = :id", id=user)
        assert [(item["id"], item["user_email"]) for item in await items(service, user_id=user)] == [
            (row, "gone@example.test")
        ]


class TestFilters:
    async def test_by_account(self, service: Service, user: int) -> None:
        mine = add_row(service.url, user_id=user)
        nobodys = add_row(service.url, "sign_in_failed")
        assert await ids(service, user_id=user) == [mine]
        assert nobodys in await ids(service, until=(LONG_AGO + SECOND).isoformat(), limit=200)
        assert await ids(service, user_id=2**31 - 1) == []

    async def test_by_action(self, service: Service, user: int) -> None:
        added = {action: add_row(service.url, action, user_id=user) for action in Action}
        for action in Action:
            assert await ids(service, user_id=user, action=action) == [added[action]]

    async def test_since_is_the_first_moment_and_until_the_first_one_past(self, service: Service, user: int) -> None:
        before, at, after = (add_row(service.url, user_id=user, after=number * SECOND) for number in (-1, 0, 1))
        moment = LONG_AGO.isoformat()
        assert await ids(service, user_id=user, since=moment) == [after, at]
        assert await ids(service, user_id=user, until=moment) == [before]
        assert await ids(service, user_id=user, since=moment, until=moment) == []
        assert await ids(service, user_id=user, since=moment, until="2001-02-03T04:05:07Z") == [at]

    @pytest.mark.parametrize("moment", ["2001-02-03T04:05:06.789012Z", "2001-02-03T09:35:06.789012+05:30"])
    async def test_moments_have_an_offset(self, service: Service, user: int, moment: str) -> None:
        row = add_row(service.url, user_id=user)
        assert await ids(service, user_id=user, since=moment) == [row]
        assert await ids(service, user_id=user, until=moment) == []

    async def test_all_of_them_together(self, service: Service, user: int) -> None:
        wanted = add_row(service.url, "claimed", user_id=user)
        for action, after in (("claimed", -SECOND), ("claimed", SECOND), ("registered", 0 * SECOND)):
            add_row(service.url, action, user_id=user, after=after)
        add_row(service.url, "claimed")
        moments = {"since": LONG_AGO.isoformat(), "until": (LONG_AGO + SECOND).isoformat()}
        assert await ids(service, user_id=user, action="claimed", **moments) == [wanted]
        assert wanted in await ids(service, action="claimed", **moments)

    @pytest.mark.parametrize("path", [LOG, OWN])
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("action", "LOGIN"),
            ("action", ""),
            ("action", "signed_in\0"),
            ("since", "2001-02-03T04:05:06"),
            ("since", "2001-02-03"),
            ("since", "0"),
            ("until", "yesterday"),
            ("until", ""),
            ("until", "9999-12-31T23:59:59-12:00"),
            ("until", "2001-02-03T04:05:06 00:00"),
            ("limit", "201"),
            ("cursor", "nonsense"),
        ],
    )
    async def test_what_cannot_be_filtered_by(self, service: Service, path: str, name: str, value: str) -> None:
        answer = await get(service, path, **{name: value})
        assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (422, [f"query/{name}"])

    @pytest.mark.parametrize(("user_id", "status"), [(0, 404), (2**31, 404), ("one", 422), ("", 422), ("1\0", 422)])
    async def test_accounts_nobody_has(self, service: Service, user_id: Any, status: int) -> None:
        assert (await get(service, user_id=user_id)).status_code == status


class TestPages:
    async def test_are_in_the_order_of_time_not_of_ids(self, service: Service, user: int) -> None:
        late, early = (add_row(service.url, user_id=user, after=after) for after in (SECOND, -SECOND))
        tied = [add_row(service.url, user_id=user) for _ in range(3)]
        assert await ids(service, user_id=user) == [late, *reversed(tied), early]

    @pytest.mark.parametrize("path", [LOG, OWN])
    async def test_show_each_row_once_while_others_come(self, service: Service, user: int, path: str) -> None:
        token = add_token(service.url, user, ["read"]) if path == OWN else None
        mine = {} if path == OWN else {"user_id": user}
        there = [add_row(service.url, user_id=user, after=number // 3 * SECOND) for number in range(7)]
        seen: list[int] = []
        cursor: dict[str, str] = {}
        for _ in there:
            body = (await get(service, path, token, limit=2, **mine, **cursor)).json()
            seen += [item["id"] for item in body["items"]]
            add_row(service.url, user_id=user, after=timedelta(days=1))
            if body["next_cursor"] is None:
                break
            cursor = {"cursor": body["next_cursor"]}
        assert seen == sorted(there, reverse=True)

    async def test_of_a_filtered_list_stay_filtered(self, service: Service, user: int) -> None:
        rows = [add_row(service.url, action, user_id=user) for action in ("claimed", "registered") * 3]
        first = (await get(service, user_id=user, action="claimed", limit=2)).json()
        second = (await get(service, user_id=user, action="claimed", limit=2, cursor=first["next_cursor"])).json()
        assert [item["id"] for item in first["items"] + second["items"]] == rows[4::-2]
        assert second["next_cursor"] is None

    async def test_another_lists_cursor_is_none_of_this(self, service: Service, user: int) -> None:
        token = add_token(service.url, user)
        for _ in range(2):
            add_row(service.url, user_id=user)
            add_token(service.url, user)
        for one, other in pairwise((OWN, "/api/tokens", OWN)):
            cursor = (await get(service, one, token, limit=1)).json()["next_cursor"]
            assert cursor
            answer = await get(service, other, token, cursor=cursor)
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "invalid_cursor")


class TestOnesOwn:
    async def test_only_what_tells_of_oneself(self, service: Service, user: int) -> None:
        other = add_user(service.url, f"beside{user}@example.test")
        add_row(service.url, user_id=other, actor_id=user)
        add_row(service.url, actor_id=user)
        mine = add_row(service.url, user_id=user)
        token = add_token(service.url, user, ["read"])
        assert await ids(service, OWN, token) == [mine]
        assert await ids(service, OWN, token, user_id=other) == [mine]

    async def test_what_one_did_oneself_is_told_in_full(self, service: Service, user: int) -> None:
        add_row(service.url, user_id=user, **FULL | {"actor_id": user})
        (item,) = await items(service, OWN, add_token(service.url, user))
        assert item.items() >= (FULL | {"actor_id": user}).items()

    async def test_of_somebody_else_it_is_not_told_who_and_where(self, service: Service, user: int) -> None:
        add_row(service.url, "user_changed", user_id=user, **FULL)
        (item,) = await items(service, OWN, add_token(service.url, user))
        hidden = {"actor_id": None, "actor_email": None, "ip_address": None, "user_agent": None}
        assert item.items() >= (FULL | hidden | {"action": "user_changed"}).items()

    async def test_where_somebody_tried_to_sign_in_is_told(self, service: Service, user: int) -> None:
        nobody = {"actor_id": None, "actor_email": None, "actor_kind": "anonymous"}
        add_row(service.url, "sign_in_failed", user_id=user, **FULL | nobody)
        (item,) = await items(service, OWN, add_token(service.url, user))
        assert item.items() >= (FULL | nobody).items()

    async def test_an_owner_sees_no_more_of_it_there(self, service: Service) -> None:
        add_row(service.url, "claimed", user_id=1, after=timedelta(days=30), **FULL)
        (item,) = await items(service, OWN, until=(LONG_AGO + timedelta(days=31)).isoformat())
        assert (item["actor_id"], item["ip_address"]) == (None, None)


class TestWhoMay:
    async def test_everybodys_needs_admin(self, service: Service, user: int) -> None:
        reader = add_token(service.url, 1, ["read", "write"])
        member = add_token(service.url, user)
        for token in (reader, member):
            answer = await get(service, LOG, token)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (403, insufficient("admin"))
        assert (await get(service, LOG, add_token(service.url, 1, ["admin"]))).status_code == 200

    async def test_ones_own_needs_read(self, service: Service, user: int) -> None:
        answer = await get(service, OWN, add_token(service.url, user, ["write"]))
        assert (answer.status_code, answer.headers["www-authenticate"]) == (403, insufficient("read"))

    @pytest.mark.parametrize("path", [LOG, OWN])
    async def test_nobody_without_a_credential(self, service: Service, path: str) -> None:
        assert (await service.client.get(path)).status_code == 401

    @pytest.mark.parametrize("path", [LOG, OWN])
    async def test_nobody_changes_it(self, service: Service, path: str) -> None:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = await service.client.request(method, path, headers=bearer())
            assert answer.status_code == 405
