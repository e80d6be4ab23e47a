"""One request, one transaction, and the only place that commits one."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.db.engine import POOL_SIZE


def get_session(request: Request) -> Iterator[Session]:
    """A session whose work is committed before the answer is sent, or rolled back when the request is refused."""
    with Session(request.app.state.engine, expire_on_commit=False) as session, session.begin():
        yield session


SessionDep = Annotated[Session, Depends(get_session, scope="function", max_concurrency=POOL_SIZE)]
"""The one spelling: another would open a second session.

`max_concurrency` keeps requests that wait for a connection from holding the threads that others need to give
theirs back.
"""
