"""Order templates.

Revision ID: ad76030fa92e
Revises: c8e4f9b52d31
Create Date: 2025-10-14 09:47:55
"""

import sqlalchemy as sa
from alembic import op

revision = "ad76030fa92e"
down_revision = "c8e4f9b52d31"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "order_templates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("symbol", sa.String(20), nullable=False),
        sa.Column("side", sa.String(10), nullable=False),
        sa.Column("quantity", sa.Double(), nullable=False),
        sa.Column("order_type", sa.String(20), nullable=False),
        sa.Column("limit_price", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("last_used_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="order_templates_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="order_templates_user_id_fkey", ondelete="CASCADE"),
    )
    op.create_index("ix_order_templates_id", "order_templates", ["id"])
    op.create_index("ix_order_templates_name", "order_templates", ["name"])


def downgrade() -> None:
    op.drop_table("order_templates")
