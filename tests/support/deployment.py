"""A deployment of the years before this code: its tables and rows, written by hand and never by our migrations."""

from tests.support.chain import execute

PASSWORD = "correct horse battery staple"
BCRYPT = "$2b$12$EqnaKm1o6Hz30h27UGdAP.GaZ/qcuVxmO2AyCg7gOdHTIxSrq4tIK"
"""The hash of PASSWORD in those rows that have one."""

MANAGED = ("users", "ai_recommendations", "order_templates", "user_sessions", "activity_log")
UNMANAGED = ("equity_snapshots", "performance", "strategies", "trades")
HIGHEST_ID = 40
"""Of every managed table; only the sequence of `order_templates`, next 500, and of `activity_log` are not behind it."""

TABLES = """
CREATE TABLE users (
    id SERIAL PRIMARY KEY,
    email VARCHAR(255) NOT NULL,
    alpaca_account_id VARCHAR(100),
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    preferences JSON NOT NULL,
    password_hash VARCHAR(255),
    full_name VARCHAR(255),
    role VARCHAR(50) NOT NULL DEFAULT 'personal_only',
    is_active BOOLEAN NOT NULL DEFAULT true,
    last_login_at TIMESTAMP,
    username VARCHAR(255)
);
CREATE INDEX ix_users_id ON users (id);
CREATE UNIQUE INDEX ix_users_email ON users (email);
CREATE UNIQUE INDEX ix_users_alpaca_account_id ON users (alpaca_account_id);
CREATE INDEX ix_users_role ON users (role);
CREATE INDEX ix_users_is_active ON users (is_active);

CREATE TABLE ai_recommendations (
    id SERIAL PRIMARY KEY,
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    symbol VARCHAR(20) NOT NULL,
    recommendation_type VARCHAR(20) NOT NULL,
    confidence_score DOUBLE PRECISION NOT NULL,
    analysis_data JSON NOT NULL,
    suggested_entry_price DOUBLE PRECISION,
    suggested_stop_loss DOUBLE PRECISION,
    suggested_take_profit DOUBLE PRECISION,
    suggested_position_size DOUBLE PRECISION,
    reasoning TEXT,
    market_context TEXT,
    status VARCHAR(20) NOT NULL,
    executed_at TIMESTAMP,
    execution_price DOUBLE PRECISION,
    actual_pnl DOUBLE PRECISION,
    actual_pnl_percent DOUBLE PRECISION,
    accuracy_score DOUBLE PRECISION,
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP
);
CREATE INDEX ix_ai_recommendations_id ON ai_recommendations (id);
CREATE INDEX ix_ai_recommendations_symbol ON ai_recommendations (symbol);
CREATE INDEX ix_ai_recommendations_recommendation_type ON ai_recommendations (recommendation_type);
CREATE INDEX ix_ai_recommendations_status ON ai_recommendations (status);
CREATE INDEX ix_ai_recommendations_created_at ON ai_recommendations (created_at);

CREATE TABLE order_templates (
    id SERIAL PRIMARY KEY,
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    name VARCHAR(255) NOT NULL,
    description TEXT,
    symbol VARCHAR(20) NOT NULL,
    side VARCHAR(10) NOT NULL,
    quantity DOUBLE PRECISION NOT NULL,
    order_type VARCHAR(20) NOT NULL,
    limit_price DOUBLE PRECISION,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    last_used_at TIMESTAMP
);
CREATE INDEX ix_order_templates_id ON order_templates (id);
CREATE INDEX ix_order_templates_name ON order_templates (name);

CREATE TABLE user_sessions (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    access_token_jti VARCHAR(100) NOT NULL,
    refresh_token_jti VARCHAR(100) NOT NULL,
    expires_at TIMESTAMP NOT NULL,
    last_activity_at TIMESTAMP NOT NULL,
    ip_address VARCHAR(45),
    user_agent VARCHAR(500),
    created_at TIMESTAMP NOT NULL
);
CREATE INDEX ix_user_sessions_id ON user_sessions (id);
CREATE INDEX ix_user_sessions_user_id ON user_sessions (user_id);
CREATE INDEX ix_user_sessions_expires_at ON user_sessions (expires_at);
CREATE UNIQUE INDEX ix_user_sessions_access_token_jti ON user_sessions (access_token_jti);
CREATE UNIQUE INDEX ix_user_sessions_refresh_token_jti ON user_sessions (refresh_token_jti);

CREATE TABLE activity_log (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    action_type VARCHAR(50) NOT NULL,
    resource_type VARCHAR(50),
    resource_id INTEGER,
    details JSON NOT NULL,
    ip_address VARCHAR(45),
    user_agent VARCHAR(500),
    timestamp TIMESTAMP NOT NULL
);
CREATE INDEX ix_activity_log_id ON activity_log (id);
CREATE INDEX ix_activity_log_user_id ON activity_log (user_id);
CREATE INDEX ix_activity_log_action_type ON activity_log (action_type);
CREATE INDEX ix_activity_log_resource_type ON activity_log (resource_type);
CREATE INDEX ix_activity_log_timestamp ON activity_log (timestamp);
"""

