"""What commands are given, and what it stands for."""

from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from app.core.errors import FieldError, InvalidInput, NotFound
from app.identity.accounts import find_by_login
from app.models.database import User
from app.web.schemas import MAX_ID

T = TypeVar("T", bound=BaseModel)

DAY = 24 * 60 * 60
"""Seconds."""

UserName = Annotated[str, typer.Argument(metavar="USER", help="An id, an e-mail address or a username.")]
RowNumber = Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID, help="As `list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def find_user(session: Session, name: str) -> User:
    """Digits alone are an id, never a username: who takes somebody's number for a name must not be mistaken for them.

    Raises:
        NotFound: there is none.
    """
    user = _find_by_id(session, name) if _is_id(name) else find_by_login(session, name)
    if user is None:
        raise NotFound(f"There is no user {name!r}.")
    return user


def find_user_id(session: Session, name: str) -> int:
    """As `find_user`; an id may be that of a user who was deleted."""
    return int(name) if _is_id(name) and int(name) <= MAX_ID else find_user(session, name).id


def validated(model: type[T], **values: object) -> T:
    """What the API's own rules make of `values`; what is None was not given.

    Raises:
        InvalidInput: they refuse it.
    """
    try:
        return model.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidInput(
            [FieldError("/".join(map(str, fault["loc"])), fault["type"], fault["msg"]) for fault in faults]
        ) from None


def _is_id(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _find_by_id(session: Session, name: str) -> User | None:
    return session.get(User, int(name)) if len(name) <= len(str(MAX_ID)) and int(name) <= MAX_ID else None
