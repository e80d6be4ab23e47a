"""What commands leave in the activity log."""

from typing import Any

from tests.support.identity import execute


def recorded(url: str, action: str) -> list[dict[str, Any]]:
    """The rows about this action, without what differs from run to run."""
    told = "user_id, user_email, details, resource_type, resource_id, actor_id, actor_kind, ip_address"
    rows = execute(url, f"SELECT {told} FROM activity_log WHERE action_type = :action ORDER BY id", action=action)
    return [dict(row) for row in rows]


def of_command(
    user_id: int | None, email: str | None, resource: tuple[str | None, int | None] = (None, None), /, **details: Any
) -> dict[str, Any]:
    kind, number = resource
    about = {"user_id": user_id, "user_email": email, "details": details, "resource_type": kind, "resource_id": number}
    return about | {"actor_id": None, "actor_kind": "command", "ip_address": None}
