"""What a rule would have raised: the desk of the follower, over the log as it is now."""

from collections import Counter
from datetime import datetime
from typing import NamedTuple

from tracking.alert_life import Alert
from tracking.alerting import Desk
from tracking.errors import InputError
from tracking.rules import Matcher, Rule, RuleVersion
from tracking.store.alert_turn import EVENT, seen_of
from tracking.store.connection import Connection

# Within the time a request has, at the tens of thousands a second that are read.
MAX_EVENTS = 200_000

_WINDOW = """
AND e.status = 'active' AND e.time >= %(start)s AND e.time < %(end)s
AND (e.type = ANY(%(types)s) OR split_part(e.type, '.', 1) || '.*' = ANY(%(types)s)
     OR '*' = ANY(%(types)s))
ORDER BY e.time, e.cursor LIMIT %(limit)s
"""


class Trial(NamedTuple):
    """What came of it: the first alerts, how many there are of each device, and how many events
    were looked at and kept silent, by reason.
    """  # noqa: D205 -- one contract

    alerts: list[Alert]
    devices: Counter[str]
    suppressed: Counter[str]
    events_n: int


async def try_rule(
    conn: Connection, tenant_id: int, rule: Rule, start: datetime, end: datetime, *, limit: int
) -> Trial:
    """Judge the events that happened in [start, end) as if each had come in time.

    Nothing is written. The ids are those that the rule raises live.

    Raises:
        InputError: the window holds too many events.
    """
    desk = Desk(Matcher([RuleVersion(0, 1, rule)]))
    values = {
        "tenant_id": tenant_id,
        "start": start,
        "end": end,
        "types": [*rule.types, *rule.clears_on],
        "limit": MAX_EVENTS + 1,
    }
    events_n = 0
    async with conn.transaction(), conn.cursor(name="window") as cursor:
        cursor.itersize = 2_000
        await cursor.execute((EVENT + _WINDOW).encode(), values)
        async for row in cursor:
            seen = seen_of(row)
            desk.take(seen, seen.event.recorded_at_us)
            events_n += 1
    if events_n > MAX_EVENTS:
        raise InputError(
            f"the window holds more than {MAX_EVENTS:,} events of these types: ask for less",
            field="to",
        )
    raised = [alert for alert in desk.alerts.values() if alert.state != "suppressed"]
    silent: Counter[str] = Counter(alert.suppressed_reason or "" for alert in desk.alerts.values())
    del silent[""]
    return Trial(raised[:limit], Counter(a.device for a in raised), silent, events_n)
