"""Online, offline and silent: facts of our clock, not of the device's."""

from collections.abc import Sequence
from typing import NamedTuple

from tracking.store.connection import Connection
from tracking.store.eventlog import Device, Occurrence
from tracking.times import from_us, iso, to_us


class Report(NamedTuple):
    """A device's own word, or its last will's, that it is online or not."""

    device: Device
    online: bool
    at_us: int


_SET = """
UPDATE device_state SET online = %(online)s, online_at = %(at)s
WHERE device_id = %(device_id)s AND online IS DISTINCT FROM %(online)s
  AND (online_at IS NULL OR online_at <= %(at)s)
RETURNING online_at
"""

_SILENCE = """
WITH quiet AS (
    SELECT device_id FROM device_state
    WHERE silent_since IS NULL AND heard_at < now() - make_interval(secs => %s)
    ORDER BY device_id LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE device_state s SET silent_since = s.heard_at, version = s.version + 1
FROM quiet q, device d, tenant t
WHERE s.device_id = q.device_id AND d.id = s.device_id AND t.id = d.tenant_id
RETURNING t.name, t.id, d.name, d.id, s.heard_at
"""


async def set_online(conn: Connection, reports: Sequence[Report]) -> list[Occurrence]:
    """Note who is online; only a change is an event, so a repeated or retained word is none."""
    occurrences = []
    for report in reports:
        cursor = await conn.execute(
            _SET,
            {
                "online": report.online,
                "at": from_us(report.at_us),
                "device_id": report.device.device_id,
            },
        )
        if await cursor.fetchone():
            type_ = "device.online" if report.online else "device.offline"
            occurrences.append(report.device.occurrence(type_, report.at_us, {}))
    return occurrences


async def find_silent(conn: Connection, after_s: float, limit: int) -> list[Occurrence]:
    """Mark devices not heard for `after_s` as silent; each silence is found by one monitor."""
    cursor = await conn.execute(_SILENCE, (after_s, limit))
    found = [(Device(*row[:4]), to_us(row[4])) for row in await cursor.fetchall()]
    return [
        device.occurrence(
            "device.silent",
            heard_us,
            {"heard_at": iso(heard_us), "silent_after_s": after_s},
        )
        for device, heard_us in found
    ]
