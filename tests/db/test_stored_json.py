"""Whatever JSON a row holds can be read, and sent on."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from app.db.stored_json import MAX_DEPTH, loads


class Answer(BaseModel):
    rows: list[Any]


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


@pytest.mark.parametrize(
    "text",
    [
        *("null", "0", "-0.5", '""', "[]", "{}", '{"a": [1, {"b": null}]}', r'"\ud83d\ude00"', '"ü"', "9" * 4300),
        *(nested(MAX_DEPTH), "[" + "[]," * 1000 + "[]]"),
    ],
)
def test_as_ever(text: str) -> None:
    assert loads(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        *(nested(MAX_DEPTH + 1), nested(900), nested(100_000), nested(150, '{"a":[', "]}")),
        *(r'"\ud800"', r'{"\udc00": 1}', r'["\ud800\ud800"]', "9" * 4301),
    ],
)
def test_what_nobody_could_be_sent_is_its_text(text: str) -> None:
    assert loads(text) == text


@pytest.mark.parametrize("text", [nested(MAX_DEPTH), nested(MAX_DEPTH // 2, '{"a":[', "]}"), nested(900), r'"\ud800"'])
def test_all_of_it_can_be_written(text: str) -> None:
    answer = Answer(rows=[{"analysis_data": loads(text)}]).model_dump_json()
    assert json.loads(answer)["rows"][0]["analysis_data"] == loads(text)
