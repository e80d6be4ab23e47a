"""`claim`."""

from functools import partial
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.cli.arguments import AsJson, validated
from app.cli.database import migrated
from app.cli.output import note, print_one
from app.cli.prompts import ask_for_email, ask_for_password
from app.cli.users import COLUMNS
from app.core.errors import StartupError
from app.core.settings import Settings, load_settings
from app.features.auth import service
from app.features.users.schemas import UserRequest
from app.identity.accounts import NewUser
from app.identity.activity import COMMAND_LINE, Action, record
from app.identity.mvp import IS_MVP_TOKEN, AlreadyClaimed, MvpState, ensure_mvp_user
from app.identity.permissions import OWNER
from app.identity.principal import Profile
from app.identity.schemas import UserReply
from app.identity.tokens import mint
from app.lifespan import configured_token
from app.models.database import ApiToken
from app.web.session import transaction


def claim(
    email: Annotated[str | None, typer.Argument(metavar="EMAIL", help="Asked for, if left out.")] = None,
    username: Annotated[str | None, typer.Option(help="A name to sign in with beside the address.")] = None,
    full_name: Annotated[str | None, typer.Option(help="What people call you.")] = None,
    keep_api_token: Annotated[
        bool, typer.Option("--keep-api-token", help="API_TOKEN goes on as an ordinary API token.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give the MVP user an address and a password, which is asked for or read from standard input; once."""
    settings = load_settings()
    with migrated(settings) as engine:
        with transaction(engine) as session:
            user_id = _open_mvp_user(session, settings, keep_api_token=keep_api_token)
        given = validated(UserRequest, email=ask_for_email(email), username=username, full_name=full_name, role=OWNER)
        names = (given.email, given.username, given.full_name)
        new = NewUser(
            email=given.email,
            username=given.username,
            full_name=given.full_name,
            password_hash=ask_for_password(*names),
        )
        with transaction(engine) as session:
            user = service.claim(session, user_id, new, COMMAND_LINE, keep_api_token=keep_api_token)
            profile = Profile.of(user)
    print_one(UserReply.model_validate(profile), COLUMNS, as_json=as_json)
    note(
        "Sign in with the password from now on: API_TOKEN "
        + ("is an ordinary API token." if keep_api_token else "is good no more.")
    )


def _open_mvp_user(session: Session, settings: Settings, *, keep_api_token: bool) -> int:
    """The id of the MVP user, who is made where the service was never started.

    A token that is alive is left as it is: the service that runs may know another API_TOKEN than this shell.

    Raises:
        AlreadyClaimed: it was.
        StartupError: there is no token to keep.
    """
    alive = select(ApiToken.user_id).where(IS_MVP_TOKEN)
    user_id = session.scalar(alive)
    if user_id is None:
        token = partial(_token, settings, keep=keep_api_token)
        state = ensure_mvp_user(session, token, settings.mvp_email)
        if state is MvpState.CLAIMED:
            record(session, COMMAND_LINE, Action.CLAIM_REFUSED, reason=AlreadyClaimed.code)
            raise AlreadyClaimed
        user_id = session.scalars(alive).one()
    return user_id


def _token(settings: Settings, *, keep: bool) -> str:
    """For the MVP user until the claim; where nothing is configured nobody ever learns it."""
    token = configured_token(settings)
    if token is None and keep:
        raise StartupError("There is no token to keep: set API_TOKEN, or leave --keep-api-token out.")
    return token or mint().plain
