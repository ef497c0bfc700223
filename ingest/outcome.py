"""What a batch has to tell once it is committed."""

from dataclasses import dataclass

from ingest.readings import DeviceKey, Rejection
from tracking.feed import EventRecord
from tracking.store.readings import PositionRows


@dataclass(slots=True)
class Committed:
    """What a committed batch has to tell: to publish, and to count."""

    positions: PositionRows  # the newest ok one of each device that has one
    devices: list[DeviceKey]  # of each of `positions`
    events: list[EventRecord]
    received: int
    stored: int
    duplicate: int
    rejected: int
    repairs: int
    refusals: list[Rejection]  # by the index of the message
