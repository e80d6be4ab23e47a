"""Rows of the log made by hand."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.identity import execute

LONG_AGO = datetime(2001, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)


def add_row(url: str, action: str = "signed_in", *, after: timedelta = timedelta(0), **columns: Any) -> int:
    """A row from LONG_AGO, or a while later; its id."""
    values = {"action_type": action, "timestamp": (LONG_AGO + after).replace(tzinfo=None), "details": {}} | columns
    values["details"] = json.dumps(values["details"])
    names = ", ".join(f'"{name}"' for name in values)
    places = ", ".join(f":{name}" for name in values)
    (row,) = execute(url, f"INSERT INTO activity_log ({names}) VALUES ({places}) RETURNING id", **values)
    row_id: int = row["id"]
    return row_id
