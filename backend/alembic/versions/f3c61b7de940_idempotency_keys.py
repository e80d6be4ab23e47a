"""What was answered to a request that may come again (Idempotency-Key).

Revision ID: f3c61b7de940
Revises: 5a0f3e8bd217
Create Date: 2026-11-23 00:55:00
"""

import sqlalchemy as sa
from alembic import op

revision = "f3c61b7de940"
down_revision = "5a0f3e8bd217"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("operation", sa.String(50), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(), server_default=sa.text("timezone('utc', now())"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "operation", "key", name="idempotency_keys_pkey"),
        sa.CheckConstraint("octet_length(fingerprint) = 32", name=op.f("idempotency_keys_fingerprint_check")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="idempotency_keys_user_id_fkey", ondelete="CASCADE"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