STRANGERS = """
CREATE TABLE strategies (
    id SERIAL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), name TEXT NOT NULL, rules JSONB
);
CREATE TABLE trades (
    id SERIAL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    strategy_id INTEGER REFERENCES strategies (id), quantity NUMERIC(18, 9) NOT NULL, price NUMERIC(18, 9) NOT NULL
);
CREATE TABLE performance (
    id SERIAL PRIMARY KEY, user_id INTEGER REFERENCES users (id) ON DELETE SET NULL, day DATE, pnl DOUBLE PRECISION
);
CREATE TABLE equity_snapshots (
    id SERIAL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), equity NUMERIC CHECK (equity >= 0),
    taken_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX ix_equity_snapshots_taken_at ON equity_snapshots (taken_at DESC);
INSERT INTO strategies (user_id, name, rules) VALUES (1, 'momentum', '{"window": 20}'), (40, 'mean reversion', NULL);
INSERT INTO trades (user_id, strategy_id, quantity, price)
    VALUES (1, 1, 0.000000001, 187.123456789), (5, NULL, 10, 42.5);
INSERT INTO performance (user_id, day, pnl) VALUES (1, '2026-02-28', 0.1), (NULL, NULL, 'NaN');
INSERT INTO equity_snapshots (user_id, equity, taken_at)
    VALUES (4, 100000.01, '2026-01-02 09:30+01'), (40, 0, '2026-01-02 09:30+00');
"""

AWKWARD = (
    "0.1",
    "0.30000000000000004",
    "1e+22",
    "1e-07",
    "1.7976931348623157e+308",
    "5e-324",
    "-0",
    "NaN",
    "Infinity",
    "-Infinity",
    "123456789.12345679",
    "-9.007199254740994e+15",
)
"""Numbers of some trading rows, as PostgreSQL writes them."""

