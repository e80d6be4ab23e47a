from email.message import Message
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from app.features.recommendations import service
from app.features.recommendations.accuracy import accuracy
from app.features.recommendations.batch import JSON, NDJSON, read_batch
from app.features.recommendations.schemas import (
    AccuracyReply,
    Move,
    RecommendationFilter,
    RecommendationReply,
    RecommendationRequest,
)
from app.identity.dependencies import OriginDep, require, require_reach
from app.identity.permissions import Permission
from app.identity.principal import Principal, Reach
from app.models.database import AIRecommendation
from app.trading.ownership import adopt, find
from app.trading.schemas import Adoption, IdsReply
from app.web.idempotency import HEADER, Operation, fingerprint, once
from app.web.openapi import problem_responses
from app.web.paging import Page, PageParams, paginate
from app.web.routing import ExactJsonRoute
from app.web.schemas import RowId
from app.web.session import SessionDep

router = APIRouter(prefix="/api/recommendations", tags=["recommendations"], route_class=ExactJsonRoute)

Reader = Annotated[Reach, require_reach(Permission.READ)]
Writer = Annotated[Principal, require(Permission.WRITE)]
IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="With the same key and body, the first answer of the last 24 hours is given again.",
    ),
]

_ITEM = {"$ref": "#/components/schemas/RecommendationRequest"}
_BATCH: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": {"type": "array", "items": _ITEM, "minItems": 1, "maxItems": 1000}},
            NDJSON[0]: {"schema": {"type": "string", "description": "A recommendation a line."}},
        },
    }
}


async def read_body(request: Request) -> tuple[bytes, str]:
    """The body as it came, and what it says it is."""
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    return await request.body(), header.get_content_type()


@router.get("", summary="List my recommendations", responses=problem_responses(400, 401, 403, 422, 503))
def list_recommendations(
    reach: Reader,
    session: SessionDep,
    wanted: Annotated[RecommendationFilter, Depends()],
    page: Annotated[PageParams, Depends()],
) -> Page[RecommendationReply]:
    """Newest first."""
    rows = service.recommendations(reach.user_id, wanted)
    found, next_cursor = paginate(session, rows, service.NEWEST_FIRST, page)
    return Page(items=[RecommendationReply.model_validate(row) for row in found], next_cursor=next_cursor)


@router.post(
    "", status_code=201, summary="Post a recommendation", responses=problem_responses(400, 401, 403, 409, 413, 422, 503)
)
def create_recommendation(
    caller: Writer,
    session: SessionDep,
    body: RecommendationRequest,
    response: Response,
    key: IdempotencyKeyHeader = None,
) -> RecommendationReply:
    """For an analysis service, with an API token of the user it advises."""
    place = (caller.user.id, Operation.RECOMMEND, key) if key else None

    def create() -> RecommendationReply:
        (new,) = service.create(session, caller.user.id, {"": body})
        return RecommendationReply.model_validate(find(session, AIRecommendation, caller.user.id, new))

    reply = once(session, place, fingerprint([body]), RecommendationReply, create)
    response.headers["Location"] = f"/api/recommendations/{reply.id}"
    return reply


@router.post(
    "/batch",
    status_code=201,
    summary="Post many recommendations",
    responses=problem_responses(400, 401, 403, 409, 413, 422, 503),
    openapi_extra=_BATCH,
)
def create_recommendations(
    body: Annotated[tuple[bytes, str], Depends(read_body)],
    caller: Writer,
    session: SessionDep,
    key: IdempotencyKeyHeader = None,
) -> IdsReply:
    """All of them or none; the answer has their ids in the order of the items or lines."""
    new = read_batch(*body)
    place = (caller.user.id, Operation.RECOMMEND_BATCH, key) if key else None
    create = lambda: IdsReply(ids=service.create(session, caller.user.id, new))  # noqa: E731
    return once(session, place, fingerprint(new.values()), IdsReply, create)


@router.get("/accuracy", summary="How good they were", responses=problem_responses(400, 401, 403, 503))
def read_accuracy(caller: Annotated[Principal, require(Permission.READ)], session: SessionDep) -> AccuracyReply:
    """Of those whose outcome is known: how often they paid, how much, and how well their confidence was placed."""
    return accuracy(session, caller.user.id)


@router.post(
    "/adopt",
    summary="Adopt recommendations that belong to nobody",
    responses=problem_responses(400, 401, 403, 404, 409, 413, 422, 503),
)
def adopt_recommendations(
    caller: Annotated[Principal, require(Permission.ADMIN)], session: SessionDep, origin: OriginDep, body: Adoption
) -> IdsReply:
    """They are the caller's own from now on. `?owner=none` lists those there are."""
    return IdsReply(ids=adopt(session, AIRecommendation, caller, body.ids, origin.by(caller)))


@router.get(
    "/{recommendation_id}", summary="Read a recommendation", responses=problem_responses(400, 401, 403, 404, 422, 503)
)
def read_recommendation(reach: Reader, session: SessionDep, recommendation_id: RowId) -> RecommendationReply:
    """One of one's own; with `?owner=none` one of nobody's."""
    return RecommendationReply.model_validate(find(session, AIRecommendation, reach.user_id, recommendation_id))


@router.patch(
    "/{recommendation_id}",
    summary="Execute, dismiss or close a recommendation",
    responses=problem_responses(400, 401, 403, 404, 409, 413, 422, 503),
)
def move_recommendation(
    caller: Writer, session: SessionDep, recommendation_id: RowId, body: Move
) -> RecommendationReply:
    """From pending to executed or dismissed, from executed to closed; any other move is `invalid_transition`."""
    return RecommendationReply.model_validate(service.move(session, caller.user.id, recommendation_id, body))
