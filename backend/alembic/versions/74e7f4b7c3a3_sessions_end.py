"""Sessions end and keep their row; refresh tokens are exchanged.

Sessions that exist were signed for by another key: they end now, for the reason `legacy`. PostgreSQL keeps their
values in its catalog, and no row is rewritten. On the way back a session that ended since expires when it ended.

Revision ID: 74e7f4b7c3a3
Revises: b41d6f0c92e7
Create Date: 2026-11-22 21:42:00
"""

import sqlalchemy as sa
from alembic import op

from app.db.migration.ddl import create_index_concurrently, drop_index_concurrently, update_in_batches

revision = "74e7f4b7c3a3"
down_revision = "b41d6f0c92e7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column, definition, of_old_rows in (
        ("ended_at", "TIMESTAMP", "timezone('utc', now())"),
        ("end_reason", "VARCHAR(30)", "'legacy'"),
    ):
        op.execute(f"ALTER TABLE user_sessions ADD COLUMN IF NOT EXISTS {column} {definition} DEFAULT {of_old_rows}")
        op.execute(f"ALTER TABLE user_sessions ALTER COLUMN {column} DROP DEFAULT")
    op.create_table(
        "refresh_token_exchanges",
        sa.Column("jti", sa.String(100), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("successor_jti", sa.String(100), nullable=False),
        sa.Column("exchanged_at", sa.DateTime(), server_default=sa.text("timezone('utc', now())"), nullable=False),
        sa.PrimaryKeyConstraint("jti", name="refresh_token_exchanges_pkey"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["user_sessions.id"], name="refresh_token_exchanges_session_id_fkey", ondelete="CASCADE"
        ),
        if_not_exists=True,
    )
    op.create_index(
        "ix_refresh_token_exchanges_session_id", "refresh_token_exchanges", ["session_id"], if_not_exists=True
    )
    create_index_concurrently(
        "ix_user_sessions_user_id_id", "user_sessions", ["user_id", "id"], where="ended_at IS NULL"
    )


def downgrade() -> None:
    drop_index_concurrently("ix_user_sessions_user_id_id", "user_sessions")
    ended_since = "ended_at < expires_at AND end_reason IS DISTINCT FROM 'legacy'"
    update_in_batches("user_sessions", "expires_at = ended_at", ended_since)
    op.drop_table("refresh_token_exchanges", if_exists=True)
    for column in ("end_reason", "ended_at"):
        op.execute(f"ALTER TABLE user_sessions DROP COLUMN IF EXISTS {column}")
