"""Callers of the API of order templates, and the rows behind it."""

import asyncio
import json
from itertools import count
from typing import Any, NamedTuple

import httpx

from tests.support.identity import SCOPES, Service, add_token, add_user, execute
from tests.support.service import bearer

TEMPLATES = "/api/order-templates"
GOOD = {"name": "dip", "symbol": "AAPL", "side": "buy", "quantity": "10", "order_type": "market"}
PRICES = ("limit_price", "stop_price")
PRICES_OF = {"market": (), "limit": ("limit_price",), "stop": ("stop_price",), "stop_limit": PRICES}

NO_ID = 2**31 - 1
_NO_BODY: Any = object()
_NUMBERS = count(1)


class Caller(NamedTuple):
    """A user with an API token; nobody else has templates of theirs."""

    service: Service
    id: int
    headers: dict[str, str]

    async def send(self, method: str, path: str | int = "", body: Any = _NO_BODY, **params: Any) -> httpx.Response:
        """`body` as JSON; bytes are sent as they are."""
        url = f"{TEMPLATES}/{path}" if path else TEMPLATES
        headers, content = self.headers, None
        if body is not _NO_BODY:
            headers = headers | {"Content-Type": "application/json"}
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.service.client.request(method, url, headers=headers, params=params, content=content)

    async def post(self, body: Any) -> httpx.Response:
        return await self.send("POST", body=body)

    async def patch(self, number: int, body: Any) -> httpx.Response:
        return await self.send("PATCH", number, body)

    async def use(self, number: int, body: Any = _NO_BODY) -> httpx.Response:
        return await self.send("POST", f"{number}/use", body)

    async def adopt(self, ids: Any) -> httpx.Response:
        return await self.send("POST", "adopt", {"ids": ids})

    async def create(self, **more: Any) -> dict[str, Any]:
        return good(await self.post(GOOD | more), 201)

    async def read(self, number: int, **params: Any) -> dict[str, Any]:
        return good(await self.send("GET", number, **params))

    async def listed(self, **params: Any) -> list[int]:
        """The ids on a page."""
        return [item["id"] for item in good(await self.send("GET", **params))["items"]]

    def add(self, **columns: Any) -> int:
        return add_row(self.service.url, self.id, **columns)

    def rows(self) -> list[str]:
        """All there are, as text, by their ids."""
        rows = "SELECT row::text AS row FROM order_templates AS row WHERE user_id = :id ORDER BY row.id"
        return [each["row"] for each in execute(self.service.url, rows, id=self.id)]


def new_caller(service: Service, role: str = "member", scopes: tuple[str, ...] = SCOPES) -> Caller:
    user_id = add_user(service.url, f"caller{next(_NUMBERS)}@example.test", role=role)
    return Caller(service, user_id, bearer(add_token(service.url, user_id, scopes)))


def another_token(caller: Caller, *scopes: str) -> Caller:
    """The same user, with a token of these scopes."""
    return caller._replace(headers=bearer(add_token(caller.service.url, caller.id, scopes)))


def good(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    """The body of an answer that has this status."""
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def add_row(url: str, user_id: int | None, **columns: Any) -> int:
    """A row as any deployment may hold it; its id."""
    values = GOOD | {"user_id": user_id} | columns
    (row,) = execute(
        url,
        f"INSERT INTO order_templates ({', '.join(values)}, created_at, updated_at) "
        f"VALUES ({', '.join(f':{name}' for name in values)}, timezone('utc', now()), timezone('utc', now())) "
        "RETURNING id",
        **values,
    )
    number: int = row["id"]
    return number


def stored(url: str, number: int) -> str:
    """The row, as text."""
    (row,) = execute(url, "SELECT row::text AS row FROM order_templates AS row WHERE id = :id", id=number)
    text: str = row["row"]
    return text


def spelled(body: dict[str, Any], **literals: str) -> bytes:
    """JSON, these members as they are written here."""
    rest = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in body.items() if name not in literals)
    written = (f"{json.dumps(name)}: {literal}" for name, literal in literals.items())
    return f"{{{', '.join([*rest, *written])}}}".encode()


async def until_blocked(url: str, number: int = 1) -> None:
    """Return once so many connections wait for a lock."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    for _ in range(500):
        if len(execute(url, waiting)) == number:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not {number} wait")
