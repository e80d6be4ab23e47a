"""What FastAPI says of a request that does not fit, in this API's terms."""

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError

from app.core.errors import FieldError, InvalidInput
from app.web.faults import MAX_ERRORS, body_fault, message_of


def invalid_input(error: RequestValidationError) -> InvalidInput:
    """The refusal for `error`: at most MAX_ERRORS entries, none of which repeats a submitted value."""
    return InvalidInput([_field_error(fault, error.body) for fault in error.errors()[:MAX_ERRORS]])


def _field_error(fault: Mapping[str, Any], body: Any) -> FieldError:
    location, *path = fault["loc"]
    if fault["type"] == "json_invalid":
        return FieldError("", "json_invalid", f"The body is not valid JSON (see character {path[0] + 1})")
    if location != "body":
        return FieldError(f"{location}/{path[0]}", fault["type"], message_of(fault))
    if isinstance(body, bytes):
        # FastAPI leaves a body unread that does not say it is JSON.
        return FieldError("", "json_expected", "Send JSON, with the header Content-Type: application/json")
    return body_fault(fault, path, body)
