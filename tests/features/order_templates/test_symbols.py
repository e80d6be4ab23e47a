"""What can be traded, and what only looks like it."""

import pytest

from tests.features.order_templates.support import GOOD, Caller, good, new_caller
from tests.support.accounts import faults
from tests.support.identity import Service

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


@pytest.fixture(scope="module")
def idle(service: Service) -> Caller:
    """Has no templates, and gets none."""
    return new_caller(service)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("A", "A"),
        ("aapl", "AAPL"),
        ("Brk.b", "BRK.B"),
        ("BRK/B", "BRK/B"),
        ("btc/usd", "BTC/USD"),
        ("^spx", "^SPX"),
        ("EURUSD=X", "EURUSD=X"),
        ("ES=F", "ES=F"),
        ("BAC-L", "BAC-L"),
        ("PCG+A", "PCG+A"),
        ("ABC#", "ABC#"),
        ("TEST*", "TEST*"),
        ("0700.HK", "0700.HK"),
        ("NASDAQ:AAPL", "NASDAQ:AAPL"),
        ("F_X", "F_X"),
        ("AAPL261218C00190000", "AAPL261218C00190000"),
        ("googl261218p00190000", "GOOGL261218P00190000"),
    ],
)
async def test_symbols(caller: Caller, sent: str, kept: str) -> None:
    new = await caller.create(symbol=sent)
    assert new["symbol"] == kept
    assert good(await caller.send("GET", symbol=sent.swapcase(), limit=1))["items"] == [new]


NONE = [
    "",
    " ",
    " AAPL",
    "AAPL ",
    "AAPL\n",
    "\nAAPL",
    "A APL",
    "AAPL\t",
    "A" * 21,
    ".",
    "/USD",
    "-A",
    "$SPX",
    "A,B",
    "A;B",
    "A'B",
    'A"B',
    "A\\B",
    "A%",
    "A&B",
    "A?",
    "<A>",
    "\u0131",
    "\u0130BM",
    "\xdf",
    "\xc5",
    "A\u030a",
    "\u017f",
    "\ufb01",
    "\uff21",
    "\u0391",
    "\u0410",
    "\u0661",
    "\u5143",
    "\U0001f680",
    "A\u200b",
    "\ufeffA",
    "A\x7f",
]


async def test_what_is_none(idle: Caller) -> None:
    sent = {text: faults(await idle.post(GOOD | {"symbol": text})) for text in NONE}
    assert sent == {text: [("/symbol", "symbol")] for text in NONE}
    asked = {text: faults(await idle.send("GET", symbol=text)) for text in NONE}
    assert asked == {text: [("query/symbol", "symbol")] for text in NONE}
    assert idle.rows() == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [("A\0", "nul_character"), ("A\ud800", "unpaired_surrogate"), (7, "string_type"), (["A"], "string_type")],
)
async def test_what_is_no_text(idle: Caller, sent: object, code: str) -> None:
    assert faults(await idle.post(GOOD | {"symbol": sent})) == [("/symbol", code)]


@pytest.mark.parametrize("query", ["symbol=A%00", "symbol=%ED%A0%80", "symbol=%FF"])
async def test_what_is_no_text_in_a_query(idle: Caller, query: str) -> None:
    answer = await idle.service.client.get(f"/api/order-templates?{query}", headers=idle.headers)
    assert [pointer for pointer, _ in faults(answer)] == ["query/symbol"]
