"""The follower of the event log that keeps shipments, a part of the monitor.

It marks the shipments that new events concern and derives those that are marked, by events, edits
or deadlines. Deriving is a function of all that is known, so whoever is killed and however many
monitors run, a shipment ends as its events say.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from ingest.announce import event_announcements
from ingest.following import Following
from ingest.monitor_metrics import MonitorMetrics
from tracking.errors import StoreUnavailable
from tracking.feed import EventRecord, Publisher, fences_notice
from tracking.store.alerts import Tenant
from tracking.store.connection import Connection, translated
from tracking.store.pickup_series import make_due_pickups
from tracking.store.rederive import rederive
from tracking.store.shipment_turn import (
    hold,
    mark_concerned,
    take_turn,
    tenants_with_shipments,
    waiting,
)

logger = logging.getLogger(__name__)

# Some 100 ms of work; the api waits that long where it edits one of them.
_AT_ONCE = 50
# One that cannot be derived is tried again after so long, or when it is edited.
_HELD_S = 300.0


class Derived(NamedTuple):
    """What one turn made, to be published after its commit."""

    tenant: str
    records: list[EventRecord]
    fence_revision: int | None
    failed: int = 0


async def turn(conn: Connection) -> Derived | None:
    """Look at the next events of one tenant and derive what waits; None when nothing does."""
    async with conn.transaction():
        taken = await take_turn(conn)
        if taken is None:
            return None
        await mark_concerned(conn, taken)
        await make_due_pickups(conn, taken.tenant)
        numbers, failed = await waiting(conn, taken, _AT_ONCE), 0
        try:
            with translated():
                async with conn.transaction():
                    done = await rederive(conn, taken.tenant, numbers)
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 -- told below, of each
            sound = await _sound(conn, taken.tenant, numbers)
            done = await rederive(conn, taken.tenant, sound)
            failed = len(numbers) - len(sound)
        return Derived(taken.tenant.name, done.records, done.fence_revision, failed)


async def _sound(conn: Connection, tenant: Tenant, numbers: Sequence[int]) -> list[int]:
    """Those that can be derived, found one by one; the others are left alone for a while.

    What is tried is undone: derived together they lock in the one order that waits for nobody.
    """
    sound = []
    for number in numbers:
        try:
            with translated():
                async with conn.transaction(force_rollback=True):
                    await rederive(conn, tenant, [number])
        except StoreUnavailable:
            raise
        except Exception:
            logger.exception("shipment number %d cannot be derived", number)
            await hold(conn, number, _HELD_S)
        else:
            sound.append(number)
    return sound


def announcements(derived: Derived) -> list[tuple[str, bytes]]:
    """What Redis carries of a turn."""
    told = event_announcements(derived.records)
    if derived.fence_revision is not None:
        told.append(fences_notice(derived.tenant, derived.fence_revision))
    return told


class Shipments:
    """The follower as a task of the monitor, ended by cancelling it."""

    def __init__(
        self, database_url: str, redis_url: str, publisher: Publisher, metrics: MonitorMetrics
    ) -> None:
        self._following = Following(database_url, redis_url, publisher, "shipments")
        self._metrics = metrics

    async def follow(self) -> None:
        """Keep shipments, for ever."""
        await self._following.follow(turn, self._announced, tenants_with_shipments)

    def _announced(self, derived: Derived) -> list[tuple[str, bytes]]:
        self._metrics.failed("shipments", derived.failed)
        return announcements(derived)
