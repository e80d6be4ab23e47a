"""Many in one body: a JSON list or a line each, all or none, and every fault pointed at."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from tests.features.recommendations.support import (
    FUTURE,
    GOOD,
    JSON,
    NDJSON,
    PAST,
    Caller,
    another_token,
    good,
    nested,
    new_caller,
    spelled,
)
from tests.support.accounts import faults, refusal
from tests.support.identity import Service, insufficient, statements

pytestmark = pytest.mark.anyio

LINE = json.dumps(GOOD).encode()
BAD = GOOD | {"confidence_score": "101"}
FORMATS = pytest.mark.parametrize("media_type", [JSON, NDJSON])


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


async def upload(caller: Caller, items: Sequence[Any] | bytes, media_type: str = JSON) -> httpx.Response:
    """The items as a list or as lines; bytes are sent as they are."""
    if not isinstance(items, bytes):
        items = json.dumps(items).encode() if media_type == JSON else b"\n".join(json.dumps(i).encode() for i in items)
    return await caller.send(items, {"Content-Type": media_type}, batch=True)


class TestAll:
    @FORMATS
    async def test_each_as_if_it_had_been_posted_alone(self, caller: Caller, media_type: str) -> None:
        more: list[dict[str, Any]] = [
            {"symbol": "brk.b"},
            {"expires_at": FUTURE, "reasoning": "line\u2028separator\x85\x0b", "suggested_entry_price": 0.1},
            {"analysis_data": {"a": [1, {"b": None}]}, "confidence_score": 33.3},
        ]
        answer = await upload(caller, [GOOD | each for each in more], media_type)
        assert good(answer, 201).keys() == {"ids"}
        ids = good(answer, 201)["ids"]
        assert ids == sorted(ids)
        for number, each in zip(ids, more, strict=True):
            alone, here = await caller.create(**each), await caller.read(number)
            own = {name: here[name] for name in ("id", "created_at")}
            assert alone | own == here

    @FORMATS
    @pytest.mark.parametrize("number", [1, 1000])
    async def test_as_many_as_there_may_be(self, service: Service, media_type: str, number: int) -> None:
        uploader = new_caller(service)
        items = [GOOD | {"confidence_score": str(each % 101), "symbol": f"S{each}"} for each in range(number)]
        with statements() as seen:
            ids = good(await upload(uploader, items, media_type), 201)["ids"]
        assert len(ids) == len(set(ids)) == number
        assert len([each for each in seen if "INSERT INTO ai_recommendations" in each]) == 1
        page = good(await uploader.get(limit=200))["items"]
        assert [item["id"] for item in page] == sorted(ids, reverse=True)[:200]
        of_symbol = {item["symbol"]: item["id"] for item in page}
        wanted = {item["symbol"]: each for item, each in zip(items, ids, strict=True)}
        assert of_symbol == {symbol: wanted[symbol] for symbol in of_symbol}

    @pytest.mark.parametrize(
        ("body", "number"),
        [
            (LINE + b"\n", 1),
            (LINE + b"\r\n" + LINE + b"\r\n", 2),
            (b"\n\n" + LINE + b"\n \t\r\n\n" + LINE + b"\n\n", 2),
            (b"  " + LINE + b"\t\n" + LINE, 2),
            (b"\n" * 5000 + LINE, 1),
            (LINE.replace(b", ", b",\r") + b"\r\n" + LINE, 2),
            (json.dumps(GOOD | {"reasoning": "a\u2028b\u2029c\u0085d"}, ensure_ascii=False).encode(), 1),
        ],
    )
    async def test_lines(self, caller: Caller, body: bytes, number: int) -> None:
        assert len(good(await upload(caller, body, NDJSON), 201)["ids"]) == number

    @pytest.mark.parametrize("media_type", ["application/ndjson", "application/jsonl", "Application/X-NDJSON"])
    async def test_other_names_of_lines(self, caller: Caller, media_type: str) -> None:
        assert len(good(await upload(caller, LINE + b"\n" + LINE, media_type), 201)["ids"]) == 2

    async def test_parameters_of_a_content_type(self, caller: Caller) -> None:
        for media_type in (f"{JSON}; charset=utf-8", f"{JSON};charset=UTF-8 ; x=y"):
            good(await upload(caller, json.dumps([GOOD]).encode(), media_type), 201)
        good(await upload(caller, LINE, f'{NDJSON}; charset="utf-8"'), 201)

    async def test_every_digit(self, caller: Caller) -> None:
        line = spelled(GOOD, suggested_entry_price="123456789012345678.123456789", confidence_score="0.1")
        for body, media_type in ((b"[" + line + b"]", JSON), (line, NDJSON)):
            (number,) = good(await upload(caller, body, media_type), 201)["ids"]
            shown = await caller.read(number)
            assert shown["suggested_entry_price"] == "123456789012345678.123456789"
            assert shown["confidence_score"] == "0.1"


class TestNone:
    async def refused(self, caller: Caller, items: Any, media_type: str) -> list[tuple[str, str]]:
        """What was wrong; nothing has come of it."""
        before = caller.rows()
        found = faults(await upload(caller, items, media_type))
        assert caller.rows() == before
        return found

    @FORMATS
    @pytest.mark.parametrize("number", [0, 1001])
    async def test_too_few_or_too_many(self, caller: Caller, media_type: str, number: int) -> None:
        assert await self.refused(caller, [GOOD] * number, media_type) == [("", "wrong_length")]

    @FORMATS
    async def test_one_that_does_not_fit(self, caller: Caller, media_type: str) -> None:
        for place in (0, 2, 999):
            items = [GOOD] * 1000
            items[place] = BAD
            found = await self.refused(caller, items, media_type)
            assert found == [(f"/{place}/confidence_score", "out_of_range")]

    @FORMATS
    async def test_each_fault_is_pointed_at(self, caller: Caller, media_type: str) -> None:
        items = [
            GOOD,
            GOOD | {"symbol": "\uff21APL", "more": 1},
            {"symbol": "AAPL"},
            GOOD | {"analysis_data": {"a/b": ["x\0"]}},
            "text",
            None,
            [],
            BAD,
        ]
        assert await self.refused(caller, items, media_type) == [
            ("/1/symbol", "symbol"),
            ("/1/more", "extra_forbidden"),
            ("/2/recommendation_type", "missing"),
            ("/2/confidence_score", "missing"),
            ("/3/analysis_data/a~1b/0", "nul_character"),
            ("/4", "model_type"),
            ("/5", "model_type"),
            ("/6", "model_type"),
            ("/7/confidence_score", "out_of_range"),
        ]

    @FORMATS
    async def test_what_has_expired(self, caller: Caller, media_type: str) -> None:
        late = GOOD | {"expires_at": PAST}
        items = [GOOD, GOOD | {"expires_at": FUTURE}, late, GOOD, late]
        found = await self.refused(caller, items, media_type)
        assert found == [("/2/expires_at", "in_the_past"), ("/4/expires_at", "in_the_past")]

    @FORMATS
    async def test_not_more_faults_than_one_can_read(self, caller: Caller, media_type: str) -> None:
        found = await self.refused(caller, [BAD] * 1000, media_type)
        assert found == [(f"/{place}/confidence_score", "out_of_range") for place in range(50)]
        assert len(await self.refused(caller, [BAD | {"symbol": "", "more": 1}] * 20, media_type)) == 50

    @pytest.mark.parametrize(
        ("lines", "pointer", "code"),
        [
            ([LINE, b"{", LINE], "/1", "json_invalid"),
            ([b"", LINE, b"", b"not json"], "/3", "json_invalid"),
            ([LINE + LINE], "/0", "json_invalid"),
            ([LINE, LINE + b","], "/1", "json_invalid"),
            ([LINE, b"\xff"], "/1", "json_invalid"),
            ([LINE, spelled(GOOD, symbol='"\xe9"').decode().encode("latin-1")], "/1", "json_invalid"),
            ([b"[" + LINE + b"]"], "/0", "model_type"),
            ([LINE, b"\x00"], "/1", "json_invalid"),
            ([LINE, b"9" * 5000], "/1", "json_invalid"),
            ([b"", b" ", b"\r", b"\t"], "", "wrong_length"),
            ([*[b"1"] * 1001, b"{"], "", "wrong_length"),  # what is too long is not read to its end
            ([LINE, b'{"symbol": "\xed\xa0\x80"}'], "/1/symbol", "unpaired_surrogate"),
            ([LINE, b"", spelled(GOOD, expires_at=f'"{PAST}"')], "/2/expires_at", "in_the_past"),
            ([b"\r", b"", spelled(GOOD, confidence_score="NaN")], "/2/confidence_score", "finite_number"),
            ([LINE, spelled(GOOD, analysis_data='{"a": [1e400]}')], "/1/analysis_data/a/0", "finite_number"),
        ],
    )
    async def test_lines_that_do_not_fit(self, caller: Caller, lines: list[bytes], pointer: str, code: str) -> None:
        assert (pointer, code) in await self.refused(caller, b"\n".join(lines), NDJSON)

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "json_invalid"),
            (b"[", "json_invalid"),
            (b"[" + LINE + b",]", "json_invalid"),
            (LINE + b"\n" + LINE, "json_invalid"),
            (LINE, "list_type"),
            (b"null", "list_type"),
            (b'"[]"', "list_type"),
            (b"\xff\xfe", "json_invalid"),
            ('[{"symbol": "é"}]'.encode("latin-1"), "json_invalid"),
            (b"[" + b"9" * 5000 + b"]", "json_invalid"),
        ],
    )
    async def test_lists_that_are_none(self, caller: Caller, body: bytes, code: str) -> None:
        assert await self.refused(caller, body, JSON) == [("", code)]

    @pytest.mark.parametrize("media_type", ["", "text/plain", "text/csv", "multipart/form-data", "*/*", "json", "\xff"])
    async def test_other_content_types(self, caller: Caller, media_type: str) -> None:
        headers: Any = {"Content-Type": media_type.encode("latin-1")}
        before = caller.rows()
        assert faults(await caller.send([GOOD], headers, batch=True)) == [("", "json_expected")]
        assert caller.rows() == before

    @FORMATS
    @pytest.mark.parametrize("levels", [101, 1000, 100_000])
    async def test_deep_ones(self, caller: Caller, media_type: str, levels: int) -> None:
        line = spelled(GOOD, analysis_data=f'{{"a": {nested(levels)}}}')
        ((pointer, code),) = await self.refused(
            caller, line if media_type == NDJSON else b"[" + line + b"]", media_type
        )
        if code == "too_deep":
            assert pointer.startswith("/0/analysis_data/a/0/0")
        else:
            # Python's parser gives up at a depth of its own.
            assert (code, levels > 101) == ("json_invalid", True)
            assert pointer == ("/0" if media_type == NDJSON else "")

    @FORMATS
    async def test_a_huge_body(self, caller: Caller, media_type: str) -> None:
        before = caller.rows()
        items = [GOOD | {"reasoning": "x" * 20_000}] * 53
        assert refusal(await upload(caller, items, media_type)) == (413, "payload_too_large")
        assert caller.rows() == before
        assert len(good(await upload(caller, items[:52], media_type), 201)["ids"]) == 52


class TestWhoMay:
    async def test_a_token_that_may_write(self, caller: Caller) -> None:
        good(await upload(another_token(caller, "write"), [GOOD]), 201)

    async def test_no_other(self, caller: Caller) -> None:
        before = caller.rows()
        answer = await upload(another_token(caller, "read", "admin"), [GOOD])
        assert refusal(answer) == (403, "insufficient_scope")
        assert answer.headers["www-authenticate"] == insufficient("write")
        assert refusal(await upload(caller._replace(headers={}), [GOOD]))[0] == 401
        assert caller.rows() == before
