"""One turn at a tenant's shipments: which of them its new events, edits and deadlines concern."""

from collections.abc import Sequence
from typing import NamedTuple

from tracking.store.alerts import Tenant
from tracking.store.connection import Connection

_TAKE = """
SELECT c.tenant_id, t.name, c.cursor FROM shipment_cursor c JOIN tenant t ON t.id = c.tenant_id
WHERE c.cursor < t.feed_cursor
    OR EXISTS (SELECT FROM shipment s WHERE s.tenant_id = c.tenant_id AND s.dirty
        AND (s.held_until IS NULL OR s.held_until <= now()))
    OR EXISTS (SELECT FROM shipment s WHERE s.tenant_id = c.tenant_id AND s.due_at <= now()
        AND (s.held_until IS NULL OR s.held_until <= now()))
    OR EXISTS (SELECT FROM pickup p WHERE p.tenant_id = c.tenant_id AND p.due_at <= now())
ORDER BY c.visited_at LIMIT 1 FOR UPDATE OF c SKIP LOCKED
"""

# Marked in one order, as by whoever edits attachments. A device that only passes one of the
# tenant's own fences concerns no shipment; one that stops or starts those it carries now. What a
# repair changes of its stops is told by the repair (`rewind_routes`).
_MARK = """
WITH concerned AS (
    SELECT s.number FROM shipment s WHERE s.number IN (
        SELECT f.shipment_number FROM event e
        JOIN shipment_fence f ON f.tenant_id = e.tenant_id AND f.fence = e.rule
        JOIN shipment s ON s.number = f.shipment_number
        WHERE e.tenant_id = %(tenant_id)s AND e.cursor > %(after)s AND e.cursor <= %(upto)s
            AND e.type IN ('fence.entered', 'fence.exited', 'fence.crossed')
            AND s.devices @> ARRAY[e.device_id]
        UNION
        SELECT s.number FROM event e JOIN shipment s ON s.devices @> ARRAY[e.device_id]
        WHERE e.tenant_id = %(tenant_id)s AND e.cursor > %(after)s AND e.cursor <= %(upto)s
            AND e.type IN ('motion.started', 'motion.stopped')
            AND s.status NOT IN ('planned', 'delivered', 'cancelled'))
    ORDER BY s.number FOR UPDATE)
UPDATE shipment s SET dirty = true FROM concerned c WHERE s.number = c.number
"""

_WAITING = """
SELECT number FROM shipment WHERE tenant_id = %s AND (dirty OR due_at <= now())
    AND (held_until IS NULL OR held_until <= now())
ORDER BY number LIMIT %s
"""


class Turn(NamedTuple):
    """A tenant whose shipments are the follower's until the commit."""

    tenant: Tenant
    cursor: int
    upto: int


async def take_turn(conn: Connection) -> Turn | None:
    """The tenant that waits longest; others pass by those taken. None: nothing waits."""
    found = await conn.execute(_TAKE)
    row = await found.fetchone()
    if row is None:
        return None
    tenant_id, name, cursor = row
    # A statement of its own: it sees all that was committed before the row was ours.
    found = await conn.execute("SELECT feed_cursor FROM tenant WHERE id = %s", (tenant_id,))
    (upto,) = await found.fetchone() or (cursor,)
    return Turn(Tenant(name, tenant_id), cursor, upto)


async def mark_concerned(conn: Connection, turn: Turn) -> None:
    """Mark the shipments that events behind the cursor tell of, and note that they were."""
    await conn.execute(
        _MARK, {"tenant_id": turn.tenant.id, "after": turn.cursor, "upto": turn.upto}
    )
    await conn.execute(
        "UPDATE shipment_cursor SET cursor = %s, visited_at = clock_timestamp() "
        "WHERE tenant_id = %s",
        (turn.upto, turn.tenant.id),
    )


async def waiting(conn: Connection, turn: Turn, limit: int) -> Sequence[int]:
    """Shipments to be derived anew: those marked, and those whose deadline has come."""
    found = await conn.execute(_WAITING, (turn.tenant.id, limit))
    return [row[0] for row in await found.fetchall()]


async def hold(conn: Connection, number: int, for_s: float) -> None:
    """Leave a shipment that cannot be derived alone for so long; an edit of it tries at once."""
    await conn.execute(
        "UPDATE shipment SET held_until = now() + make_interval(secs => %s) WHERE number = %s",
        (for_s, number),
    )


async def tenants_with_shipments(conn: Connection) -> list[str]:
    """Whose events the follower wants to hear of."""
    found = await conn.execute(
        "SELECT t.name FROM shipment_cursor c JOIN tenant t ON t.id = c.tenant_id ORDER BY t.id"
    )
    return [row[0] for row in await found.fetchall()]
