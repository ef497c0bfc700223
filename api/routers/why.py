"""Why an event was raised, and why there was none."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import answer
from api.conventions.problems import not_found
from api.document.route import documented
from api.examples import fences as examples
from api.identity.auth import Caller
from api.schemas.parameters import Selected
from api.schemas.visits import WhyNotQuery
from api.services import services_of
from tracking.fold import Rules
from tracking.settings import Settings
from tracking.store.evidence import Question, absence_evidence, event_evidence
from tracking.times import to_us
from tracking.why import Explanation, explain
from tracking.whynot import Absence, explain_absence

# Ahead of the events' own routes: `why-not` is no event's id.
router = APIRouter(prefix="/v1/events", tags=["events"])


@router.get(
    "/why-not", **documented("explainAbsence", Absence, example=examples.ABSENCE, problems=[404])
)
async def why_not(
    request: Request, caller: Caller, query: Annotated[WhyNotQuery, Query()]
) -> Response:
    """What stood between a device and an event at a fence around a moment."""
    services = services_of(request)
    question = Question(query.device, query.fence, to_us(query.at), round(query.within_s * 1e6))
    evidence = await services.pool.run(absence_evidence, caller.tenant_id, question)
    if isinstance(evidence, str):
        raise not_found(evidence)
    rules = _rules(services.settings)
    return answer(await asyncio.to_thread(explain_absence, evidence, question, rules))


@router.get("/{id}/why", **documented("explainEvent", Explanation, example=examples.EXPLANATION))
async def why(
    request: Request,
    caller: Caller,
    id: UUID,  # noqa: A002 -- the name in the path, and so in problems
    _: Annotated[Selected, Query()],
) -> Response:
    """The fixes an event stands on, what the filter and the fold made of each, and the limits."""
    services = services_of(request)
    evidence = await services.pool.run(event_evidence, caller.tenant_id, id)
    if evidence is None:
        raise not_found(f"event {id}")
    return answer(await asyncio.to_thread(explain, evidence, _rules(services.settings)))


def _rules(settings: Settings) -> Rules:
    """As the workers fold, given the same settings."""
    return Rules(max_speed_mps=settings.max_speed_mps)
