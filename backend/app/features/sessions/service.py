"""Sessions of a user. A caller reaches its own only; another's is not found."""

from datetime import timedelta

from sqlalchemy.orm import Session

from app.core.errors import NotFound
from app.identity.activity import Action, Origin, Resource, record
from app.identity.principal import Profile
from app.identity.sessions import EndReason, end_sessions, live_sessions
from app.models.database import User, UserSession


def end(session: Session, user: User | Profile, session_id: int, idle: timedelta, origin: Origin) -> None:
    """Sign a user out in one place.

    Raises:
        NotFound: no such session of the user's is alive.
    """
    alive = live_sessions(user.id, idle).where(UserSession.id == session_id).with_for_update()
    if session.scalar(alive) is None:
        raise NotFound("There is no such session.")
    end_sessions(session, user.id, EndReason.ENDED, only=session_id)
    record(session, origin, Action.SESSION_ENDED, user=user, resource=(Resource.SESSION, session_id))
