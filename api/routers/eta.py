"""Forecasts of arrival, compared with when shipments came."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import answer
from api.document.route import documented
from api.examples import accuracy as examples
from api.identity.auth import Caller
from api.schemas.accuracy import AccuracyQuery, AccuracyReport, report_of
from api.services import services_of
from tracking.eta.accuracy import judged
from tracking.store.eta_forecasts import forecast_errors

router = APIRouter(prefix="/v1/eta", tags=["eta"])


@router.get(
    "/accuracy", **documented("reportEtaAccuracy", AccuracyReport, example=examples.ACCURACY)
)
async def accuracy(
    request: Request, caller: Caller, query: Annotated[AccuracyQuery, Query()]
) -> Response:
    """How right the forecasts made in a time were, as far as it is known by now.

    A shipment, stop and horizon count once, however many forecasts were made of them. Late events
    and edits move arrivals, and with them what this tells.
    """
    span = query.span()
    bins = await services_of(request).pool.run(forecast_errors, caller.tenant_id, query.by, *span)
    return answer(report_of(query.by, span, judged(query.by, bins), query.limit))
