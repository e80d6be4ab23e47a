from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from app.core.clock import Moment, Timestamp
from app.trading.decimals import Amount, DecimalText, Percentage, PositiveAmount
from app.trading.symbols import Symbol
from app.web.objects import SmallObject
from app.web.schemas import Body, Reply

RecommendationType = Literal["buy", "sell", "hold"]


class Status(StrEnum):
    PENDING = "pending"
    EXECUTED = "executed"
    DISMISSED = "dismissed"
    EXPIRED = "expired"
    CLOSED = "closed"


Prose = Annotated[str, StringConstraints(max_length=20_000)]


class RecommendationRequest(Body):
    symbol: Symbol
    recommendation_type: RecommendationType
    confidence_score: Percentage
    """How probable it is, in percent, that following it pays."""
    analysis_data: SmallObject = Field(default_factory=dict)
    suggested_entry_price: PositiveAmount | None = None
    suggested_stop_loss: PositiveAmount | None = None
    suggested_take_profit: PositiveAmount | None = None
    suggested_position_size: PositiveAmount | None = None
    reasoning: Prose | None = None
    market_context: Prose | None = None
    expires_at: Moment | None = None
    """From when on it can no longer be executed or dismissed; never, where this is left out."""


class Execution(Body):
    """It was followed, at this price."""

    status: Literal[Status.EXECUTED]
    execution_price: PositiveAmount


class Dismissal(Body):
    """It is not followed."""

    status: Literal[Status.DISMISSED]


class Closing(Body):
    """What came of following it."""

    status: Literal[Status.CLOSED]
    actual_pnl: Amount
    """Profit, or below zero loss, in the currency of the account."""
    actual_pnl_percent: Amount | None = None


Move = Annotated[Execution | Dismissal | Closing, Field(discriminator="status")]


@dataclass(frozen=True)
class RecommendationFilter:
    """Which rows a client asks for; in a route, `wanted: Annotated[RecommendationFilter, Depends()]`."""

    symbol: Symbol | None = None
    status: Status | None = None
    type: RecommendationType | None = None
    since: Moment | None = None
    """The first moment of interest, of `created_at`."""


class RecommendationReply(Reply):
    """A recommendation; older deployments hold some with other types and with numbers that are none."""

    id: int
    symbol: str
    recommendation_type: str
    confidence_score: DecimalText
    analysis_data: Any
    """An object; rows of older deployments may hold other JSON."""
    suggested_entry_price: DecimalText | None
    suggested_stop_loss: DecimalText | None
    suggested_take_profit: DecimalText | None
    suggested_position_size: DecimalText | None
    reasoning: str | None
    market_context: str | None
    status: str = Field(validation_alias="current_status")
    """As of now: one that was pending when `expires_at` passed is expired."""
    executed_at: Timestamp | None
    execution_price: DecimalText | None
    actual_pnl: DecimalText | None
    actual_pnl_percent: DecimalText | None
    accuracy_score: DecimalText | None
    """Of one that is closed: 100 x (1 - the square of how far `confidence_score` was from what came of it); 100 is
    best. Older deployments computed theirs in ways of their own."""
    created_at: Timestamp
    expires_at: Timestamp | None


class Statistics(Reply):
    count: int
    """Recommendations whose outcome is known."""
    hit_rate: DecimalText | None
    """The share of them that made a profit; 0 to 1."""
    mean_pnl: DecimalText | None
    median_pnl: DecimalText | None
    brier_score: DecimalText | None
    """The mean square of the distance between what was expected and what came; 0 is best, 1 is worst."""


class SymbolStatistics(Statistics):
    symbol: str


class TypeStatistics(Statistics):
    recommendation_type: str


class MonthStatistics(Statistics):
    month: Annotated[str, Field(pattern=r"^[0-9]{4,}-[0-9]{2}$")]
    """In which they were made, in UTC."""


class AccuracyReply(Reply):
    overall: Statistics
    by_symbol: list[SymbolStatistics]
    """Those with most recommendations first, up to a thousand."""
    by_type: list[TypeStatistics]
    by_month: list[MonthStatistics]
    """The latest first."""
