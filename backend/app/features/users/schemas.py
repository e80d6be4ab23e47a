import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, StrictBool, StringConstraints, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from app.core.clock import Timestamp
from app.identity.hashing import normalised
from app.identity.names import EmailAddress, FullName, Username
from app.identity.passwords import GivenPassword, NewPassword
from app.identity.schemas import Role
from app.web.schemas import Body, QueryText, Reply

MAX_PREFERENCES = 64 * 1024
"""Bytes as JSON: they travel with every list of users."""

LEFT_OUT: Any = Field(default_factory=lambda: None)
"""The field may be left out, which is not the same as null; see `changes`."""


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("printable", "Input should be printable characters")
    return value


def _of_fit_size(preferences: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(preferences, ensure_ascii=False).encode()) > MAX_PREFERENCES:
        raise PydanticCustomError("too_large", "Preferences have at most 65,536 bytes as JSON")
    return preferences


AlpacaAccountId = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(_printable)
]
Preferences = Annotated[dict[str, Any], AfterValidator(_of_fit_size)]


class Changes(Body):
    """What is left out stays; null clears what may be empty."""

    email: EmailAddress = LEFT_OUT
    username: Username | None = LEFT_OUT
    full_name: FullName | None = LEFT_OUT

    def changes(self) -> dict[str, Any]:
        """What was sent, by column."""
        return self.model_dump(exclude_unset=True)


class OwnChanges(Changes):
    preferences: Preferences = LEFT_OUT
    """An object, replaced as a whole."""
    alpaca_account_id: AlpacaAccountId | None = LEFT_OUT


class UserChanges(Changes):
    role: Role = LEFT_OUT
    is_active: StrictBool = LEFT_OUT


class UserRequest(Body):
    email: EmailAddress
    username: Username | None = None
    full_name: FullName | None = None
    role: Role
    password: NewPassword | None = None
    """Without one the user signs in once a password reset was issued and used."""


class PasswordChange(Body):
    current_password: GivenPassword
    new_password: NewPassword

    @field_validator("new_password")
    @classmethod
    def _is_another(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        current: SecretStr | None = info.data.get("current_password")
        if current and normalised(current.get_secret_value()) == normalised(value.get_secret_value()):
            raise PydanticCustomError("password_unchanged", "The new password should differ from the current one")
        return value


@dataclass(frozen=True)
class UserFilter:
    """Which users a client asks for; in a route, `wanted: Annotated[UserFilter, Depends()]`."""

    q: QueryText | None = None
    """A part of an address, username or full name, in any case."""
    role: QueryText | None = None
    is_active: bool | None = None


class PasswordResetReply(Reply):
    token: str
    """What the user sets a new password with, shown this once."""
    expires_at: Timestamp
