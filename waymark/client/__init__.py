"""A client of the tracking api, for services: `AsyncWaymark` and `Waymark`.

It speaks the wire and imports nothing of the servers. What it is told is read tolerantly: members
and events it does not know are no error.
"""

from waymark.client.aio import AsyncWaymark
from waymark.client.assets import Asset, AssetPosition, Attachment, CarriedBy, Carriers, Ref
from waymark.client.blocking import Waymark
from waymark.client.calls import Call, Page
from waymark.client.detention import Dwell, StopDetention
from waymark.client.devices import Device, Position
from waymark.client.errors import (
    ChangedMeanwhile,
    Closed,
    Conflict,
    Forbidden,
    Gap,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    Unintelligible,
    WaymarkError,
)
from waymark.client.eta import Accuracy, Expected, Score, StopEta
from waymark.client.events import Absence, Event, Explanation
from waymark.client.exchange import Patience
from waymark.client.feed import AsyncStream, BlockingStream
from waymark.client.fences import Fence
from waymark.client.following import FeedState
from waymark.client.pickups import Attempt, Pickup
from waymark.client.shipments import (
    Limits,
    MadeLink,
    OrderTracking,
    Override,
    Parties,
    Place,
    Proof,
    Route,
    SeenAt,
    ShareLink,
    Shipment,
    Stop,
    Times,
)

__all__ = [
    "Absence",
    "Accuracy",
    "Asset",
    "AssetPosition",
    "AsyncStream",
    "AsyncWaymark",
    "Attachment",
    "Attempt",
    "BlockingStream",
    "Call",
    "CarriedBy",
    "Carriers",
    "ChangedMeanwhile",
    "Closed",
    "Conflict",
    "Device",
    "Dwell",
    "Event",
    "Expected",
    "Explanation",
    "FeedState",
    "Fence",
    "Forbidden",
    "Gap",
    "Limits",
    "MadeLink",
    "NotFound",
    "OrderTracking",
    "Override",
    "Page",
    "Parties",
    "Patience",
    "Pickup",
    "Place",
    "Position",
    "Proof",
    "RateLimited",
    "Ref",
    "Refused",
    "Route",
    "Score",
    "SeenAt",
    "ShareLink",
    "Shipment",
    "Stop",
    "StopDetention",
    "StopEta",
    "Times",
    "Unauthorized",
    "Unavailable",
    "Unintelligible",
    "Waymark",
    "WaymarkError",
]
