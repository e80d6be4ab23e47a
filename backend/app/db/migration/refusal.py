"""How a failed statement of the start reads: one sentence on what went wrong and what to type."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError

from app.core.errors import StartupError
from app.db.engine import describe


def explain(error: DBAPIError, url: str | URL) -> StartupError:
    """The refusal that `error` amounts to; never holds the password of `url`."""
    where = describe(make_url(url))
    message = (str(error.orig).strip() or "the connection was lost").splitlines()[0]
    match getattr(error.orig, "pgcode", None):
        case "P0001":  # raised by a revision, in words of its own
            return StartupError(message)
        case "42501":  # insufficient_privilege
            return StartupError(
                f"The database user at {where} lacks a right that the start needs ({message}): make it the "
                "owner of the tables and run `GRANT CREATE, USAGE ON SCHEMA public TO` it, then start again."
            )
        case "55P03":  # lock_not_available
            return StartupError(
                f"Somebody kept a lock at {where} for longer than the start waits ({message}): end the session that "
                "holds it (pg_stat_activity, pg_locks), then start again."
            )
        case "25006":  # read_only_sql_transaction
            return StartupError(f"The database at {where} is read-only ({message}): use the primary server's address.")
    during = " ".join((error.statement or "").split())[:200]
    return StartupError(
        f"A statement on {where} failed and was rolled back: {message} (during: {during}). Mend it and start again."
    )
