"""Failed attempts are counted, and the networks that users sign in from are known.

Revision ID: ce36ee4acc80
Revises: 6b87f3b9445b
Create Date: 2026-11-22 21:48:00
"""

import sqlalchemy as sa
from alembic import op

revision = "ce36ee4acc80"
down_revision = "6b87f3b9445b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "known_addresses",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("network", sa.String(45), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(), server_default=sa.text("timezone('utc', now())"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "network", name="known_addresses_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="known_addresses_user_id_fkey", ondelete="CASCADE"),
    )
    op.create_table(
        "throttled_keys",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_failed_at", sa.DateTime(), nullable=False),
        sa.Column("blocked_until", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="throttled_keys_pkey"),
        sa.CheckConstraint("octet_length(key) = 32", name=op.f("throttled_keys_key_check")),
    )
    op.create_index("ix_throttled_keys_last_failed_at", "throttled_keys", ["last_failed_at"])


def downgrade() -> None:
    op.drop_table("throttled_keys")
    op.drop_table("known_addresses")
