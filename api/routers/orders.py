"""Orders: where all shipments of one are."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.conventions.answers import answer
from api.conventions.problems import not_found
from api.document.route import documented
from api.examples import nouns as examples
from api.identity.auth import Caller
from api.routers.shipments import details
from api.schemas.parameters import MAX_ITEMS, Selected, Text
from api.schemas.shipments import OrderTracking
from api.services import services_of
from tracking.store.shipments import ShipmentFilter, list_shipments

router = APIRouter(prefix="/v1/orders", tags=["orders"])

OrderRef = Annotated[Text, Path(description="The order's reference, as its shipments name it")]


@router.get(
    # References have slashes now and then.
    "/{ref:path}/tracking",
    **documented("trackOrder", OrderTracking, example=examples.ORDER_TRACKING),
)
async def tracking(
    request: Request, caller: Caller, ref: OrderRef, _: Annotated[Selected, Query()]
) -> Response:
    """Every shipment of an order: its status, its stops, and where it was last seen.

    An order is known by its shipments; one without any is not there.
    """
    services = services_of(request)
    found = await services.pool.run(
        list_shipments,
        caller.tenant_id,
        ShipmentFilter(party=caller.party, order_ref=ref),
        before=None,
        limit=MAX_ITEMS,
    )
    if not found:
        raise not_found(f"order {ref!r}")
    items = await details(services, caller.tenant_id, found)
    return answer(OrderTracking(ref, items))
