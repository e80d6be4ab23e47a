"""Recommendations of an analysis service.

Revision ID: c8e4f9b52d31
Revises: 0952a611cdfb
Create Date: 2025-10-06 15:30:08
"""

import sqlalchemy as sa
from alembic import op

revision = "c8e4f9b52d31"
down_revision = "0952a611cdfb"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ai_recommendations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("symbol", sa.String(20), nullable=False),
        sa.Column("recommendation_type", sa.String(20), nullable=False),
        sa.Column("confidence_score", sa.Double(), nullable=False),
        sa.Column("analysis_data", sa.JSON(), nullable=False),
        sa.Column("suggested_entry_price", sa.Double(), nullable=True),
        sa.Column("suggested_stop_loss", sa.Double(), nullable=True),
        sa.Column("suggested_take_profit", sa.Double(), nullable=True),
        sa.Column("suggested_position_size", sa.Double(), nullable=True),
        sa.Column("reasoning", sa.Text(), nullable=True),
        sa.Column("market_context", sa.Text(), nullable=True),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("executed_at", sa.DateTime(), nullable=True),
        sa.Column("execution_price", sa.Double(), nullable=True),
        sa.Column("actual_pnl", sa.Double(), nullable=True),
        sa.Column("actual_pnl_percent", sa.Double(), nullable=True),
        sa.Column("accuracy_score", sa.Double(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="ai_recommendations_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="ai_recommendations_user_id_fkey", ondelete="CASCADE"),
    )
    for column in ("id", "symbol", "recommendation_type", "status", "created_at"):
        op.create_index(f"ix_ai_recommendations_{column}", "ai_recommendations", [column])


def downgrade() -> None:
    op.drop_table("ai_recommendations")