ROWS = f"""
INSERT INTO users (id, email, alpaca_account_id, created_at, updated_at, preferences, password_hash, full_name, role,
                   is_active, last_login_at, username) VALUES
    (1, 'founder@desk.test', 'PA3XYZ', '2025-11-04 08:00', '2026-01-05 10:11:12.131415', '{{"theme" : "dark"}}',
     '{BCRYPT}', 'Renée Łukasz 山田', 'owner', true, '2026-01-05 10:11:12.131415', 'founder'),
    (2, 'Ana@desk.test', NULL, '2025-11-05 08:00', '2025-11-05 08:00', '{{}}', '{BCRYPT}', 'Ana', 'beta_tester', true,
     NULL, 'trader'),
    (3, 'ben@desk.test', NULL, '2025-11-06 08:00', '2025-11-06 08:00', '{{"a": 1, "a": 2}}', '{BCRYPT}', NULL,
     'personal_only', true, NULL, 'scalper'),
    (4, 'empty@desk.test', '', '2025-11-07 08:00', '2025-11-07 08:00', '{{}}', '', '', 'personal_only', true, NULL, ''),
    (5, 'open@desk.test', NULL, '2025-11-08 08:00', '2025-11-08 08:00', '{{"a":[]}}', NULL, NULL, 'personal_only', true,
     NULL, NULL),
    (6, 'gone@desk.test', NULL, '2025-11-09 08:00', '2025-11-09 08:00', 'null', '{BCRYPT}', NULL, 'beta_tester', false,
     '1970-01-01', 'Hedger'),
    (40, 'auditor@desk.test', NULL, '2025-11-10 08:00', '2025-11-10 08:00', '[]', NULL, NULL, 'auditor', true, NULL,
     '');

INSERT INTO ai_recommendations (id, user_id, symbol, recommendation_type, confidence_score, analysis_data,
                                suggested_entry_price, reasoning, status, executed_at, execution_price,
                                created_at) VALUES
    (1, 1, 'AAPL', 'buy', 87.5, '{{"rsi": 31.2}}', 0.30000000000000004, 'oversold', 'pending', NULL, NULL,
     '2026-01-01'),
    (2, NULL, 'TSLA', 'sell', 'NaN', '{{}}', NULL, NULL, 'expired', NULL, NULL, '2026-01-02'),
    (40, 5, 'BRK.B', 'hold', 100, '[1,  2]', '-Infinity', '', 'executed', '2026-01-03', 1e-300, '2026-01-03');

INSERT INTO order_templates (id, user_id, name, description, symbol, side, quantity, order_type, limit_price,
                             created_at, updated_at, last_used_at) VALUES
    (1, 1, 'open', NULL, 'AAPL', 'buy', 10, 'market', NULL, '2026-01-01', '2026-01-01', NULL),
    (40, NULL, 'nobody''s', '', 'TSLA', 'sell', 0.1, 'limit', 199.99, '2026-01-02', '2026-01-02', '2026-01-03');

INSERT INTO user_sessions (id, user_id, access_token_jti, refresh_token_jti, expires_at, last_activity_at, ip_address,
                           user_agent, created_at) VALUES
    (1, 1, 'a1', 'r1', '2026-01-31', '2026-01-05', '::1', 'curl/8.5', '2026-01-05'),
    (40, 2, 'a2', 'r2', '2025-12-01', '2025-11-30', NULL, NULL, '2025-11-05');

INSERT INTO activity_log (id, user_id, action_type, resource_type, resource_id, details, ip_address, timestamp) VALUES
    (1, 1, 'login', NULL, NULL, '{{}}', '2001:db8::1', '2026-01-05 10:11:12'),
    (40, 6, 'order_created', 'order', 2147483647, '{{"note": "é"}}', NULL, '2025-11-09');

INSERT INTO ai_recommendations (id, user_id, symbol, recommendation_type, confidence_score, analysis_data,
                                suggested_entry_price, suggested_stop_loss, suggested_take_profit,
                                suggested_position_size, status, execution_price, actual_pnl, actual_pnl_percent,
                                accuracy_score, created_at)
    SELECT 2 + place, CASE WHEN mod(place, 2) = 0 THEN 1 END, 'ODD', 'buy', number, '{{}}', number, number, number,
           number, 'closed', number, number, number, number, '2026-01-04'
      FROM unnest('{{{", ".join(AWKWARD)}}}'::float8[]) WITH ORDINALITY AS odd (number, place);
INSERT INTO order_templates (id, user_id, name, symbol, side, quantity, order_type, limit_price, created_at, updated_at)
    SELECT 1 + place, CASE WHEN mod(place, 2) = 0 THEN 1 END, 'odd', 'ODD', 'buy', number, 'limit', number,
           '2026-01-04', '2026-01-04'
      FROM unnest('{{{", ".join(AWKWARD)}}}'::float8[]) WITH ORDINALITY AS odd (number, place);

ALTER SEQUENCE order_templates_id_seq RESTART WITH 500;
SELECT setval('activity_log_id_seq', 40);
"""

DUPLICATES = """
UPDATE users SET email = 'ana@desk.test', username = 'trader' WHERE id = 3;
UPDATE users SET username = 'Trader' WHERE id = 6;
"""
"""What the code of those years allowed."""

STAMP = """
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES ('50b91afc8456');
"""


def deploy(url: str, *, stamped: bool = True) -> None:
    """Make the deployment in an empty database; without the stamp nothing says which revision it is at."""
    execute(url, TABLES, ROWS, STRANGERS, *([STAMP] if stamped else []))
