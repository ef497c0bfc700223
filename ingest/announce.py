"""A committed batch as what Redis carries. Pure."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ingest.outcome import Committed
from tracking.feed import (
    EventRecord,
    encode_event,
    encode_positions,
    events_channel,
    position_updates,
    positions_channel,
)
from tracking.quality import Quality


def announcements(committed: Committed) -> list[tuple[str, bytes]]:
    """(channel, payload) pairs: one message of positions per tenant, then each event."""
    by_tenant: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(committed.devices):
        by_tenant[key.tenant].append(row)
    latest = committed.positions
    messages = []
    for tenant, chosen in by_tenant.items():
        rows = np.array(chosen)
        updates = position_updates(
            [committed.devices[row].name for row in chosen],
            latest.fix_time_us[rows],
            latest.received_us[rows],
            latest.lon[rows],
            latest.lat[rows],
            [Quality.OK] * len(chosen),
            latest.h3[rows],
            [latest.attrs[row] for row in chosen],
            alt_m=latest.alt_m[rows],
            speed_mps=latest.speed_mps[rows],
            course_deg=latest.course_deg[rows],
            accuracy_m=latest.accuracy_m[rows],
            battery=latest.battery[rows],
        )
        messages.append((positions_channel(tenant), encode_positions(updates)))
    return messages + event_announcements(committed.events)


def event_announcements(events: Sequence[EventRecord]) -> list[tuple[str, bytes]]:
    """(channel, payload) of each event, in cursor order."""
    return [(events_channel(event.tenant), encode_event(event)) for event in events]
