"""What commands are given, and what it stands for."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from app.core.errors import FieldError, InvalidInput, NotFound
from app.identity.accounts import find_by_login
from app.models.database import User
from app.web.schemas import MAX_ID, QueryText

T = TypeVar("T", bound=BaseModel)

DAY = 24 * 60 * 60
"""Seconds."""


def parser(kind: Any) -> Callable[[str], Any]:
    """Takes what the API would take in the place of an argument; the rest is wrong usage."""
    adapter = TypeAdapter(kind)

    def parse(text: str) -> Any:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            raise typer.BadParameter(error.errors()[0]["msg"]) from None

    return parse


as_text = parser(QueryText)

UserName = Annotated[
    str, typer.Argument(parser=as_text, metavar="USER", help="An id, an e-mail address or a username.")
]
RowNumber = Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID, help="As `list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def find_user(session: Session, name: str) -> User:
    """Digits alone are an id, never a username: who takes somebody's number for a name must not be mistaken for them.

    Raises:
        NotFound: there is none.
    """
    user_id = _as_id(name)
    user = find_by_login(session, name) if user_id is None else session.get(User, user_id)
    if user is None:
        raise NotFound(f"There is no user {name!r}.")
    return user


def find_user_id(session: Session, name: str) -> int:
    """As `find_user`; an id may be that of a user who was deleted."""
    return _as_id(name) or find_user(session, name).id


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


def _as_id(name: str) -> int | None:
    """What digits alone stand for; 0, which is nobody's id, where no column holds it."""
    if not (name.isascii() and name.isdigit()):
        return None
    # The length comes first: int() refuses more than 4,300 digits.
    return int(name) if len(name) <= len(str(MAX_ID)) and int(name) <= MAX_ID else 0
