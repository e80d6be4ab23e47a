"""All tables this service manages: the schema on one page.

The first five are those of existing deployments, column for column; `users` never gets a thirteenth. `alembic/`
leads here from an empty database and from every deployed revision; `db/schema/` tells when a live database differs.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, String, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import NOW_DEFAULT, Base, CreatedAt, IndexedId, UpdatedAt, database_now


class User(Base):
    """A person or the MVP user. Who may see a row: its user, and whoever has the permission `admin`."""

    __tablename__ = "users"

    id: Mapped[IndexedId]
    email: Mapped[str] = mapped_column(String(255), unique=True, index=True)
    alpaca_account_id: Mapped[str | None] = mapped_column(String(100), unique=True, index=True)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    full_name: Mapped[str | None] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(50), index=True, server_default="personal_only")
    is_active: Mapped[bool] = mapped_column(index=True, server_default=text("true"))
    last_login_at: Mapped[datetime | None]
    username: Mapped[str | None] = mapped_column(String(255))


class AIRecommendation(Base):
    """What an analysis service suggested to a user. Who may see a row: its user; an owner, where it has none."""

    __tablename__ = "ai_recommendations"

    id: Mapped[IndexedId]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    symbol: Mapped[str] = mapped_column(String(20), index=True)
    recommendation_type: Mapped[str] = mapped_column(String(20), index=True)
    confidence_score: Mapped[float] = mapped_column(Double)
    analysis_data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    suggested_entry_price: Mapped[float | None] = mapped_column(Double)
    suggested_stop_loss: Mapped[float | None] = mapped_column(Double)
    suggested_take_profit: Mapped[float | None] = mapped_column(Double)
    suggested_position_size: Mapped[float | None] = mapped_column(Double)
    reasoning: Mapped[str | None] = mapped_column(Text)
    market_context: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20), index=True, default="pending")
    executed_at: Mapped[datetime | None]
    execution_price: Mapped[float | None] = mapped_column(Double)
    actual_pnl: Mapped[float | None] = mapped_column(Double)
    actual_pnl_percent: Mapped[float | None] = mapped_column(Double)
    accuracy_score: Mapped[float | None] = mapped_column(Double)
    created_at: Mapped[datetime] = mapped_column(index=True, default=database_now)
    expires_at: Mapped[datetime | None]

    user: Mapped[User | None] = relationship(lazy="raise")


class OrderTemplate(Base):
    """An order a user keeps for use again. Who may see a row: its user; an owner, where it has none."""

    __tablename__ = "order_templates"

    id: Mapped[IndexedId]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255), index=True)
    description: Mapped[str | None] = mapped_column(Text)
    symbol: Mapped[str] = mapped_column(String(20))
    side: Mapped[str] = mapped_column(String(10))
    quantity: Mapped[float] = mapped_column(Double)
    order_type: Mapped[str] = mapped_column(String(20))
    limit_price: Mapped[float | None] = mapped_column(Double)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
    last_used_at: Mapped[datetime | None]

    user: Mapped[User | None] = relationship(lazy="raise")


class UserSession(Base):
    """A sign-in and the pair of tokens it lives by. Who may see a row: its user, and `admin`."""

    __tablename__ = "user_sessions"

    id: Mapped[IndexedId]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    access_token_jti: Mapped[str] = mapped_column(String(100), unique=True, index=True)
    refresh_token_jti: Mapped[str] = mapped_column(String(100), unique=True, index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    last_activity_at: Mapped[datetime]
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[CreatedAt]

    user: Mapped[User] = relationship(lazy="raise")


class ActivityLog(Base):
    """What happened to an account and who did it. Who may see a row: the user it tells of, and `admin`."""

    __tablename__ = "activity_log"

    id: Mapped[IndexedId]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    action_type: Mapped[str] = mapped_column(String(50), index=True)
    resource_type: Mapped[str | None] = mapped_column(String(50), index=True)
    resource_id: Mapped[int | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(500))
    timestamp: Mapped[datetime] = mapped_column(index=True, default=database_now)

    user: Mapped[User] = relationship(lazy="raise")


class ApiToken(Base):
    """A bearer token that is not a session; the secret itself has no column.

    `from_configuration` marks the token in API_TOKEN; at most one such token is alive. Who may see a row: its user.
    """

    __tablename__ = "api_tokens"
    __table_args__ = (
        CheckConstraint("octet_length(secret_hash) = 32", name="secret_hash"),
        Index("ix_api_tokens_user_id_id", "user_id", "id"),
        Index(
            "ix_api_tokens_from_configuration",
            "from_configuration",
            unique=True,
            postgresql_where=text("from_configuration AND revoked_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(12))
    secret_hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String(20)))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW_DEFAULT)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    from_configuration: Mapped[bool] = mapped_column(server_default=text("false"))

    user: Mapped[User] = relationship(lazy="raise")
