"""All tables this service manages: the schema on one page.

The first five are those of existing deployments, column for column; `users` never gets a thirteenth. `alembic/`
leads here from an empty database and from every deployed revision; `db/schema/` tells when a live database differs.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, TextClause, and_, case, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, column_property, mapped_column, relationship

from app.models.base import NOW_DEFAULT, Base, CreatedAt, IndexedId, UpdatedAt, database_now, folded


def _tells_revocations(table: str) -> dict[str, Any]:
    """Whatever changes a row notifies the channel `revocations`; see `app.identity.revocations`."""
    before = "REFERENCING OLD TABLE AS before"
    events = {
        "update": f"UPDATE ON {table} {before} NEW TABLE AS after",
        "delete": f"DELETE ON {table} {before}",
        "truncate": f"TRUNCATE ON {table}",
    }
    does = "FOR EACH STATEMENT EXECUTE FUNCTION tell_revocations() (ENABLE ALWAYS)"
    names = {name: f"revocations_on_{name}" for name in events}
    triggers = {names[name]: f"CREATE TRIGGER {names[name]} AFTER {event} {does}" for name, event in events.items()}
    return {"info": {"triggers": triggers}}


class User(Base):
    """A person or the MVP user. Who may see a row: its user, and whoever has the permission `admin`."""

    __tablename__ = "users"
    __table_args__ = (
        Index("ix_users_email_folded", folded(text("email")), unique=True),
        Index("ix_users_username_folded", folded(text("username")), unique=True),
        _tells_revocations("users"),
    )

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


_IS_PENDING = text("status = 'pending'")

HAS_OUTCOME = text(
    "actual_pnl > '-Infinity'::numeric AND actual_pnl < 'Infinity'::numeric "
    "AND confidence_score >= 0 AND confidence_score <= 100"
)
"""Of recommendations: what came of it is known; older deployments hold scores and results that are no numbers."""


RECOMMENDATION_FILTERS = (
    (),
    ("symbol",),
    ("recommendation_type",),
    ("status",),
    ("symbol", "recommendation_type"),
    ("symbol", "status"),
    ("recommendation_type", "status"),
    ("symbol", "recommendation_type", "status"),
)
"""What lists may be filtered by at once. Each has an index, or a page would pass over whatever does not fit."""


def _listed(*filters: str) -> Index:
    name = "_".join(["ix_ai_recommendations_list", *filters]).replace("recommendation_type", "type")
    return Index(name, "user_id", *filters, "created_at", "id")


def _outcomes(name: str, *columns: str | TextClause, include: Sequence[str] = ("confidence_score",)) -> Index:
    return Index(name, *columns, postgresql_include=include, postgresql_where=HAS_OUTCOME)


class AIRecommendation(Base):
    """What an analysis service suggested to a user. Who may see a row: its user; an owner, where it has none."""

    __tablename__ = "ai_recommendations"
    __table_args__ = (
        *(_listed(*filters) for filters in RECOMMENDATION_FILTERS),
        Index("ix_ai_recommendations_expiry", "user_id", "expires_at", postgresql_where=_IS_PENDING),
        Index("ix_ai_recommendations_overdue", "expires_at", "user_id", postgresql_where=_IS_PENDING),
        _outcomes("ix_ai_recommendations_outcomes", "user_id", "actual_pnl"),
        _outcomes("ix_ai_recommendations_outcomes_by_symbol", "user_id", "symbol", "actual_pnl"),
        _outcomes("ix_ai_recommendations_outcomes_by_type", "user_id", "recommendation_type", "actual_pnl"),
        _outcomes(
            "ix_ai_recommendations_outcomes_by_month",
            *("user_id", text("date_trunc('month', created_at)"), "actual_pnl"),
            include=("created_at", "confidence_score"),
        ),
    )

    id: Mapped[IndexedId]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    symbol: Mapped[str] = mapped_column(String(20))
    recommendation_type: Mapped[str] = mapped_column(String(20))
    confidence_score: Mapped[Decimal]
    analysis_data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    suggested_entry_price: Mapped[Decimal | None]
    suggested_stop_loss: Mapped[Decimal | None]
    suggested_take_profit: Mapped[Decimal | None]
    suggested_position_size: Mapped[Decimal | None]
    reasoning: Mapped[str | None] = mapped_column(Text)
    market_context: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20), default="pending")
    executed_at: Mapped[datetime | None]
    execution_price: Mapped[Decimal | None]
    actual_pnl: Mapped[Decimal | None]
    actual_pnl_percent: Mapped[Decimal | None]
    accuracy_score: Mapped[Decimal | None]
    created_at: Mapped[datetime] = mapped_column(default=database_now)
    expires_at: Mapped[datetime | None] = mapped_column()

    current_status: Mapped[str] = column_property(
        case((and_(status == "pending", expires_at <= database_now), "expired"), else_=status)
    )
    """`status`, but for what was pending when it expired: nothing need have written that down."""

    user: Mapped[User | None] = relationship(lazy="raise")


class OrderTemplate(Base):
    """An order a user keeps for use again. Who may see a row: its user; an owner, where it has none."""

    __tablename__ = "order_templates"
    __table_args__ = (
        Index("ix_order_templates_user_id_id", "user_id", "id"),
        Index("ix_order_templates_user_id_symbol_id", "user_id", "symbol", "id"),
    )

    id: Mapped[IndexedId]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255), index=True)
    description: Mapped[str | None] = mapped_column(Text)
    symbol: Mapped[str] = mapped_column(String(20))
    side: Mapped[str] = mapped_column(String(10))
    quantity: Mapped[Decimal]
    order_type: Mapped[str] = mapped_column(String(20))
    limit_price: Mapped[Decimal | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
    last_used_at: Mapped[datetime | None]
    stop_price: Mapped[Decimal | None]
    time_in_force: Mapped[str] = mapped_column(String(10), server_default="day")

    user: Mapped[User | None] = relationship(lazy="raise")


class IdempotencyKey(Base):
    """What was answered to a request that may come again. Nobody sees a row; its user gets the answer again.

    `fingerprint` is a hash of what was asked; `answer` is NULL only until the transaction that writes the row ends.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    operation: Mapped[str] = mapped_column(String(50), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[bytes]
    answer: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW_DEFAULT, index=True)


