"""Every refusal this service can give, as one tree.

AppError                      status, code, title; rendered as problem+json by web/problems.py
├── BadRequest                400
├── Unauthenticated           401, no credential was presented
│   └── InvalidToken          401, the credential is not, or no longer, good
├── PermissionDenied          403, the credential is good and does not reach this far
├── NotFound                  404, missing or somebody else's
├── Conflict                  409, contradicts the present state; features name theirs
├── PayloadTooLarge           413
├── InvalidInput              422, with one entry for each field at fault
├── TooManyAttempts           429, and when to try again
└── ServiceUnavailable        503, try again
    └── DatabaseUnavailable
StartupError                  the process cannot start; its text says what is wrong and what to do
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple


class AppError(Exception):
    """A refusal that a client can act on; `str(error)` is the problem's `detail`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal server error"
    keeps_writes: bool = False
    """Whether what was written before the refusal is committed all the same: a trace of it, a revocation."""

    @property
    def headers(self) -> dict[str, str]:
        return {}

    @property
    def members(self) -> dict[str, Any]:
        """Extension members of the problem (RFC 9457 section 3.2)."""
        return {}


class BadRequest(AppError):
    status, code, title = 400, "bad_request", "Bad request"


class Unauthenticated(AppError):
    """No usable credential was presented (RFC 6750 section 3: no error code)."""

    status, code, title = 401, "not_authenticated", "Authentication required"
    challenge: ClassVar[str] = 'Bearer realm="api"'

    def __init__(self, detail: str = "Send a bearer token in the Authorization header.") -> None:
        super().__init__(detail)

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": self.challenge}


class InvalidToken(Unauthenticated):
    """The token is malformed, unknown, expired, revoked, or its user is gone or inactive.

    Which of these it was is never said: the answer must not tell a guesser how close the guess was.
    """

    code, title = "invalid_token", "Invalid token"
    challenge = 'Bearer realm="api", error="invalid_token"'

    def __init__(self) -> None:
        super().__init__("The token is malformed, unknown, expired or revoked.")


class PermissionDenied(AppError):
    """The credential is good, but lacks the permission `scope` (RFC 6750 section 3.1)."""

    status, code, title = 403, "insufficient_scope", "Permission denied"

    def __init__(self, scope: str, detail: str | None = None) -> None:
        super().__init__(detail or f"This needs the permission '{scope}', which this credential does not have.")
        self.scope = scope

    @property
    def headers(self) -> dict[str, str]:
        challenge = f'Bearer realm="api", error="insufficient_scope", scope="{self.scope}"'
        return {"WWW-Authenticate": challenge}


class NotFound(AppError):
    status, code, title = 404, "not_found", "Not found"

    def __init__(self, detail: str = "There is nothing here.") -> None:
        super().__init__(detail)


class Conflict(AppError):
    status, code, title = 409, "conflict", "Conflict"


class PayloadTooLarge(AppError):
    status, code, title = 413, "payload_too_large", "Payload too large"


class FieldError(NamedTuple):
    """Where a request is wrong: a JSON pointer into the body, or `query/NAME`, `path/NAME`, `header/NAME`."""

    pointer: str
    code: str
    message: str


class InvalidInput(AppError):
    status, code, title = 422, "validation_failed", "Invalid input"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.pointer}: {error.message}".removeprefix(": ") for error in errors[:3]))
        self.errors = errors

    @property
    def members(self) -> dict[str, Any]:
        return {"errors": [error._asdict() for error in self.errors]}


class TooManyAttempts(AppError):
    status, code, title = 429, "too_many_attempts", "Too many attempts"
    keeps_writes = True

    def __init__(self, retry_after: int) -> None:
        """`retry_after` is in seconds."""
        super().__init__(f"Too many attempts; try again in {retry_after} seconds.")
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class ServiceUnavailable(AppError):
    status, code, title = 503, "service_unavailable", "Service unavailable"
    retry_after: ClassVar[int] = 2
    """Seconds."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class DatabaseUnavailable(ServiceUnavailable):
    code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__("The database does not answer right now; try again shortly.")


class StartupError(Exception):
    """One sentence on what keeps the service from starting, and what to type."""
