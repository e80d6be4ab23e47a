"""Sequences that fell behind their table are brought past its highest id.

A database restored by hand may hand out ids that rows already have, and the first insert would fail.

Revision ID: e93b5d27f610
Revises: 7c1f0a9de482
Create Date: 2026-11-22 18:25:00
"""

from alembic import op

revision = "e93b5d27f610"
down_revision = "7c1f0a9de482"
branch_labels = None
depends_on = None

TABLES = ("users", "ai_recommendations", "order_templates", "user_sessions", "activity_log")

CATCH_UP = """
DO $$
DECLARE
    sequence text := (
        SELECT s.oid::regclass::text
          FROM pg_attrdef d
          JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attname = 'id'
          JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
          JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S' AND p.refclassid = 'pg_class'::regclass
         WHERE d.adrelid = '{table}'::regclass
         LIMIT 1
    );
BEGIN
    LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;
    IF sequence IS NOT NULL THEN
        EXECUTE format('SELECT setval(%L, max(id)) FROM {table} '
            'HAVING max(id) >= (SELECT last_value + is_called::int FROM %s)', sequence, sequence);
    END IF;
END
$$
"""


def upgrade() -> None:
    for table in TABLES:
        op.execute(CATCH_UP.format(table=table))


def downgrade() -> None:
    """A sequence that is ahead of its table needs no undoing."""
