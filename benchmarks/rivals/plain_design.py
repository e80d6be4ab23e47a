"""What tutorials teach: `def` dependencies that decode a JWT and select the user, with SQLAlchemy's usual pool."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

SECRET = "a secret of at least 32 characters, for a benchmark"
LIFETIME = timedelta(hours=1)
USER_ID = 1

engine = create_engine(os.environ["DATABASE_URL"])


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    username: Mapped[str | None]
    full_name: Mapped[str | None]
    role: Mapped[str]
    is_active: Mapped[bool]
    created_at: Mapped[datetime]


class UserRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    username: str | None
    full_name: str | None
    role: str
    is_active: bool
    created_at: datetime


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]
TokenDep = Annotated[str, Depends(OAuth2PasswordBearer("login"))]


def get_current_user(session: SessionDep, token: TokenDep) -> User:
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    except JWTError:
        raise HTTPException(401) from None
    user = session.get(User, int(claims["sub"]))
    if user is None or not user.is_active:
        raise HTTPException(401)
    return user


@asynccontextmanager
async def with_one_user(_: FastAPI) -> AsyncIterator[None]:
    Base.metadata.create_all(engine)
    user = User(id=USER_ID, email="plain@bench.test", role="member", is_active=True, created_at=datetime.now(UTC))
    with Session(engine) as session, session.begin():
        session.merge(user)
    yield
    engine.dispose()


def plain() -> FastAPI:
    app = FastAPI(lifespan=with_one_user, telemetry={"tracing": False, "metrics": False, "logs": False})

    @app.post("/login")
    def login() -> dict[str, str]:
        """A token for the one user, without a password."""
        claims = {"sub": str(USER_ID), "exp": datetime.now(UTC) + LIFETIME}
        return {"access_token": jwt.encode(claims, SECRET, algorithm="HS256")}

    @app.get("/users/me", response_model=UserRead)
    def read_me(user: Annotated[User, Depends(get_current_user)]) -> User:
        return user

    return app
