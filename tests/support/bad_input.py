"""Sends one operation whatever is to be sent, and sees to it that the answer is one that clients can rely on."""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from tests.support.people import Person
from tests.support.service import MVP_TOKEN, bearer
from tests.support.surface import JSON, Operation

PROBLEM = "application/problem+json"
SECRET, PLAIN = "Password4711", "Plain4711"
"""In all that is sent where a secret belongs, or where nothing does; and elsewhere."""


class Sender:
    """Sends what may be anything to one operation, as somebody with every permission, and reads what is answered."""

    def __init__(self, client: httpx.AsyncClient, operation: Operation, owner: Person) -> None:
        self.client = client
        self.operation = operation
        self.path = operation.path.format_map(owner.ids)
        self.headers = bearer(MVP_TOKEN if operation.permission == "claim" else owner.access_token)

    async def send(self, content: bytes, media_type: str | None = JSON) -> httpx.Response:
        headers: Any = self.headers | ({"Content-Type": media_type.encode("latin-1")} if media_type else {})
        return checked(await self.client.request(self.operation.method, self.path, headers=headers, content=content))

    async def send_fields(self, fields: dict[str, str], media_type: str | None = JSON) -> httpx.Response:
        """As JSON, each value as it is written there; in a list of one, where the operation takes a list."""
        members = (f"{json.dumps(name)}: {literal}" for name, literal in fields.items())
        body = f"{{{', '.join(members)}}}"
        return await self.send((f"[{body}]" if self.operation.takes_a_list else body).encode(), media_type)

    async def send_to(self, url: str, headers: Mapping[str, bytes] | None = None) -> httpx.Response:
        """Without a body."""
        every: Any = self.headers | {**(headers or {})}
        return checked(await self.client.request(self.operation.method, url, headers=every))


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is one that a client can rely on."""
    assert answer.status_code < 500, answer.text
    assert SECRET.lower() not in f"{answer.text} {answer.headers}".lower()
    if answer.is_success:
        return answer
    body = answer.json()
    if answer.url.path == "/api/auth/token" and answer.status_code != 413:
        assert answer.headers["content-type"] == JSON
        assert answer.status_code in {400, 429}
        assert body.keys() == {"error", "error_description"}
    else:
        assert answer.headers["content-type"] == PROBLEM
        assert body["status"] == answer.status_code
        assert body["detail"]
    return answer


def pointers(answer: httpx.Response) -> list[str]:
    """Where a 422 says the request does not fit."""
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


def is_about(answer: httpx.Response, field: str) -> bool:
    """Whether a 422 speaks of the field, of something in it, or of the body as a whole."""
    return any(pointer == "" or field in pointer.split("/") for pointer in pointers(answer))
