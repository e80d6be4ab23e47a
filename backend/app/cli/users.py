"""`users …`."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from app.cli.arguments import AsJson, UserName, Yes, as_text, find_user, validated
from app.cli.database import migrated
from app.cli.output import note, print_list, print_one, print_secret
from app.cli.prompts import ask_for_password
from app.core.settings import load_settings
from app.features.auth.service import give_password
from app.features.users import service
from app.features.users.schemas import PasswordResetReply, UserRequest
from app.identity.accounts import NewUser
from app.identity.activity import COMMAND_LINE
from app.identity.mvp import is_mvp_user
from app.identity.permissions import MEMBER, OWNER
from app.identity.principal import Profile
from app.identity.schemas import Role, UserReply
from app.models.database import User
from app.web.session import transaction

cli = typer.Typer(help="Make, change and delete accounts; nobody has to be signed in.", no_args_is_help=True)

COLUMNS = {
    "ID": "id",
    "E-MAIL": "email",
    "USERNAME": "username",
    "FULL NAME": "full_name",
    "ROLE": "role",
    "ACTIVE": "is_active",
    "PASSWORD": "has_password",
    "LAST SIGN-IN (UTC)": "last_login_at",
}


@cli.command("list")
def list_users(
    search: Annotated[
        str | None, typer.Option(parser=as_text, metavar="TEXT", help="A part of an address, username or full name.")
    ] = None,
    role: Annotated[
        str | None, typer.Option(parser=as_text, metavar="TEXT", help="Those with this role alone.")
    ] = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Those in this state alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the users, the newest first."""
    with migrated(load_settings()) as engine, transaction(engine) as session:
        found = service.users(q=search, role=role, is_active=active).order_by(User.id.desc())
        replies = [_reply(Profile.of(user)) for user in session.scalars(found)]
    print_list(replies, COLUMNS, as_json=as_json)


@cli.command()
def show(user: UserName, as_json: AsJson = False) -> None:
    """Show a user."""
    _print_after(lambda session: Profile.of(find_user(session, user)), as_json=as_json)


@cli.command()
def create(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The address of the account.")],
    username: Annotated[str | None, typer.Option(help="A name to sign in with beside the address.")] = None,
    full_name: Annotated[str | None, typer.Option(help="What people call them.")] = None,
    role: Annotated[Role, typer.Option(help="What they may do.")] = "member",
    no_password: Annotated[bool, typer.Option("--no-password", help="Ask for none; reset it later.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an account; its password is asked for, or read from standard input."""
    given = validated(UserRequest, email=email, username=username, full_name=full_name, role=role)
    names = (given.email, given.username, given.full_name)
    with migrated(load_settings()) as engine:
        new = NewUser(
            email=given.email,
            username=given.username,
            full_name=given.full_name,
            role=given.role,
            password_hash=None if no_password else ask_for_password(*names),
        )
        with transaction(engine) as session:
            user = service.create(session, new, COMMAND_LINE)
    print_one(_reply(user), COLUMNS, as_json=as_json)


@cli.command()
def promote(user: UserName, as_json: AsJson = False) -> None:
    """Make a user an owner."""
    _change(user, {"role": OWNER}, as_json=as_json)


@cli.command()
def demote(user: UserName, as_json: AsJson = False) -> None:
    """Make an owner a member; the last active owner stays one."""
    _change(user, {"role": MEMBER}, as_json=as_json)


@cli.command()
def activate(user: UserName, as_json: AsJson = False) -> None:
    """Let a deactivated user sign in again."""
    _change(user, {"is_active": True}, as_json=as_json)


@cli.command()
def deactivate(user: UserName, as_json: AsJson = False) -> None:
    """Refuse a user's password, tokens and sessions from now on; not the last active owner's."""
    _change(user, {"is_active": False}, as_json=as_json)


@cli.command("reset-password")
def reset_password(
    user: UserName,
    one_time_token: Annotated[
        bool, typer.Option("--one-time-token", help="Print a token with which the user sets it, within 30 minutes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give a user a new password, which is asked for or read from standard input; every session of theirs ends."""
    if one_time_token:
        _issue_reset(user, as_json=as_json)
    else:
        _set_password(user, as_json=as_json)


@cli.command()
def delete(user: UserName, yes: Yes = False) -> None:
    """Delete an account with all that is its own; the activity log stays."""
    with migrated(load_settings()) as engine:
        with transaction(engine) as session:
            found = find_user(session, user)
        if not yes:
            typer.confirm(f"Delete user {found.id}, {found.email}, for good?", abort=True, err=True)
        with transaction(engine) as session:
            service.delete(session, service.find(session, found.id), COMMAND_LINE)
    note(f"Deleted user {found.id}, {found.email}.")


def _set_password(name: str, *, as_json: bool) -> None:
    with migrated(load_settings()) as engine:
        with transaction(engine) as session:
            found = find_user(session, name)
        password_hash = ask_for_password(found.email, found.username, found.full_name)
        with transaction(engine) as session:
            claims = is_mvp_user(session, found)
            profile = Profile.of(give_password(session, found.id, password_hash, COMMAND_LINE))
    print_one(_reply(profile), COLUMNS, as_json=as_json)
    if claims:
        note("This was the MVP user, and is claimed now: API_TOKEN is good no more.")
    if not profile.is_active:
        note(f"The user is deactivated: let them in with `trading-backend users activate {profile.id}`.")


def _issue_reset(name: str, *, as_json: bool) -> None:
    with migrated(load_settings()) as engine, transaction(engine) as session:
        reset, minted = service.reset_password(session, find_user(session, name), COMMAND_LINE)
        reply = PasswordResetReply(token=minted.plain, expires_at=reset.expires_at)
    told = "Send it with the new password to POST /api/auth/password/reset within 30 minutes; it is good once."
    print_secret(reply, reply.token, told, as_json=as_json)


def _change(name: str, changes: dict[str, Any], *, as_json: bool) -> None:
    _print_after(
        lambda session: service.change(session, find_user(session, name), changes, COMMAND_LINE), as_json=as_json
    )


def _print_after(work: Callable[[Session], Profile], *, as_json: bool) -> None:
    """Print the user that `work` answers, once its transaction is committed."""
    with migrated(load_settings()) as engine, transaction(engine) as session:
        profile = work(session)
    print_one(_reply(profile), COLUMNS, as_json=as_json)


def _reply(profile: Profile) -> UserReply:
    return UserReply.model_validate(profile)