class UserSession(Base):
    """A sign-in and the pair of tokens it lives by, until `expires_at` or the end of its idle time at the latest.

    No index holds what a refresh changes: it writes the row and nothing else. Who may see a row: its user, and `admin`.
    """

    __tablename__ = "user_sessions"
    __table_args__ = (
        Index("ix_user_sessions_user_id_id", "user_id", "id", postgresql_where=text("ended_at IS NULL")),
        _tells_revocations("user_sessions"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    access_token_jti: Mapped[str] = mapped_column(String(100))
    refresh_token_jti: Mapped[str] = mapped_column(String(100))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    last_activity_at: Mapped[datetime]
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None] = mapped_column(String(30))

    user: Mapped[User] = relationship(lazy="raise")


class RefreshTokenExchange(Base):
    """A refresh token that was exchanged a moment ago, and what for. Nobody sees a row."""

    __tablename__ = "refresh_token_exchanges"

    jti: Mapped[str] = mapped_column(String(100), primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("user_sessions.id", ondelete="CASCADE"), index=True)
    successor_jti: Mapped[str] = mapped_column(String(100))
    exchanged_at: Mapped[datetime] = mapped_column(server_default=NOW_DEFAULT, index=True)


class ActivityLog(Base):
    """What happened to an account and who did it, kept when the account is deleted.

    `user_id` is the account the row tells of, without a foreign key, NULL where there is no such account;
    `user_email` and `actor_email` are the addresses at that time. Who may see a row: the user it tells of, and `admin`.
    """

    __tablename__ = "activity_log"
    __table_args__ = (
        Index("ix_activity_log_timestamp_id", "timestamp", "id"),
        Index("ix_activity_log_user_id_timestamp_id", "user_id", "timestamp", "id"),
        Index("ix_activity_log_action_type_timestamp_id", "action_type", "timestamp", "id"),
        Index("ix_activity_log_user_id_action_type_timestamp_id", "user_id", "action_type", "timestamp", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None]
    action_type: Mapped[str] = mapped_column(String(50))
    resource_type: Mapped[str | None] = mapped_column(String(50))
    resource_id: Mapped[int | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(500))
    timestamp: Mapped[datetime] = mapped_column(default=database_now)
    user_email: Mapped[str | None] = mapped_column(String(255))
    actor_id: Mapped[int | None]
    actor_email: Mapped[str | None] = mapped_column(String(255))
    actor_kind: Mapped[str | None] = mapped_column(String(20))
    request_id: Mapped[str | None] = mapped_column(String(64))


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
        _tells_revocations("api_tokens"),
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


class MvpClaim(Base):
    """That the MVP user was claimed, for good: one row at most, which outlives the user. Nobody sees it.

    `token_hash` is that of the token it was claimed with, so that the loser of a race learns what happened.
    """

    __tablename__ = "mvp_claim"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        CheckConstraint("octet_length(token_hash) = 32", name="token_hash"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), unique=True)
    token_hash: Mapped[bytes | None]
    claimed_at: Mapped[datetime] = mapped_column(server_default=NOW_DEFAULT)


class Invitation(Base):
    """A way in for one person; the secret itself has no column. Who may see a row: `admin`."""

    __tablename__ = "invitations"
    __table_args__ = (CheckConstraint("octet_length(secret_hash) = 32", name="secret_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    secret_hash: Mapped[bytes] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(String(50))
    email: Mapped[str | None] = mapped_column(String(255))
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW_DEFAULT)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    used_by: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    revoked_at: Mapped[datetime | None]


class PasswordReset(Base):
    """Leave to set a user's password once; the secret itself has no column. Nobody sees a row."""

    __tablename__ = "password_resets"
    __table_args__ = (CheckConstraint("octet_length(secret_hash) = 32", name="secret_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    secret_hash: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW_DEFAULT)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class KnownAddress(Base):
    """A network from which a user has signed in. Nobody sees a row."""

    __tablename__ = "known_addresses"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    network: Mapped[str] = mapped_column(String(45), primary_key=True)
    last_seen_at: Mapped[datetime] = mapped_column(server_default=NOW_DEFAULT, index=True)


class ThrottledKey(Base):
    """How often somebody failed of late, by a hash of what the failures share. Nobody sees a row."""

    __tablename__ = "throttled_keys"
    __table_args__ = (CheckConstraint("octet_length(key) = 32", name="key"),)

    key: Mapped[bytes] = mapped_column(primary_key=True)
    failures: Mapped[int]
    last_failed_at: Mapped[datetime] = mapped_column(index=True)
    blocked_until: Mapped[datetime]
