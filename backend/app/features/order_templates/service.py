"""Order templates. A caller reaches its own only; another's is not found."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from pydantic import ValidationError
from sqlalchemy import Select, func, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from app.core.errors import InvalidInput
from app.features.order_templates.schemas import OrderReply, OrderTemplateRequest, OrderTerms
from app.models.database import OrderTemplate
from app.trading.ownership import find, rows_of
from app.web.faults import body_faults


def templates(user_id: int | None, symbol: str | None) -> Select[OrderTemplate]:
    """The templates of a user, or where that is None of nobody; for one symbol if there is one."""
    rows = rows_of(OrderTemplate, user_id)
    return rows if symbol is None else rows.where(OrderTemplate.symbol == symbol)


def create(session: Session, user_id: int, new: OrderTemplateRequest) -> OrderTemplate:
    template = OrderTemplate(user_id=user_id, **new.model_dump())
    session.add(template)
    session.flush()
    return template


def change(session: Session, user_id: int, template_id: int, changes: Mapping[str, Any]) -> OrderTemplate:
    """Change what is named; the order's terms must then be valid as a whole, if one of them is changed.

    Raises:
        NotFound: the user has no such template.
        InvalidInput: the terms would not be.
    """
    template = find(session, OrderTemplate, user_id, template_id, lock=True)
    if changes.keys() & OrderTerms.model_fields.keys():
        _terms(template, changes)
    for name, value in changes.items():
        spelled_anew = str(getattr(template, name)) != str(value)
        setattr(template, name, value)
        if spelled_anew:
            # 12.5 equals 12.50, so that SQLAlchemy alone would see no change.
            flag_modified(template, name)
    session.flush()
    return template


def delete(session: Session, user_id: int, template_id: int) -> None:
    """Delete the template; NotFound where the user has no such one."""
    session.delete(find(session, OrderTemplate, user_id, template_id, lock=True))
    session.flush()


def use(session: Session, user_id: int, template_id: int, overrides: Mapping[str, Any]) -> OrderReply:
    """The order that the template stands for, and a note of when it was last used.

    Raises:
        NotFound: the user has no such template.
        InvalidInput: the template with these overrides is no valid order.
    """
    template = find(session, OrderTemplate, user_id, template_id, lock=True)
    order = _terms(template, overrides)
    # The lock was waited for, so the time of the statement counts, not that of the transaction. A use is no change.
    used = {"last_used_at": func.timezone("utc", func.clock_timestamp()), "updated_at": OrderTemplate.updated_at}
    session.execute(update(OrderTemplate).where(OrderTemplate.id == template_id).values(used))
    return OrderReply(
        symbol=order.symbol,
        side=order.side,
        type=order.order_type,
        time_in_force=order.time_in_force,
        qty=order.quantity,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        client_order_id=f"t{template_id}-{uuid4().hex}",
    )


def _terms(template: OrderTemplate, changes: Mapping[str, Any]) -> OrderTerms:
    """The terms of the template with these changes."""
    terms = {name: getattr(template, name) for name in OrderTerms.model_fields} | {
        name: value for name, value in changes.items() if name in OrderTerms.model_fields
    }
    try:
        return OrderTerms.model_validate(terms)
    except ValidationError as error:
        raise InvalidInput(body_faults(error, terms)) from None
