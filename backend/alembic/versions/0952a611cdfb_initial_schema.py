"""Initial schema: users.

Revision ID: 0952a611cdfb
Revises:
Create Date: 2025-09-28 10:12:41
"""

import sqlalchemy as sa
from alembic import op

revision = "0952a611cdfb"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(255), nullable=True),
        sa.Column("alpaca_account_id", sa.String(100), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("preferences", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="users_pkey"),
    )
    op.create_index("ix_users_id", "users", ["id"])
    op.create_index("ix_users_email", "users", ["email"], unique=True)
    op.create_index("ix_users_alpaca_account_id", "users", ["alpaca_account_id"], unique=True)


def downgrade() -> None:
    op.drop_table("users")
