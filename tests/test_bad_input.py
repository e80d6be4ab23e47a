"""Bodies that are not what the OpenAPI document asks for are refused, and no secret in them is repeated."""

import json
from collections.abc import Iterator

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.support.accounts import quick_sign_ins
from tests.support.bad_input import PLAIN, SECRET, Sender, is_about, pointers
from tests.support.identity import Service, execute
from tests.support.people import Person, add_person
from tests.support.surface import FORM, JSON, OPERATIONS, Operation, Schema

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LITERALS = {
    "empty": '""',
    "blank": '" \\t\\n"',
    "long": f'"{SECRET * 10_000}"',
    "text": f'"{SECRET}{SECRET}"',
    "NUL": f'"{SECRET}\\u0000"',
    "unpaired surrogate": f'"{SECRET}\\ud800"',
    "surrogates in the wrong order": '"\\udc00\\ud800 0123456789"',
    "emoji": '"\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467"',
    "right to left": '"\u202eexe.name\u202c"',
    "marks": '"' + "e" + "\u0301" * 200 + '"',
    "null": "null",
    "true": "true",
    "zero": "0",
    "fraction": "-1.5",
    "huge": "9" * 30,
    "endless": "9" * 5000,
    "1e400": "1e400",
    "NaN": "NaN",
    "-Infinity": "-Infinity",
    "list": f'["{SECRET}"]',
    "object": f'{{"{SECRET}": "{SECRET}"}}',
    "deep": "[" * 1000 + "]" * 1000,
    "NUL deep down": '{"a": [{"\\u0000": 1}]}',
    "NaN deep down": '{"a": [{"b": NaN}]}',
    "1e400 deep down": '{"a": {"b": 1e400}}',
}
"""As they are written in JSON, or in what Python's parser takes for it."""

NEVER = {name for name in LITERALS if any(word in name for word in ("NUL", "surrogate", "1e400", "NaN", "Infinity"))}
"""What neither JSON nor PostgreSQL can hold."""

SECRETS = {"password", "current_password", "new_password", "token", "refresh_token", "invitation"}

GOOD = {
    "username": '"nobody"',
    "full_name": '"Name"',
    "email": '"name@people.test"',
    "role": '"member"',
    "name": '"name"',
    "scopes": '["read"]',
    "symbol": '"AAPL"',
    "side": '"buy"',
    "quantity": "1",
    "order_type": '"market"',
    "recommendation_type": '"buy"',
    "confidence_score": "60",
    "execution_price": "1",
    "actual_pnl": "1",
    "ids": "[2147483647]",
} | dict.fromkeys(SECRETS, f'"{SECRET}{SECRET}"')
"""Passwords are wrong, or too weak to be hashed; tokens are none."""


@pytest.fixture(scope="module")
def owner(service: Service) -> Iterator[Person]:
    with quick_sign_ins():
        yield add_person(service, "eve", "owner")


@pytest.fixture(autouse=True)
def nobody_has_failed_before(service: Service) -> None:
    execute(service.url, "DELETE FROM throttled_keys")


def fits(literal: str, schema: Schema) -> bool:
    """As the document has it; formats are left to the service."""
    try:
        value = json.loads(literal)
    except (ValueError, RecursionError):
        return False
    valid: bool = Draft202012Validator(schema).is_valid(value)
    return valid


def required(body: Schema) -> dict[str, str]:
    constants = {name: json.dumps(field["const"]) for name, field in body["properties"].items() if "const" in field}
    return {field: (GOOD | constants)[field] for field in body.get("required", [])}


TAKES_JSON = [operation for operation in OPERATIONS if operation.media_type == JSON]


@pytest.mark.parametrize(
    ("operation", "body", "field"),
    [
        pytest.param(operation, body, field, id=f"{operation} {body['title']} {field}")
        for operation in TAKES_JSON
        for body in operation.objects
        for field in body["properties"]
    ],
)
async def test_fields(service: Service, owner: Person, operation: Operation, body: Schema, field: str) -> None:
    sender = Sender(service.client, operation, owner)
    good = required(body)
    for name, written in LITERALS.items():
        literal = written if field in SECRETS else written.replace(SECRET, PLAIN)
        answer = await sender.send_fields(good | {field: literal})
        if name in NEVER or not fits(literal, body["properties"][field]):
            assert is_about(answer, field), name
    if field in good:
        rest = {name: literal for name, literal in good.items() if name != field}
        assert pointers(await sender.send_fields(rest)) == [f"/0/{field}" if operation.takes_a_list else f"/{field}"]


@pytest.mark.parametrize("operation", TAKES_JSON, ids=str)
async def test_bodies(service: Service, owner: Person, operation: Operation) -> None:
    sender = Sender(service.client, operation, owner)
    good = required(operation.objects[0])
    for literal in LITERALS.values():
        assert is_about(await sender.send_fields(good | {"unknown": literal}), "unknown")
        if not literal.startswith("[" if operation.takes_a_list else "{") and not fits(literal, operation.body):
            assert pointers(await sender.send(literal.encode())) == [""]
    many = good | {f"unknown{number}": "0" for number in range(10_000)}
    assert pointers(await sender.send_fields(many))
    assert fits("null", operation.body) or pointers(await sender.send(b""))
    for content in (b"{", b'{"a": 1,}', b"{'a': 1}", b"\xff", b'{"\xed\xa0\x80": 1}', b"{}{}"):
        assert pointers(await sender.send(content))
    assert (await sender.send(b'{"unknown": "' + b"x" * (11 * 1024 * 1024 // 10) + b'"}')).status_code == 413


@pytest.mark.parametrize("operation", TAKES_JSON, ids=str)
@pytest.mark.parametrize("media_type", [None, "text/plain", FORM, "multipart/form-data", "\xff", "x" * 5000])
async def test_media_types(service: Service, owner: Person, operation: Operation, media_type: str | None) -> None:
    sender = Sender(service.client, operation, owner)
    assert pointers(await sender.send_fields(required(operation.objects[0]), media_type)) == [""]
