"""JSON whose numbers keep their digits: 0.1234567890123456789 is not 0.12345678901234568.

No FastAPI here: what is validated may import it. `app.web.routing` has the routes whose bodies are read this way.
"""

import json
from typing import Any, Self


class JsonNumber(float):
    """A number with a fraction or an exponent; a float to whoever does not care for its digits."""

    # Pydantic takes attributes for fields, but for those of builtins: a number would pass for an object without any.
    __module__ = "builtins"
    __slots__ = ("text",)
    text: str
    """As it was sent."""

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number


def loads(text: str | bytes) -> Any:
    """As `json.loads`; fractions are JsonNumber.

    Raises:
        ValueError: it is no JSON, or has an integer of more than 4,300 digits.
        RecursionError: it is nested a thousand levels deep.
    """
    return json.loads(text, parse_float=JsonNumber)
