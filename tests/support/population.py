"""Rows of every age, on the way along the chain."""

from tests.support.chain import (
    ACCOUNTS,
    ACTIVITY,
    API_TOKENS,
    CHAIN,
    DECIMALS,
    IDEMPOTENCY,
    INITIAL,
    ORDER_TEMPLATES,
    RECOMMENDATIONS,
    SESSIONS,
    USERNAMES,
    execute,
    upgrade,
)
from tests.support.deployment import BCRYPT

POPULATION = {
    INITIAL: """
        INSERT INTO users (email, alpaca_account_id, created_at, updated_at, preferences) VALUES
            ('first@desk.test', 'PA1', '2025-10-01 01:02:03.000004', '2025-10-01', '{"b":  1, "b": 2}'),
            (NULL, NULL, '2025-10-02', '2025-10-02', 'null'),
            (NULL, 'PA3', '2025-10-03', '2025-10-03', '[]');
        INSERT INTO users (id, email, created_at, updated_at, preferences) VALUES
            (0, NULL, '2025-10-04', '2025-10-04', '{}'), (-7, NULL, '2025-10-04', '2025-10-04', '{}');
    """,
    RECOMMENDATIONS: """
        INSERT INTO ai_recommendations (user_id, symbol, recommendation_type, confidence_score, analysis_data, status,
            created_at) VALUES (1, 'AAPL', 'buy', 0.1, '{}', 'pending', '2025-10-07'),
            (NULL, 'TSLA', 'hold', 'NaN', '{"a":  1}', 'expired', '2025-10-08')
    """,
    ORDER_TEMPLATES: """
        INSERT INTO order_templates (user_id, name, symbol, side, quantity, order_type, created_at, updated_at)
            VALUES (2, 'two', 'AAPL', 'buy', 0.1, 'market', '2025-10-15', '2025-10-15'),
            (NULL, 'none', 'TSLA', 'sell', 3, 'market', '2025-10-16', '2025-10-16')
    """,
    ACCOUNTS: f"""
        INSERT INTO users (email, created_at, updated_at, preferences, password_hash, full_name, role, is_active) VALUES
            ('hashed@desk.test', '2025-10-23', '2025-10-23', '{{}}', '{BCRYPT}', 'Zoë', 'owner', false),
            ('blank@desk.test', '2025-10-24', '2025-10-24', '{{}}', '', '', 'beta_tester', true);
        INSERT INTO user_sessions (user_id, access_token_jti, refresh_token_jti, expires_at, last_activity_at,
            created_at) VALUES (1, 'a', 'r', '2025-11-01', '2025-10-24', '2025-10-24');
        INSERT INTO activity_log (user_id, action_type, details, timestamp) VALUES (1, 'login', '{{}}', '2025-10-24');
    """,
    USERNAMES: """
        INSERT INTO users (email, created_at, updated_at, preferences, username) VALUES
            ('named@desk.test', '2025-11-04', '2025-11-04', '{}', ''),
            ('named.too@desk.test', '2025-11-04', '2025-11-04', '{}', '')
    """,
    API_TOKENS: """
        INSERT INTO api_tokens (user_id, name, prefix, secret_hash, scopes)
            VALUES (1, 'ci', 'tb_0123456', sha256('a'), '{read,write}')
    """,
    SESSIONS: """
        INSERT INTO user_sessions (user_id, access_token_jti, refresh_token_jti, expires_at, last_activity_at,
            created_at, ended_at, end_reason) VALUES
            (1, 'b', 's', '2030-11-01', '2026-11-24', '2026-11-24', '2026-11-25', 'logout'),
            (1, 'c', 't', '2030-11-01', '2026-11-24', '2026-11-24', NULL, NULL)
    """,
    ACTIVITY: """
        INSERT INTO activity_log (user_id, action_type, details, timestamp, user_email) VALUES
            (NULL, 'login_refused', '{}', '2026-11-24', NULL), (77, 'login', '{}', '2026-11-24', 'gone@desk.test')
    """,
    DECIMALS: """
        INSERT INTO order_templates (user_id, name, symbol, side, quantity, order_type, created_at, updated_at,
            stop_price, time_in_force) VALUES
            (1, 'exact', 'AAPL', 'buy', 123456789012345678.123456789, 'stop', '2026-11-25', '2026-11-25', 187.50, 'gtc')
    """,
    IDEMPOTENCY: """
        INSERT INTO idempotency_keys (user_id, operation, key, fingerprint, answer) VALUES
            (1, 'order_templates', 'once', sha256('a'), '{"a":  1}'), (2, 'order_templates', '', sha256('b'), NULL)
    """,
}
"""Rows for the tables that each revision made or widened."""


def arrive(url: str, revision: str) -> None:
    """Bring an empty database to `revision`, with rows of every age."""
    for each in CHAIN[: CHAIN.index(revision) + 1]:
        upgrade(url, each)
        if each in POPULATION:
            execute(url, POPULATION[each])
