"""The command line: `trading-backend`, or `python -m app.cli`. Commands call services and hold no logic."""

import io
import sys

import typer

from app.cli import activity, backup, invitations, sessions, tokens, users
from app.cli.claim import claim
from app.cli.doctor.command import doctor
from app.cli.output import sentence
from app.cli.prune import prune
from app.cli.serve import migrate, serve
from app.core.errors import AppError, StartupError
from app.process import exit_on_sigterm, exit_with

cli = typer.Typer(help="Run and look after the trading backend.", no_args_is_help=True, pretty_exceptions_enable=False)
for command in (serve, migrate, doctor, claim, prune):
    cli.command()(command)
cli.add_typer(users.cli, name="users")
cli.add_typer(tokens.cli, name="tokens")
cli.add_typer(sessions.cli, name="sessions")
cli.add_typer(invitations.cli, name="invitations")
cli.add_typer(activity.cli, name="activity")
cli.add_typer(backup.cli, name="backup")


def main() -> None:
    """Run a command; what keeps it from its work is one sentence and status 1."""
    exit_on_sigterm()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name need not fit the terminal's encoding
    try:
        cli()
    except StartupError as error:
        exit_with(error)
    except AppError as refusal:
        exit_with(StartupError(sentence(refusal)))
