"""URLs and forms that hold anything at all are answered in the API's terms, and no secret in them is repeated."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.support.accounts import quick_sign_ins
from tests.support.bad_input import SECRET, Sender, pointers
from tests.support.identity import Service, execute
from tests.support.people import NO_ID, Person, add_person
from tests.support.surface import FORM, JSON, OPERATIONS, Operation

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TEXTS = {
    "nothing": "",
    "blank": "%20",
    "long": SECRET * 2_500,
    "NUL": f"{SECRET}%00",
    "surrogate": "%ED%A0%80",
    "no UTF-8": "%FF%FE",
    "broken escape": "%zz%2",
    "emoji": quote("\U0001f600\U0001f468\u200d\U0001f469"),
    "right to left": quote("\u202e1\u202c"),
    "other digits": quote("\u0661\u0662"),
    "null": "null",
    "true": "true",
    "negative": "-1",
    "zero": "0",
    "fraction": "1.5",
    "huge": "9" * 30,
    "endless": "9" * 5000,
    "1e400": "1e400",
    "NaN": "NaN",
    "underscore": "1_0",
    "list": quote('["read"]'),
    "object": quote('{"a": 1}'),
    "SQL": quote("1' OR '1'='1' --"),
    "up": quote("../../users", safe=""),
    "a time": quote("2030-01-01T00:00:00Z"),
    "the end of time": quote("9999-12-31T23:59:59-14:00"),
    "the beginning of time": quote("0001-01-01T00:00:00+14:00"),
}
"""As they are written in a URL or a form."""

HEADERS = {
    "nothing": b"",
    "blank": b" ",
    "short": b"x",
    "text": SECRET.encode(),
    "long": b"x" * 255,
    "too long": SECRET.encode() * 2_500,
    "two words": b"one two",
    "control characters": b"a\x00\x1b\x7f",
    "UTF-8": "\U0001f600".encode(),
    "no UTF-8": b"\xff\xfe",
}


@pytest.fixture(scope="module")
def owner(service: Service) -> Iterator[Person]:
    with quick_sign_ins():
        yield add_person(service, "eve", "owner")


@pytest.fixture(autouse=True)
def nobody_has_failed_before(service: Service) -> None:
    execute(service.url, "DELETE FROM throttled_keys")


@pytest.mark.parametrize(
    ("operation", "name"), [(operation, name) for operation in OPERATIONS for name in operation.query], ids=str
)
async def test_query_parameters(service: Service, owner: Person, operation: Operation, name: str) -> None:
    sender = Sender(service.client, operation, owner)
    for what, text in TEXTS.items():
        answer = await sender.send_to(f"{sender.path}?{name}={text}")
        assert answer.status_code in {200, 404, 422}, what
        if answer.status_code == 422:
            assert pointers(answer) == [f"query/{name}"]
    await sender.send_to(f"{sender.path}?{name}=1&{name}[]=2&{name}=%FF")


@pytest.mark.parametrize(
    ("operation", "name"), [(operation, name) for operation in OPERATIONS for name in operation.headers], ids=str
)
async def test_headers(service: Service, owner: Person, operation: Operation, name: str) -> None:
    sender = Sender(service.client, operation, owner)
    for what, text in HEADERS.items():
        fits = Draft202012Validator(operation.headers[name]).is_valid(text.decode("latin-1"))
        named = f"header/{name}" in pointers(await sender.send_to(sender.path, {name: text}))
        assert named is not fits, what


@pytest.mark.parametrize(
    ("operation", "name"), [(operation, name) for operation in OPERATIONS for name in operation.ids], ids=str
)
async def test_path_parameters(service: Service, owner: Person, operation: Operation, name: str) -> None:
    sender = Sender(service.client, operation, owner)
    good = dict.fromkeys(operation.ids, str(NO_ID))
    for what, text in TEXTS.items():
        answer = await sender.send_to(operation.path.format_map(good | {name: text}))
        assert answer.status_code in {404, 405, 422}, what


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        (operation, field)
        for operation in OPERATIONS
        if operation.media_type == FORM
        for (body,) in [operation.objects]
        for field in body["properties"]
    ],
    ids=str,
)
async def test_forms(service: Service, owner: Person, operation: Operation, field: str) -> None:
    sender = Sender(service.client, operation, owner)
    for grant_type in ("password", "refresh_token"):
        good = {"grant_type": grant_type} | dict.fromkeys(("username", "password", "refresh_token"), SECRET)
        for text in TEXTS.values():
            fields = good | {field: text}
            content = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
            assert not (await sender.send(content, FORM)).is_success
            assert not (await sender.send(content + b"&" + content, FORM)).is_success
            assert not (await sender.send(content, JSON)).is_success
