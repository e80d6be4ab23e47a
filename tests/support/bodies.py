"""Bodies that are good in form, some of them in more than that."""

from typing import Any

from tests.features.order_templates.support import GOOD as TEMPLATE
from tests.features.recommendations.support import CLOSE, DISMISS, EXECUTE
from tests.features.recommendations.support import GOOD as RECOMMENDATION
from tests.support.accounts import PASSWORD, password_of
from tests.support.identity import SCOPES
from tests.support.people import Holder, Person

JOINING = {"email": "new@people.test", "password": PASSWORD}


def bodies_for(caller: Person, other: Person, nobody: Holder) -> dict[tuple[str, str], list[Any]]:
    """By the operation: what the caller may send there, of its own, of another's and of nobody's."""
    return of_accounts(caller, other) | of_trading(other, nobody)


def of_accounts(caller: Person, other: Person) -> dict[tuple[str, str], list[Any]]:
    return {
        ("POST", "/api/auth/token"): [
            {"grant_type": "refresh_token", "refresh_token": caller.refresh_token},
            {"grant_type": "refresh_token", "refresh_token": caller.access_token},
            {"grant_type": "password", "username": other.email, "password": caller.api_token},
        ],
        ("POST", "/api/auth/login"): [{"username": name, "password": "x"} for name in (other.email, other.username)],
        ("POST", "/api/auth/refresh"): [{"refresh_token": token} for token in (caller.refresh_token, caller.api_token)],
        ("POST", "/api/auth/register"): [JOINING, JOINING | {"invitation": caller.api_token}],
        ("POST", "/api/auth/claim"): [JOINING, JOINING | {"keep_api_token": True}, JOINING | {"email": other.email}],
        ("POST", "/api/auth/password/reset"): [{"token": caller.api_token, "new_password": PASSWORD}],
        ("PATCH", "/api/users/me"): [
            {"full_name": "New Name"},
            {"role": "owner"},
            {"id": other.id, "full_name": "New Name"},
            {"email": other.email},
            {"username": other.username.upper()},
            {"alpaca_account_id": "their account"},
            {"preferences": {"role": "owner"}},
        ],
        ("PUT", "/api/users/me/password"): [
            {"current_password": password, "new_password": password_of("new")} for password in (PASSWORD, "x")
        ],
        ("POST", "/api/users"): [JOINING | {"role": role} for role in ("owner", "member")],
        ("PATCH", "/api/users/{user_id}"): [
            {"full_name": "New Name"},
            {"role": "owner"},
            {"role": "member", "is_active": False},
            {"email": "new@people.test"},
            {"email": other.email},
        ],
        ("POST", "/api/tokens"): [{"name": "x", "scopes": scopes} for scopes in (["read"], ["admin"], [*SCOPES])],
        ("POST", "/api/invitations"): [{"role": "owner"}, {"role": "member", "email": other.email}],
    }


def of_trading(other: Person, nobody: Holder) -> dict[tuple[str, str], list[Any]]:
    return {
        ("POST", "/api/order-templates"): [TEMPLATE, TEMPLATE | {"user_id": other.id}],
        ("POST", "/api/order-templates/adopt"): [{"ids": [each.ids["template_id"]]} for each in (nobody, other)],
        ("PATCH", "/api/order-templates/{template_id}"): [{"name": "New Name"}, {"user_id": other.id}],
        ("POST", "/api/order-templates/{template_id}/use"): [{"quantity": "2"}, {}],
        ("POST", "/api/recommendations"): [RECOMMENDATION, RECOMMENDATION | {"user_id": other.id}],
        ("POST", "/api/recommendations/batch"): [[RECOMMENDATION] * 2, [RECOMMENDATION | {"user_id": other.id}]],
        ("POST", "/api/recommendations/adopt"): [{"ids": [each.ids["recommendation_id"]]} for each in (nobody, other)],
        ("PATCH", "/api/recommendations/{recommendation_id}"): [DISMISS, EXECUTE, CLOSE],
    }
