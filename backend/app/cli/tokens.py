"""`tokens …`."""

from datetime import timedelta
from typing import Annotated

import typer

from app.cli.arguments import AsJson, RowNumber, UserName, find_user, validated
from app.cli.database import migrated
from app.cli.output import note, print_list, print_secret
from app.core.clock import now, rfc3339
from app.core.errors import NotFound
from app.core.settings import load_settings
from app.features.tokens import service
from app.features.tokens.schemas import NewTokenReply, TokenReply, TokenRequest
from app.features.users.service import find
from app.identity.activity import COMMAND_LINE
from app.identity.permissions import CredentialKind, permissions
from app.models.database import ApiToken, User
from app.web.session import transaction

cli = typer.Typer(help="API tokens: bearer tokens for scripts, as their owner.", no_args_is_help=True)

COLUMNS = {
    "ID": "id",
    "NAME": "name",
    "PREFIX": "prefix",
    "SCOPES": "scopes",
    "CREATED (UTC)": "created_at",
    "EXPIRES (UTC)": "expires_at",
    "LAST USED (UTC)": "last_used_at",
}


@cli.command()
def create(
    user: UserName,
    name: Annotated[str, typer.Argument(help="What a person will know the token by.")],
    scope: Annotated[list[str], typer.Option(metavar="[read|write|admin]", help="What it may do; once for each.")],
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Else it is good for ever.")] = None,
    as_json: AsJson = False,
) -> None:
    """Mint a token of a user; it is printed this once, and alone on standard output."""
    end = None if expires_in_days is None else rfc3339(now() + timedelta(days=expires_in_days))
    given = validated(TokenRequest, name=name, scopes=scope, expires_at=end)
    new = service.NewToken(given.name, given.scopes, given.expires_at)
    with migrated(load_settings()) as engine, transaction(engine) as session:
        owner = find_user(session, user)
        token, minted = service.issue(session, owner, new, COMMAND_LINE)
        reply = NewTokenReply(**TokenReply.model_validate(token).model_dump(), token=minted.plain)
    print_secret(reply, reply.token, f"API token {reply.id} of {owner.email}, shown this once:", as_json=as_json)
    _warn_of_idle_scopes(owner, reply)


@cli.command("list")
def list_tokens(user: UserName, as_json: AsJson = False) -> None:
    """Show a user's tokens that can still be used, the newest first."""
    with migrated(load_settings()) as engine, transaction(engine) as session:
        alive = service.live_tokens(find_user(session, user).id).order_by(ApiToken.id.desc())
        replies = [TokenReply.model_validate(token) for token in session.scalars(alive)]
    print_list(replies, COLUMNS, as_json=as_json)


@cli.command()
def revoke(token: RowNumber) -> None:
    """Refuse a token from now on, everywhere."""
    with migrated(load_settings()) as engine, transaction(engine) as session:
        found = session.get(ApiToken, token)
        if found is None:
            raise NotFound("There is no such token.")
        service.revoke(session, find(session, found.user_id), token, COMMAND_LINE)
    note(f"Revoked API token {token}.")


def _warn_of_idle_scopes(owner: User, token: TokenReply) -> None:
    useful = permissions(owner.role, CredentialKind.API_TOKEN, token.scopes)
    if idle := sorted(set(token.scopes) - useful):
        note(f"As long as {owner.email} has the role {owner.role}, the token may not do: {', '.join(idle)}.")
