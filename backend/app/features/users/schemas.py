from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, SecretStr, StrictBool, StringConstraints, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from app.core.clock import Timestamp
from app.identity.hashing import normalised
from app.identity.names import EmailAddress, FullName, Username
from app.identity.passwords import GivenPassword, NewPassword
from app.identity.schemas import Role
from app.web.objects import LEFT_OUT, Changes, SmallObject
from app.web.schemas import Body, QueryText, Reply


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("printable", "Input should be printable characters")
    return value


AlpacaAccountId = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(_printable)
]


class _NameChanges(Changes):
    email: EmailAddress = LEFT_OUT
    username: Username | None = LEFT_OUT
    full_name: FullName | None = LEFT_OUT


class OwnChanges(_NameChanges):
    preferences: SmallObject = LEFT_OUT
    """An object, replaced as a whole."""
    alpaca_account_id: AlpacaAccountId | None = LEFT_OUT


class UserChanges(_NameChanges):
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
