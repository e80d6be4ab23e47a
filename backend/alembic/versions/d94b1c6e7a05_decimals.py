"""Prices, quantities and scores are decimals; order templates have a stop price and a time in force.

Each table is rewritten once, under a lock, in one transaction: no released version of this service reads or writes
them. A value keeps the digits it prints with; a cast without the way over text would keep fifteen of them.

Revision ID: d94b1c6e7a05
Revises: ce36ee4acc80
Create Date: 2026-11-23 00:40:00
"""

from alembic import op

from app.db.migration.ddl import commit

revision = "d94b1c6e7a05"
down_revision = "ce36ee4acc80"
branch_labels = None
depends_on = None

# A setting below 1 would round what is printed.
PRINT_EVERY_DIGIT = "SET LOCAL extra_float_digits = 1"

TEMPLATES_TO_DECIMALS = """
ALTER TABLE order_templates
    ALTER COLUMN quantity TYPE NUMERIC USING quantity::text::numeric,
    ALTER COLUMN limit_price TYPE NUMERIC USING limit_price::text::numeric
"""
RECOMMENDATIONS_TO_DECIMALS = """
ALTER TABLE ai_recommendations
    ALTER COLUMN confidence_score TYPE NUMERIC USING confidence_score::text::numeric,
    ALTER COLUMN suggested_entry_price TYPE NUMERIC USING suggested_entry_price::text::numeric,
    ALTER COLUMN suggested_stop_loss TYPE NUMERIC USING suggested_stop_loss::text::numeric,
    ALTER COLUMN suggested_take_profit TYPE NUMERIC USING suggested_take_profit::text::numeric,
    ALTER COLUMN suggested_position_size TYPE NUMERIC USING suggested_position_size::text::numeric,
    ALTER COLUMN execution_price TYPE NUMERIC USING execution_price::text::numeric,
    ALTER COLUMN actual_pnl TYPE NUMERIC USING actual_pnl::text::numeric,
    ALTER COLUMN actual_pnl_percent TYPE NUMERIC USING actual_pnl_percent::text::numeric,
    ALTER COLUMN accuracy_score TYPE NUMERIC USING accuracy_score::text::numeric
"""

# Both tables are looked at before either is changed, so that a refusal leaves everything as it was.
REFUSE_TO_ROUND = """
DO $$
DECLARE
    templates bigint;
    recommendations bigint;
BEGIN
    LOCK TABLE order_templates, ai_recommendations IN SHARE ROW EXCLUSIVE MODE;
    SELECT count(*) INTO templates FROM order_templates
     WHERE quantity <> quantity::float8::text::numeric OR limit_price <> limit_price::float8::text::numeric;
    SELECT count(*) INTO recommendations FROM ai_recommendations
     WHERE confidence_score <> confidence_score::float8::text::numeric
        OR suggested_entry_price <> suggested_entry_price::float8::text::numeric
        OR suggested_stop_loss <> suggested_stop_loss::float8::text::numeric
        OR suggested_take_profit <> suggested_take_profit::float8::text::numeric
        OR suggested_position_size <> suggested_position_size::float8::text::numeric
        OR execution_price <> execution_price::float8::text::numeric
        OR actual_pnl <> actual_pnl::float8::text::numeric
        OR actual_pnl_percent <> actual_pnl_percent::float8::text::numeric
        OR accuracy_score <> accuracy_score::float8::text::numeric;
    IF templates + recommendations > 0 THEN
        RAISE EXCEPTION '% order template(s) and % recommendation(s) hold numbers with more digits than DOUBLE '
            'PRECISION keeps. The database stays at revision d94b1c6e7a05: round or delete them, then run the '
            'downgrade again.', templates, recommendations;
    END IF;
EXCEPTION WHEN numeric_value_out_of_range THEN
    RAISE EXCEPTION 'An order template or a recommendation holds a number outside the range of DOUBLE PRECISION. '
        'The database stays at revision d94b1c6e7a05: change or delete it, then run the downgrade again.';
END
$$
"""
TEMPLATES_TO_FLOATS = """
ALTER TABLE order_templates
    ALTER COLUMN quantity TYPE DOUBLE PRECISION,
    ALTER COLUMN limit_price TYPE DOUBLE PRECISION,
    DROP COLUMN stop_price,
    DROP COLUMN time_in_force
"""
RECOMMENDATIONS_TO_FLOATS = """
ALTER TABLE ai_recommendations
    ALTER COLUMN confidence_score TYPE DOUBLE PRECISION,
    ALTER COLUMN suggested_entry_price TYPE DOUBLE PRECISION,
    ALTER COLUMN suggested_stop_loss TYPE DOUBLE PRECISION,
    ALTER COLUMN suggested_take_profit TYPE DOUBLE PRECISION,
    ALTER COLUMN suggested_position_size TYPE DOUBLE PRECISION,
    ALTER COLUMN execution_price TYPE DOUBLE PRECISION,
    ALTER COLUMN actual_pnl TYPE DOUBLE PRECISION,
    ALTER COLUMN actual_pnl_percent TYPE DOUBLE PRECISION,
    ALTER COLUMN accuracy_score TYPE DOUBLE PRECISION
"""


def upgrade() -> None:
    op.execute("ALTER TABLE order_templates ADD COLUMN IF NOT EXISTS stop_price NUMERIC")
    op.execute("ALTER TABLE order_templates ADD COLUMN IF NOT EXISTS time_in_force VARCHAR(10) DEFAULT 'day' NOT NULL")
    op.execute(PRINT_EVERY_DIGIT)
    op.execute(TEMPLATES_TO_DECIMALS)
    commit()
    op.execute(PRINT_EVERY_DIGIT)
    op.execute(RECOMMENDATIONS_TO_DECIMALS)


def downgrade() -> None:
    op.execute(PRINT_EVERY_DIGIT)
    op.execute(REFUSE_TO_ROUND)
    op.execute(TEMPLATES_TO_FLOATS)
    op.execute(RECOMMENDATIONS_TO_FLOATS)
