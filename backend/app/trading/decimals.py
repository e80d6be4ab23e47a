"""Decimals as the API takes and tells them: JSON strings, exact; numbers are accepted, by their digits."""

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.web.exact_json import JsonNumber

WHOLE_DIGITS: Final = 18
FRACTIONAL_DIGITS: Final = 9

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_MAX_TEXT: Final = 64


def _text(value: Any) -> str:
    match value:
        case JsonNumber(text=text):
            return text
        case str():
            return value
        case int() if not isinstance(value, bool):
            # The size comes first: str() refuses an integer of more than 4,300 digits.
            return str(value) if value.bit_length() < _MAX_TEXT * 3 else "9" * _MAX_TEXT
    raise PydanticCustomError("decimal_type", "Input should be a decimal number, as a string")


def _parsed(value: Any) -> Decimal:
    text = _text(value)
    if len(text) > _MAX_TEXT or not _NUMBER.fullmatch(text):
        raise PydanticCustomError("decimal_parsing", 'Input should be a decimal number such as "12.5"')
    return Decimal(text)


def _exact(value: Any) -> Decimal:
    """The number with every digit that was sent, or is stored; refused where that is more than the API keeps."""
    number = value if isinstance(value, Decimal) else _parsed(value)
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -FRACTIONAL_DIGITS:
        raise PydanticCustomError("decimal_max_places", "Input should have at most 9 digits after the point")
    if number and number.adjusted() >= WHOLE_DIGITS:
        raise PydanticCustomError("decimal_whole_digits", "Input should have at most 18 digits before the point")
    if number.is_zero():
        return Decimal(0)
    return Decimal(format(number, "f"))


def _positive(number: Decimal) -> Decimal:
    if number <= 0:
        raise PydanticCustomError("greater_than", "Input should be greater than 0")
    return number


def _percentage(number: Decimal) -> Decimal:
    if not 0 <= number <= 100:
        raise PydanticCustomError("out_of_range", "Input should be from 0 to 100")
    return number


def decimal_text(number: Decimal) -> str:
    """Every digit, never an exponent; `NaN`, `Infinity` and `-Infinity` where older deployments hold these."""
    return format(number, "f")


def _schema(pattern: str) -> WithJsonSchema:
    either = [{"type": "string", "pattern": pattern, "maxLength": _MAX_TEXT}, {"type": "number"}]
    return WithJsonSchema({"anyOf": either, "examples": ["12.5"]})


_UNSIGNED = _schema(r"^[0-9]{1,18}(\.[0-9]{1,9})?$")

Amount = Annotated[Decimal, BeforeValidator(_exact), _schema(r"^-?[0-9]{1,18}(\.[0-9]{1,9})?$")]
"""A decimal in a request: at most 18 digits before the point and 9 after it."""

PositiveAmount = Annotated[Decimal, BeforeValidator(_exact), AfterValidator(_positive), _UNSIGNED]
"""A price or a quantity in a request."""

Percentage = Annotated[Decimal, BeforeValidator(_exact), AfterValidator(_percentage), _UNSIGNED]
"""0 to 100 in a request."""

DecimalText = Annotated[
    Decimal, Field(allow_inf_nan=True), PlainSerializer(decimal_text, return_type=str, when_used="json")
]
"""A decimal in an answer."""
