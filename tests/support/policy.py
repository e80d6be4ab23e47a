"""Who may call what: the permission that each route asks for."""

Operation = tuple[str, str]

ANONYMOUS = None
POLICY: dict[Operation, str | None] = {
    ("GET", "/openapi.json"): ANONYMOUS,
    ("GET", "/docs"): ANONYMOUS,
    ("*", "/docs/assets/{path}"): ANONYMOUS,
    ("GET", "/api/health"): ANONYMOUS,
    ("GET", "/api/health/live"): ANONYMOUS,
    ("GET", "/api/health/ready"): ANONYMOUS,
    ("GET", "/api/health/detailed"): "read",
    ("POST", "/api/auth/token"): ANONYMOUS,
    ("POST", "/api/auth/login"): ANONYMOUS,
    ("POST", "/api/auth/refresh"): ANONYMOUS,
    ("POST", "/api/auth/logout"): "logout",
    ("POST", "/api/auth/register"): ANONYMOUS,
    ("POST", "/api/auth/claim"): "claim",
    ("POST", "/api/auth/password/reset"): ANONYMOUS,
    ("GET", "/api/users/me"): "read",
    ("PATCH", "/api/users/me"): "write",
    ("DELETE", "/api/users/me"): "issue",
    ("PUT", "/api/users/me/password"): "issue",
    ("GET", "/api/users/me/activity"): "read",
    ("GET", "/api/sessions"): "read",
    ("DELETE", "/api/sessions/{session_id}"): "write",
    ("GET", "/api/tokens"): "read",
    ("POST", "/api/tokens"): "issue",
    ("DELETE", "/api/tokens/{token_id}"): "write",
    ("GET", "/api/users"): "admin",
    ("POST", "/api/users"): "admin",
    ("GET", "/api/users/{user_id}"): "admin",
    ("PATCH", "/api/users/{user_id}"): "admin",
    ("DELETE", "/api/users/{user_id}"): "admin",
    ("GET", "/api/users/{user_id}/sessions"): "admin",
    ("DELETE", "/api/users/{user_id}/sessions"): "admin",
    ("POST", "/api/users/{user_id}/password-reset"): "admin",
    ("GET", "/api/invitations"): "admin",
    ("POST", "/api/invitations"): "admin",
    ("DELETE", "/api/invitations/{invitation_id}"): "admin",
    ("GET", "/api/activity"): "admin",
    ("GET", "/api/order-templates"): "read",
    ("POST", "/api/order-templates"): "write",
    ("POST", "/api/order-templates/adopt"): "admin",
    ("GET", "/api/order-templates/{template_id}"): "read",
    ("PATCH", "/api/order-templates/{template_id}"): "write",
    ("DELETE", "/api/order-templates/{template_id}"): "write",
    ("POST", "/api/order-templates/{template_id}/use"): "write",
    ("GET", "/api/recommendations"): "read",
    ("POST", "/api/recommendations"): "write",
    ("POST", "/api/recommendations/batch"): "write",
    ("GET", "/api/recommendations/accuracy"): "read",
    ("POST", "/api/recommendations/adopt"): "admin",
    ("GET", "/api/recommendations/{recommendation_id}"): "read",
    ("PATCH", "/api/recommendations/{recommendation_id}"): "write",
}

OF_NOBODY = "?owner=none"
REACHING = {
    ("GET", f"/api/order-templates{OF_NOBODY}"),
    ("GET", f"/api/order-templates/{{template_id}}{OF_NOBODY}"),
    ("GET", f"/api/recommendations{OF_NOBODY}"),
    ("GET", f"/api/recommendations/{{recommendation_id}}{OF_NOBODY}"),
}
"""What takes `admin` as well, when it is asked for in this way."""

OPERATIONS = [*(each for each in POLICY if each[1].startswith("/api/")), *sorted(REACHING)]


def needed(operation: Operation) -> list[str]:
    """The permissions it takes, in the order in which they are asked for."""
    method, path = operation
    permission = POLICY[method, path.removesuffix(OF_NOBODY)]
    return [] if permission is None else [permission, *(["admin"] if operation in REACHING else [])]
