"""The claim of the MVP user, invitations and password resets.

That it was claimed holds for good: on the way down the row waits in `mvp_claim_set_aside`, from where the next upgrade
fetches it. Invitations and password resets are lost.

Revision ID: 6b87f3b9445b
Revises: b6790272e292
Create Date: 2026-11-22 21:46:00
"""

import sqlalchemy as sa
from alembic import op

revision = "6b87f3b9445b"
down_revision = "b6790272e292"
branch_labels = None
depends_on = None

NOW = sa.text("timezone('utc', now())")

# Only where there is a row to keep, the table is made.
SET_ASIDE = """
DO $$
BEGIN
    LOCK TABLE mvp_claim;
    IF EXISTS (SELECT FROM mvp_claim) THEN
        CREATE TABLE mvp_claim_set_aside AS SELECT id, user_id, token_hash, claimed_at FROM mvp_claim;
    END IF;
END
$$
"""

# The user may be gone. Where all are, the tables were dropped and made anew meanwhile, and nobody has claimed anything.
FETCH_BACK = """
DO $$
BEGIN
    IF to_regclass('mvp_claim_set_aside') IS NOT NULL THEN
        INSERT INTO mvp_claim (id, user_id, token_hash, claimed_at)
            SELECT aside.id, users.id, token_hash, claimed_at
              FROM mvp_claim_set_aside AS aside LEFT JOIN users ON users.id = user_id
             WHERE EXISTS (SELECT FROM users);
        DROP TABLE mvp_claim_set_aside;
    END IF;
END
$$
"""


def upgrade() -> None:
    _create_mvp_claim()
    op.execute(FETCH_BACK)
    _create_invitations()
    _create_password_resets()


def _create_mvp_claim() -> None:
    op.create_table(
        "mvp_claim",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(), server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name="mvp_claim_pkey"),
        sa.UniqueConstraint("user_id", name="mvp_claim_user_id_key"),
        sa.CheckConstraint("id = 1", name=op.f("mvp_claim_one_row_check")),
        sa.CheckConstraint("octet_length(token_hash) = 32", name=op.f("mvp_claim_token_hash_check")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="mvp_claim_user_id_fkey", ondelete="SET NULL"),
    )


def _create_invitations() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.String(50), nullable=False),
        sa.Column("email", sa.String(255), nullable=True),
        sa.Column("created_by", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(), server_default=NOW, nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("used_at", sa.DateTime(), nullable=True),
        sa.Column("used_by", sa.Integer(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="invitations_pkey"),
        sa.UniqueConstraint("secret_hash", name="invitations_secret_hash_key"),
        sa.CheckConstraint("octet_length(secret_hash) = 32", name=op.f("invitations_secret_hash_check")),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name="invitations_created_by_fkey", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["used_by"], ["users.id"], name="invitations_used_by_fkey", ondelete="SET NULL"),
    )
    op.create_index("ix_invitations_created_by", "invitations", ["created_by"])
    op.create_index("ix_invitations_used_by", "invitations", ["used_by"])


def _create_password_resets() -> None:
    op.create_table(
        "password_resets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(), server_default=NOW, nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("used_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="password_resets_pkey"),
        sa.UniqueConstraint("secret_hash", name="password_resets_secret_hash_key"),
        sa.CheckConstraint("octet_length(secret_hash) = 32", name=op.f("password_resets_secret_hash_check")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="password_resets_user_id_fkey", ondelete="CASCADE"),
    )
    op.create_index("ix_password_resets_user_id", "password_resets", ["user_id"])


def downgrade() -> None:
    op.drop_table("password_resets")
    op.drop_table("invitations")
    op.execute(SET_ASIDE)
    op.drop_table("mvp_claim")
