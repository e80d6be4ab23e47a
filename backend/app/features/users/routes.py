from typing import Annotated

from fastapi import APIRouter

from app.features.users.schemas import UserReply
from app.identity.dependencies import require
from app.identity.permissions import Permission
from app.identity.principal import Principal, Profile
from app.web.openapi import problem_responses

router = APIRouter(prefix="/api/users", tags=["users"])


@router.get(
    "/me",
    summary="Who am I",
    response_model=UserReply,
    responses=problem_responses(400, 401, 403, 503),
)
async def read_me(caller: Annotated[Principal, require(Permission.READ)]) -> Profile:
    """The caller's own account."""
    return caller.user
