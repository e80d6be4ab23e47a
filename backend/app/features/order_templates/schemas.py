from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.core.clock import Timestamp
from app.trading.decimals import DecimalText, PositiveAmount
from app.trading.symbols import Symbol
from app.web.objects import LEFT_OUT, Changes
from app.web.schemas import Body, Reply

Side = Literal["buy", "sell"]
TimeInForce = Literal["day", "gtc", "opg", "cls", "ioc", "fok"]


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


PRICES = {
    OrderType.MARKET: frozenset[str](),
    OrderType.LIMIT: frozenset({"limit_price"}),
    OrderType.STOP: frozenset({"stop_price"}),
    OrderType.STOP_LIMIT: frozenset({"limit_price", "stop_price"}),
}
"""The prices an order of each type has, no fewer and no more."""

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
Description = Annotated[str, StringConstraints(max_length=2000)]


class OrderTerms(Body):
    """What an order says, valid as a whole."""

    symbol: Symbol
    side: Side
    quantity: PositiveAmount
    order_type: OrderType
    limit_price: PositiveAmount | None = None
    stop_price: PositiveAmount | None = None
    time_in_force: TimeInForce = "day"

    @model_validator(mode="after")
    def _has_its_prices(self) -> Self:
        wanted = PRICES[self.order_type]
        given = {name for name in ("limit_price", "stop_price") if getattr(self, name) is not None}
        missing = PydanticCustomError("missing", "An order of this type has this price")
        surplus = PydanticCustomError("not_applicable", "An order of this type does not have this price")
        faults = dict.fromkeys(wanted - given, missing) | dict.fromkeys(given - wanted, surplus)
        if faults:
            details = [InitErrorDetails(type=faults[name], loc=(name,), input=None) for name in sorted(faults)]
            raise ValidationError.from_exception_data(type(self).__name__, details)
        return self


class OrderTemplateRequest(OrderTerms):
    name: Name
    description: Description | None = None


class OrderTemplateChanges(Changes):
    name: Name = LEFT_OUT
    description: Description | None = LEFT_OUT
    symbol: Symbol = LEFT_OUT
    side: Side = LEFT_OUT
    quantity: PositiveAmount = LEFT_OUT
    order_type: OrderType = LEFT_OUT
    limit_price: PositiveAmount | None = LEFT_OUT
    stop_price: PositiveAmount | None = LEFT_OUT
    time_in_force: TimeInForce = LEFT_OUT


class OrderOverrides(Changes):
    """What differs from the template, for this order alone."""

    quantity: PositiveAmount = LEFT_OUT
    limit_price: PositiveAmount | None = LEFT_OUT
    stop_price: PositiveAmount | None = LEFT_OUT


class OrderTemplateReply(Reply):
    """A template; older deployments hold some whose terms no order could have."""

    id: int
    name: str
    description: str | None
    symbol: str
    side: str
    quantity: DecimalText
    order_type: str
    limit_price: DecimalText | None
    stop_price: DecimalText | None
    time_in_force: str
    created_at: Timestamp
    updated_at: Timestamp
    last_used_at: Timestamp | None


class OrderReply(Reply):
    """An order in the field names of Alpaca's `POST /v2/orders`."""

    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: DecimalText
    limit_price: DecimalText | None
    stop_price: DecimalText | None
    client_order_id: str
    """Another for each use, so that an order that is sent twice is placed once."""
