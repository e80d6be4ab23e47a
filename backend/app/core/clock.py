"""Time as the API takes and tells it: aware, in UTC, RFC 3339 with `Z`; and seconds that pass steadily."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}")


def now() -> datetime:
    """For reports of this process only; what replicas must agree on is the database's clock."""
    return datetime.now(UTC)


steady: Final[Callable[[], float]] = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds that never go back and pass while the machine sleeps, as those of `time.monotonic` do not on Linux: for what
somebody may do until they are over."""


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _is_written_out(value: Any) -> Any:
    """Refuse a number, which pydantic would take for seconds or milliseconds, whichever its size suggests."""
    if not (isinstance(value, str) and _RFC3339.match(value)):
        raise PydanticCustomError("datetime_parsing", "Input should be a time such as 2030-01-31T12:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    """Refuse what has no year in UTC: an offset can lead past the years 1 and 9999."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_out_of_range", "Input should be within the years 1 and 9999") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_is_written_out), AfterValidator(_in_utc)]
"""A time in a request."""

Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""A time in an answer."""
