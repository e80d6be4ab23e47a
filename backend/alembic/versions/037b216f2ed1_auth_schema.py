"""Accounts: passwords, roles, sessions and an activity log.

Existing users get constant defaults, which PostgreSQL keeps in its catalog: no row is rewritten. Their password
hash is a marker that no password matches, and the next revision turns it into NULL; users without an address get
one at a reserved domain (RFC 2606), because the column forbids NULL from here on.

Revision ID: 037b216f2ed1
Revises: ad76030fa92e
Create Date: 2025-10-22 18:05:33
"""

import sqlalchemy as sa
from alembic import op

from app.db.migration.ddl import commit, create_index_concurrently, set_not_null, update_in_batches

revision = "037b216f2ed1"
down_revision = "ad76030fa92e"
branch_labels = None
depends_on = None

NO_PASSWORD = "!"  # the marker of shadow(5) for an account that cannot sign in
PLACEHOLDER_ADDRESS = "'user-' || id || '@placeholder.invalid'"


def upgrade() -> None:
    update_in_batches("users", f"email = {PLACEHOLDER_ADDRESS}", "email IS NULL")
    set_not_null("users", "email")
    for definition in (
        f"password_hash VARCHAR(255) NOT NULL DEFAULT '{NO_PASSWORD}'",
        "full_name VARCHAR(255)",
        "role VARCHAR(50) NOT NULL DEFAULT 'personal_only'",
        "is_active BOOLEAN NOT NULL DEFAULT true",
        "last_login_at TIMESTAMP",
    ):
        op.execute(f"ALTER TABLE users ADD COLUMN IF NOT EXISTS {definition}")
    commit()
    _create_user_sessions()
    _create_activity_log()
    create_index_concurrently("ix_users_role", "users", ["role"])
    create_index_concurrently("ix_users_is_active", "users", ["is_active"])
    # Last, because replicas of the code before insert without a hash until this revision is done.
    op.alter_column("users", "password_hash", server_default=None)


def _create_user_sessions() -> None:
    op.create_table(
        "user_sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("access_token_jti", sa.String(100), nullable=False),
        sa.Column("refresh_token_jti", sa.String(100), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("last_activity_at", sa.DateTime(), nullable=False),
        sa.Column("ip_address", sa.String(45), nullable=True),
        sa.Column("user_agent", sa.String(500), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="user_sessions_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="user_sessions_user_id_fkey", ondelete="CASCADE"),
        if_not_exists=True,
    )
    for column, unique in (
        ("id", False),
        ("user_id", False),
        ("access_token_jti", True),
        ("refresh_token_jti", True),
        ("expires_at", False),
    ):
        op.create_index(f"ix_user_sessions_{column}", "user_sessions", [column], unique=unique, if_not_exists=True)


def _create_activity_log() -> None:
    op.create_table(
        "activity_log",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("action_type", sa.String(50), nullable=False),
        sa.Column("resource_type", sa.String(50), nullable=True),
        sa.Column("resource_id", sa.Integer(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("ip_address", sa.String(45), nullable=True),
        sa.Column("user_agent", sa.String(500), nullable=True),
        sa.Column("timestamp", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="activity_log_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="activity_log_user_id_fkey", ondelete="CASCADE"),
        if_not_exists=True,
    )
    for column in ("id", "user_id", "action_type", "resource_type", "timestamp"):
        op.create_index(f"ix_activity_log_{column}", "activity_log", [column], if_not_exists=True)


def downgrade() -> None:
    op.alter_column("users", "email", nullable=True)
    update_in_batches("users", "email = NULL", f"email = {PLACEHOLDER_ADDRESS}")
    op.drop_table("activity_log")
    op.drop_table("user_sessions")
    op.drop_index("ix_users_is_active", table_name="users")
    op.drop_index("ix_users_role", table_name="users")
    for column in ("last_login_at", "is_active", "role", "full_name", "password_hash"):
        op.drop_column("users", column)
