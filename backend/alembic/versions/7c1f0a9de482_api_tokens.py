"""API tokens, the one from the configuration among them.

Revision ID: 7c1f0a9de482
Revises: 50b91afc8456
Create Date: 2026-11-22 18:20:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "7c1f0a9de482"
down_revision = "50b91afc8456"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("prefix", sa.String(12), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.String(20)), nullable=False),
        sa.Column("created_at", sa.DateTime(), server_default=sa.text("timezone('utc', now())"), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.Column("last_used_at", sa.DateTime(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(), nullable=True),
        sa.Column("from_configuration", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="api_tokens_pkey"),
        sa.UniqueConstraint("secret_hash", name="api_tokens_secret_hash_key"),
        sa.CheckConstraint("octet_length(secret_hash) = 32", name=op.f("api_tokens_secret_hash_check")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="api_tokens_user_id_fkey", ondelete="CASCADE"),
    )
    op.create_index("ix_api_tokens_user_id_id", "api_tokens", ["user_id", "id"])
    op.create_index(
        "ix_api_tokens_from_configuration",
        "api_tokens",
        ["from_configuration"],
        unique=True,
        postgresql_where=sa.text("from_configuration AND revoked_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("api_tokens")
