"""What FastAPI says of a request that does not fit, in this API's terms."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError

from app.core.errors import FieldError, InvalidInput

MAX_ERRORS = 50

# Pydantic's own words for these repeat what was sent, or a part of it.
_MESSAGES = {
    "union_tag_invalid": "Input should have one of the expected tags",
    "uuid_parsing": "Input should be a valid UUID",
    "url_parsing": "Input should be a valid URL",
    "url_syntax_violation": "Input should be a valid URL",
    "bytes_invalid_encoding": "Data is not validly encoded",
}


def invalid_input(error: RequestValidationError) -> InvalidInput:
    """The refusal for `error`: at most MAX_ERRORS entries, none of which repeats a submitted value."""
    return InvalidInput([_field_error(fault, error.body) for fault in error.errors()[:MAX_ERRORS]])


def _field_error(fault: Mapping[str, Any], body: Any) -> FieldError:
    location, *path = fault["loc"]
    if fault["type"] == "json_invalid":
        return FieldError("", "json_invalid", f"The body is not valid JSON (see character {path[0] + 1})")
    in_body = location == "body"
    if in_body and isinstance(body, bytes):
        # FastAPI leaves a body unread that does not say it is JSON.
        return FieldError("", "json_expected", "Send JSON, with the header Content-Type: application/json")
    pointer = _json_pointer(path, body, fault["type"]) if in_body else f"{location}/{path[0]}"
    return FieldError(pointer, fault["type"], _message(fault))


def _message(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "value_error" and "reason" in fault.get("ctx", {}):
        # Pydantic's e-mail addresses alone report a reason, with pieces of the address in it.
        return "Input should be a valid e-mail address"
    message: str = _MESSAGES.get(fault["type"], fault["msg"])
    return message.removeprefix("Value error, ")


def _json_pointer(path: Sequence[str | int], body: Any, fault_type: str) -> str:
    """The RFC 6901 pointer to `path`, `""` for the whole body."""
    tokens = (str(step).replace("~", "~0").replace("/", "~1") for step in _steps(path, body, fault_type))
    return "".join(f"/{token}" for token in tokens)


def _steps(path: Sequence[str | int], body: Any, fault_type: str) -> Iterator[str | int]:
    """Those steps of pydantic's location that exist in the body.

    The others name a member of a union, a tag or a validator. What is missing is the one step that need not
    exist.
    """
    value = body
    for position, step in enumerate(path):
        if _holds(value, step):
            value = value[step]
            yield step
        elif fault_type == "missing" and position == len(path) - 1:
            yield step


def _holds(value: Any, step: str | int) -> bool:
    if isinstance(value, Mapping):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and step < len(value)
