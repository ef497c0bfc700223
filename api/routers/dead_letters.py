"""Dead letters."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import number_cursor, read_number_cursor
from api.conventions.problems import not_found
from api.document.route import documented
from api.examples import fleet as examples
from api.identity.auth import Caller
from api.schemas.parameters import DeadLetterQuery, Selected
from api.services import services_of
from tracking.store.dead_letters import DeadLetter, get_dead_letter, list_dead_letters

router = APIRouter(prefix="/v1/dead-letters", tags=["dead-letters"])


@router.get(
    "",
    **documented(
        "listDeadLetters", Page[DeadLetter], example=examples.page_of(examples.DEAD_LETTER)
    ),
)
async def dead_letters(
    request: Request, caller: Caller, query: Annotated[DeadLetterQuery, Query()]
) -> Response:
    """Messages that could not be understood, newest first, with the first KiB of each."""
    found = await services_of(request).pool.run(
        list_dead_letters,
        caller.tenant_id,
        reason=query.reason,
        device=query.device,
        before=read_number_cursor(query.cursor),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: number_cursor(last.id))


@router.get("/{id}", **documented("getDeadLetter", DeadLetter, example=examples.DEAD_LETTER))
async def dead_letter(
    request: Request,
    caller: Caller,
    id: Annotated[int, Path(ge=1, le=2**63 - 1)],  # noqa: A002 -- the name in the path
    _: Annotated[Selected, Query()],
) -> Response:
    """One message with its whole payload."""
    found = await services_of(request).pool.run(get_dead_letter, caller.tenant_id, id)
    if found is None:
        raise not_found(f"dead letter {id}")
    return answer(found)
