"""What was waited at a shipment's stops, what of it is to be paid, and what tells so."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import answer
from api.conventions.problems import not_found
from api.document.route import documented
from api.examples import detention as examples
from api.identity.auth import Caller
from api.routers.shipments import ShipmentId
from api.schemas.detention import DetentionQuery, Detentions, stops_waited_at
from api.services import services_of
from tracking.custody import Custody, Ref
from tracking.store.custody import custody_of
from tracking.store.shipments import get_shipment
from tracking.store.stays import fixes_of_stays, gaps_in_stays
from tracking.times import to_us

router = APIRouter(prefix="/v1/shipments", tags=["shipments"])


@router.get(
    "/{id}/detention",
    **documented("getShipmentDetention", Detentions, example=examples.DETENTIONS),
)
async def detention(
    request: Request,
    caller: Caller,
    id: ShipmentId,  # noqa: A002 -- the name in the path, and so in problems
    query: Annotated[DetentionQuery, Query()],
) -> Response:
    """How long each stop kept it, what of that is to be paid, and the fixes that tell so."""
    pool, tenant_id = services_of(request).pool, caller.tenant_id
    stored = await pool.run(get_shipment, tenant_id, id, party=caller.party)
    if stored is None:
        raise not_found(f"shipment {id!r}")
    now = datetime.now(UTC)
    ref = Ref("shipment", id)
    custody = await pool.run(custody_of, tenant_id, [ref]) or Custody([])
    fixes = await pool.run(fixes_of_stays, tenant_id, stored.record)
    gaps = await pool.run(
        gaps_in_stays,
        tenant_id,
        stored.record,
        custody.segments(ref, 0, to_us(now)),
        now=now,
        longer_than=timedelta(minutes=query.gap_min),
    )
    return answer(Detentions(stops_waited_at(stored.plan, stored.record, now, fixes, gaps), None))
