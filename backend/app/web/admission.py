"""By what a request was let in, which may change before it has its turn.

No FastAPI here: identity imports it.
"""

from contextvars import ContextVar
from typing import Final, Protocol

from sqlalchemy.orm import Session


class Admission(Protocol):
    def is_out_of_date(self) -> bool:
        """Whether the request may not be let in any more, or not to do the same; costs no query."""

    def renew(self, session: Session) -> None:
        """Ask anew; raises what it is refused with now."""


admission: Final[ContextVar[Admission | None]] = ContextVar("admission", default=None)
"""Of the request that is being answered; None before it is let in."""


def renew_admission(session: Session) -> None:
    """At the beginning of a transaction, before anything is done in it."""
    current = admission.get()
    if current is not None and current.is_out_of_date():
        current.renew(session)
