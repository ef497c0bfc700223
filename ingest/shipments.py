"""The follower of the event log that keeps shipments, a part of the monitor.

It marks the shipments that new events concern and derives those that are marked, by events, edits
or deadlines. Deriving is a function of all that is known, so whoever is killed and however many
monitors run, a shipment ends as its events say.
"""

from typing import NamedTuple

from ingest.announce import event_announcements
from ingest.following import Following
from tracking.feed import EventRecord, Publisher, fences_notice
from tracking.store.connection import Connection
from tracking.store.pickup_series import make_due_pickups
from tracking.store.rederive import rederive
from tracking.store.shipment_turn import (
    mark_concerned,
    take_turn,
    tenants_with_shipments,
    waiting,
)

# Some 100 ms of work; the api waits that long where it edits one of them.
_AT_ONCE = 50


class Derived(NamedTuple):
    """What one turn made, to be published after its commit."""

    tenant: str
    records: list[EventRecord]
    fence_revision: int | None


async def turn(conn: Connection) -> Derived | None:
    """Look at the next events of one tenant and derive what waits; None when nothing does."""
    async with conn.transaction():
        taken = await take_turn(conn)
        if taken is None:
            return None
        await mark_concerned(conn, taken)
        await make_due_pickups(conn, taken.tenant)
        numbers = await waiting(conn, taken, _AT_ONCE)
        done = await rederive(conn, taken.tenant, numbers)
        return Derived(taken.tenant.name, done.records, done.fence_revision)


def announcements(derived: Derived) -> list[tuple[str, bytes]]:
    """What Redis carries of a turn."""
    told = event_announcements(derived.records)
    if derived.fence_revision is not None:
        told.append(fences_notice(derived.tenant, derived.fence_revision))
    return told


class Shipments:
    """The follower as a task of the monitor, ended by cancelling it."""

    def __init__(self, database_url: str, redis_url: str, publisher: Publisher) -> None:
        self._following = Following(database_url, redis_url, publisher, "shipments")

    async def follow(self) -> None:
        """Keep shipments, for ever."""
        await self._following.follow(turn, announcements, tenants_with_shipments)
