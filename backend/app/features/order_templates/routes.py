from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.features.order_templates import service
from app.features.order_templates.schemas import (
    OrderOverrides,
    OrderReply,
    OrderTemplateChanges,
    OrderTemplateReply,
    OrderTemplateRequest,
)
from app.identity.dependencies import OriginDep, require, require_reach
from app.identity.permissions import Permission
from app.identity.principal import Principal, Reach
from app.models.database import OrderTemplate
from app.trading.ownership import adopt, find
from app.trading.schemas import Adoption, IdsReply
from app.trading.symbols import Symbol
from app.web.openapi import problem_responses
from app.web.paging import Page, PageParams, paginate
from app.web.routing import ExactJsonRoute
from app.web.schemas import RowId
from app.web.session import SessionDep

router = APIRouter(prefix="/api/order-templates", tags=["order-templates"], route_class=ExactJsonRoute)

Reader = Annotated[Reach, require_reach(Permission.READ)]
Writer = Annotated[Principal, require(Permission.WRITE)]


@router.get("", summary="List my order templates", responses=problem_responses(400, 401, 403, 422, 503))
def list_templates(
    reach: Reader, session: SessionDep, page: Annotated[PageParams, Depends()], symbol: Symbol | None = None
) -> Page[OrderTemplateReply]:
    """Newest first."""
    rows, next_cursor = paginate(session, service.templates(reach.user_id, symbol), OrderTemplate.id, page)
    return Page(items=[OrderTemplateReply.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.post(
    "",
    status_code=201,
    summary="Create an order template",
    responses=problem_responses(400, 401, 403, 409, 413, 422, 503),
)
def create_template(
    caller: Writer, session: SessionDep, body: OrderTemplateRequest, response: Response
) -> OrderTemplateReply:
    """Each type has its prices: `limit` a limit price, `stop` a stop price, `stop_limit` both, `market` none."""
    template = service.create(session, caller.user.id, body)
    response.headers["Location"] = f"/api/order-templates/{template.id}"
    return OrderTemplateReply.model_validate(template)


@router.post(
    "/adopt",
    summary="Adopt order templates that belong to nobody",
    responses=problem_responses(400, 401, 403, 404, 409, 413, 422, 503),
)
def adopt_templates(
    caller: Annotated[Principal, require(Permission.ADMIN)], session: SessionDep, origin: OriginDep, body: Adoption
) -> IdsReply:
    """They are the caller's own from now on. `?owner=none` lists those there are."""
    return IdsReply(ids=adopt(session, OrderTemplate, caller, body.ids, origin.by(caller)))


@router.get(
    "/{template_id}", summary="Read an order template", responses=problem_responses(400, 401, 403, 404, 422, 503)
)
def read_template(reach: Reader, session: SessionDep, template_id: RowId) -> OrderTemplateReply:
    """One of one's own; with `?owner=none` one of nobody's."""
    return OrderTemplateReply.model_validate(find(session, OrderTemplate, reach.user_id, template_id))


@router.patch(
    "/{template_id}", summary="Change an order template", responses=problem_responses(400, 401, 403, 404, 413, 422, 503)
)
def change_template(
    caller: Writer, session: SessionDep, template_id: RowId, body: OrderTemplateChanges
) -> OrderTemplateReply:
    """What is left out stays; null clears. Another `order_type` needs its prices in the same request."""
    template = service.change(session, caller.user.id, template_id, body.changes())
    return OrderTemplateReply.model_validate(template)


@router.delete(
    "/{template_id}",
    status_code=204,
    summary="Delete an order template",
    responses=problem_responses(400, 401, 403, 404, 422, 503),
)
def delete_template(caller: Writer, session: SessionDep, template_id: RowId) -> None:
    """For good."""
    service.delete(session, caller.user.id, template_id)


@router.post(
    "/{template_id}/use", summary="Make an order", responses=problem_responses(400, 401, 403, 404, 413, 422, 503)
)
def use_template(
    caller: Writer, session: SessionDep, template_id: RowId, body: OrderOverrides | None = None
) -> OrderReply:
    """The order that the template stands for, ready for Alpaca's `POST /v2/orders`; nothing is sent anywhere."""
    return service.use(session, caller.user.id, template_id, body.changes() if body else {})
