"""What requests and answers about pickups look like, for the OpenAPI document."""

from datetime import UTC, datetime

from api.examples.fleet import page_of
from api.schemas.pickups import AttemptInput, PickupInput, PickupPatch, draft_of, view_of
from api.schemas.shipments import PlaceInput, StopInput, WindowInput
from tracking.pickups import Attempt
from tracking.store.pickups import Pickup

_MORNING = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)
_WINDOW = WindowInput(_MORNING, _MORNING.replace(hour=9), "Europe/Amsterdam")

PICKUP_INPUT = PickupInput(
    id="p-31",
    name="Workshop",
    place=PlaceInput(5.1041, 52.0907),
    window=_WINDOW,
    deliver_to=StopInput("delivery", "Depot North", fence="depot-1"),
    order_ref="o-77",
    note="ring twice",
)
PICKUP_PATCH = PickupPatch(_WINDOW)
ATTEMPT_INPUT = AttemptInput("nobody there", at=_MORNING, window=_WINDOW)
_DRAFT = draft_of(PICKUP_INPUT, "p-31")
assert _DRAFT.plan is not None  # noqa: S101 -- it is no stop of another's shipment
PICKUP = view_of(
    Pickup(
        number=1,
        id="p-31",
        kind="scheduled",
        express=False,
        status="scheduled",
        note="ring twice",
        shipment="p-31",
        stop=0,
        series=None,
        recurrence=None,
        plan=_DRAFT.plan,
        created_at=_MORNING,
        created_by="orders",
        attempts=[Attempt(_MORNING, "nobody there", made_by="driver app")],
    )
)
PICKUPS = page_of(PICKUP)
