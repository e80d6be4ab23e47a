"""Analysis data: any JSON object that is small enough, kept as it was sent."""

import json
from typing import Any

import pytest

from tests.features.recommendations.support import GOOD, Caller, good, nested, new_caller, spelled
from tests.support.accounts import faults, refusal
from tests.support.identity import Service, execute

pytestmark = pytest.mark.anyio

MAX_ANALYSIS = 64 * 1024


@pytest.fixture(scope="module")
def caller(service: Service) -> Caller:
    return new_caller(service)


def analysis(size: int) -> dict[str, Any]:
    """An object of that many bytes as JSON."""
    return {"text": "x" * (size - len('{"text": ""}'))}


@pytest.mark.parametrize(
    "literal",
    [
        "{}",
        '{"a": null, "b": [true, false, 0, -1.5, 1e300, "☃", {}], "": [[]], "a b~/": "\\u2028"}',
        '{"big": 123456789012345678901234567890}',
        f'{{"deep": {nested(98)}}}',
    ],
)
async def test_is_kept_as_it_was_sent(caller: Caller, literal: str) -> None:
    new = good(await caller.post(spelled(GOOD, analysis_data=literal)), 201)
    assert new["analysis_data"] == json.loads(literal) == (await caller.read(new["id"]))["analysis_data"]


async def test_up_to_its_size(caller: Caller) -> None:
    data = analysis(MAX_ANALYSIS)
    assert (await caller.create(analysis_data=data))["analysis_data"] == data
    wide = {"text": "é" * ((MAX_ANALYSIS - len('{"text": ""}')) // 2)}
    assert (await caller.create(analysis_data=wide))["analysis_data"] == wide


async def test_not_beyond(caller: Caller) -> None:
    before = caller.rows()
    for data in (analysis(MAX_ANALYSIS + 1), {"text": "🌊" * (MAX_ANALYSIS // 4)}, analysis(1_000_000)):
        answer = await caller.post(GOOD | {"analysis_data": data})
        assert faults(answer) == [("/analysis_data", "too_large")]
        assert len(answer.content) < 1000
    answer = await caller.post(GOOD | {"analysis_data": analysis(1024 * 1024)})
    assert refusal(answer) == (413, "payload_too_large")
    assert caller.rows() == before


@pytest.mark.parametrize(
    ("literal", "pointer", "code"),
    [
        ('{"a": NaN}', "/a", "finite_number"),
        ('{"a": [0, {"b": 1e400}]}', "/a/1/b", "finite_number"),
        ('{"a": -Infinity}', "/a", "finite_number"),
        ('{"a": {"b\\u0000": 1}}', "/a", "nul_character"),
        ('{"a": ["x", "\\u0000"]}', "/a/1", "nul_character"),
        ('{"a": "\\ud800"}', "/a", "unpaired_surrogate"),
        ('{"\\udfff": 1}', "", "unpaired_surrogate"),
    ],
)
async def test_what_no_database_holds(caller: Caller, literal: str, pointer: str, code: str) -> None:
    before = caller.rows()
    answer = await caller.post(spelled(GOOD, analysis_data=literal))
    assert faults(answer) == [(f"/analysis_data{pointer}", code)]
    assert caller.rows() == before


@pytest.mark.parametrize("levels", [99, 1000, 100_000])
async def test_deep_ones(caller: Caller, levels: int) -> None:
    before = caller.rows()
    answer = await caller.post(spelled(GOOD, analysis_data=f'{{"a": {nested(levels)}}}'))
    ((pointer, code),) = faults(answer)
    if code == "too_deep":
        assert pointer.startswith("/analysis_data/a/0/0")
    else:
        # Python's parser gives up at a depth of its own.
        assert (pointer, levels > 99) == ("", True)
    assert caller.rows() == before


async def test_too_many_values(caller: Caller) -> None:
    answer = await caller.post(GOOD | {"analysis_data": {"a": [1] * 100_001}})
    assert faults(answer) == [("", "too_many_values")]


@pytest.mark.parametrize(
    "stored",
    ["[" * 300 + "]" * 300, r'{"note": "\ud800"}', f'{{"shares": {"9" * 5000}}}'],
    ids=["nested deeply", "half a surrogate pair", "many digits"],
)
async def test_what_an_older_deployment_stored_breaks_no_list(service: Service, stored: str) -> None:
    caller = new_caller(service)
    number = caller.add()
    execute(
        service.url, "UPDATE ai_recommendations SET analysis_data = CAST(:stored AS json) WHERE id = :id",
        stored=stored, id=number,
    )  # fmt: skip
    execute(
        service.url, "UPDATE users SET preferences = CAST(:stored AS json) WHERE id = :id", stored=stored, id=caller.id
    )
    assert (await caller.read(number))["analysis_data"] == stored
    assert await caller.listed() == [number]
    me = await service.client.get("/api/users/me", headers=caller.headers)
    assert me.json()["preferences"] == stored
