"""One turn at the shipments whose forecast is due: what it reads and writes, in batches."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import msgspec

from tracking.estimates import Estimate
from tracking.route.follow import Progress
from tracking.shipments import Plan, Record
from tracking.store.alerts import Tenant
from tracking.store.arrays import Float4s, Int2s, Int4s, Int8s, Texts, Times
from tracking.store.connection import Connection
from tracking.store.shipments import estimate_of, progress_of
from tracking.times import to_us

logger = logging.getLogger(__name__)

_plans = msgspec.json.Decoder(Plan)
_records = msgspec.json.Decoder(Record)

# Looked at as soon as can be.
_AT_ONCE = "-infinity"

# Whoever derives a shipment locks it and then, here, its estimate; a turn locks estimates alone
# and passes by those it would wait for.
_ANEW = """
INSERT INTO shipment_eta (shipment_number, tenant_id, next_at)
SELECT number, %(tenant_id)s, %(at_once)s FROM unnest(%(going)s::bigint[]) u(number) ORDER BY 1
ON CONFLICT (shipment_number) DO UPDATE SET next_at = excluded.next_at, fix_time = NULL
"""

# The device that tells where a shipment is: on the nearest carrier that has one, of several the
# one attached last; as `tracking.custody` has it, for one moment.
_DUE = """
WITH RECURSIVE due AS MATERIALIZED (
    SELECT shipment_number, tenant_id, device_id, fix_time FROM shipment_eta
    WHERE next_at <= %(now)s ORDER BY next_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), up(shipment, depth, kind, number, since) AS (
    SELECT shipment_number, 0, 'shipment'::text, shipment_number, '-infinity'::timestamptz FROM due
    UNION ALL
    SELECT up.shipment, up.depth + 1, a.carrier_kind, a.carrier_number,
        greatest(up.since, a.valid_from)
    FROM up CROSS JOIN LATERAL (
        SELECT * FROM attachment a WHERE a.load_kind = up.kind AND a.load_number = up.number
            AND a.removed_at IS NULL AND a.valid_from <= %(now)s
            AND (a.valid_to IS NULL OR a.valid_to > %(now)s)
        -- One by one: planners take a round for ten times as many, and read all there ever were.
        OFFSET 0) a
    WHERE up.kind <> 'device' AND up.depth < 16
), carried AS (
    SELECT DISTINCT ON (c.shipment) c.shipment, c.device, d.name, c.since FROM (
        SELECT shipment, depth, number AS device, since, since AS attached
        FROM up WHERE kind = 'device'
        UNION ALL
        SELECT up.shipment, up.depth, a.load_number, greatest(up.since, a.valid_from), a.valid_from
        FROM up JOIN attachment a ON a.carrier_kind = up.kind AND a.carrier_number = up.number
        WHERE up.kind = 'asset' AND a.load_kind = 'device' AND a.removed_at IS NULL
            AND a.valid_from <= %(now)s AND (a.valid_to IS NULL OR a.valid_to > %(now)s)
    ) c JOIN device d ON d.id = c.device
    ORDER BY c.shipment, c.depth, c.attached DESC, d.name DESC
)
SELECT due.shipment_number, due.tenant_id, t.name, due.device_id, due.fix_time,
    c.device, c.name, s.fix_time, s.lon, s.lat
FROM due JOIN tenant t ON t.id = due.tenant_id
LEFT JOIN carried c ON c.shipment = due.shipment_number
LEFT JOIN device_state s ON s.device_id = c.device AND s.fix_time >= c.since
"""

_KNOWN = """
SELECT s.number, s.version, s.dirty AND s.held_until IS NULL, s.record::text, e.estimate::text,
    r.progress::text
FROM shipment s JOIN shipment_eta e ON e.shipment_number = s.number
LEFT JOIN shipment_route r ON r.shipment_number = s.number WHERE s.number = ANY(%s)
"""

# Nothing is new: it is looked at as often as before.
_REST = """
UPDATE shipment_eta SET next_at = %(now)s + make_interval(secs => coalesce(%(after_s)s, every_s))
WHERE shipment_number = ANY(%(numbers)s)
"""

_PUT_OFF = """
UPDATE shipment_eta SET next_at = %(now)s + make_interval(secs => %(after_s)s), fix_time = NULL,
    device_id = CASE WHEN %(alone)s THEN NULL ELSE device_id END
WHERE shipment_number = ANY(%(numbers)s)
"""

_SAVE = """
UPDATE shipment_eta e SET next_at = %s + make_interval(secs => u.every_s), every_s = u.every_s,
    device_id = u.device_id, fix_time = u.fix_time, estimate = u.estimate::jsonb
FROM unnest(%s, %s, %s, %s, %s) u(number, every_s, device_id, fix_time, estimate)
WHERE e.shipment_number = u.number
"""

_KEEP = """
INSERT INTO eta_forecast (tenant_id, shipment_number, stop, made_at, p10_at, p50_at, p90_at,
    prior_at, legs, lane, local_hour, path, model)
SELECT * FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class Carrier(NamedTuple):
    """The device that tells where a shipment is, and its latest ok fix since it does."""

    device_id: int
    device: str
    fix_time: datetime | None
    lon: float
    lat: float


class Due(NamedTuple):
    """A shipment whose forecast is ours until the commit; `known` is what it was based on."""

    number: int
    tenant: Tenant
    known: tuple[int | None, datetime | None]
    carrier: Carrier | None


class Known(NamedTuple):
    """What is known of a shipment; one that is `moving` is about to be derived anew.

    `progress` is how far along its route it is, if it has one.
    """

    version: int
    moving: bool
    record: Record
    estimate: Estimate | None
    progress: Progress | None


class Made(NamedTuple):
    """A look that was taken, to be kept."""

    number: int
    carrier: Carrier
    every_s: float
    estimate: Estimate


class Forecast(NamedTuple):
    """A forecast of one stop, to be compared with what came; moments in microseconds."""

    tenant_id: int
    number: int
    stop: int
    made_us: int
    p10_us: int
    p50_us: int
    p90_us: int
    prior_us: int
    legs: int
    lane: str
    local_hour: int
    path: str
    model: int


async def expect_anew(conn: Connection, tenant_id: int, over: Mapping[int, bool]) -> None:
    """Have shipments that were derived looked at, and no more those that are over."""
    going = sorted(number for number, is_over in over.items() if not is_over)
    ended = [number for number, is_over in over.items() if is_over]
    if going:
        values = {"tenant_id": tenant_id, "at_once": _AT_ONCE, "going": going}
        await conn.execute(_ANEW, values)
    if ended:
        await conn.execute("DELETE FROM shipment_eta WHERE shipment_number = ANY(%s)", (ended,))


async def take_due(conn: Connection, now: datetime, limit: int) -> list[Due]:
    """The shipments longest due, with who carries them; those that others look at are left out."""
    found = await conn.execute(_DUE, {"now": now, "limit": limit})
    due = []
    for number, tenant_id, tenant, *rest_ in await found.fetchall():
        known_device, known_fix, *carrier = rest_
        due.append(
            Due(
                number, Tenant(tenant, tenant_id), (known_device, known_fix),
                None if carrier[0] is None else Carrier(*carrier),
            )
        )  # fmt: skip
    return due


async def known_of(conn: Connection, numbers: Sequence[int]) -> dict[int, Known]:
    """What is known of these shipments beside their plans, without those nobody can read."""
    found = await conn.execute(_KNOWN, (list(numbers),))
    known = {}
    for number, version, moving, record, estimate, progress in await found.fetchall():
        with _readable(number):
            known[number] = Known(
                version, moving, _records.decode(record), estimate_of(estimate),
                progress_of(progress),
            )  # fmt: skip
    return known


async def plans_of(conn: Connection, numbers: Sequence[int]) -> list[tuple[int, int, Plan]]:
    """(number, version, plan) of these shipments, without those nobody can read."""
    found = await conn.execute(
        "SELECT number, version, plan::text FROM shipment WHERE number = ANY(%s)", (list(numbers),)
    )
    plans = []
    for number, version, plan in await found.fetchall():
        with _readable(number):
            plans.append((number, version, _plans.decode(plan)))
    return plans


@contextmanager
def _readable(number: int) -> Iterator[None]:
    """A newer version of this program may have written what this one does not understand."""
    try:
        yield
    except msgspec.MsgspecError as exc:
        logger.error("shipment number %d cannot be read: %s", number, exc)  # noqa: TRY400


async def rest(
    conn: Connection, now: datetime, numbers: Sequence[int], after_s: float | None = None
) -> None:
    """Look again as soon as before, or after so long: nothing is new."""
    if numbers:
        await conn.execute(_REST, {"now": now, "after_s": after_s, "numbers": list(numbers)})


async def put_off(
    conn: Connection, now: datetime, numbers: Sequence[int], after_s: float, *, alone: bool = False
) -> None:
    """Look after so long, whether something is new by then or not; `alone`: nobody carries them."""
    if numbers:
        values = {"now": now, "after_s": after_s, "numbers": list(numbers), "alone": alone}
        await conn.execute(_PUT_OFF, values)


async def save_looks(
    conn: Connection, now: datetime, made: Sequence[Made], forecasts: Sequence[Forecast]
) -> None:
    """Keep estimates, and forecasts to be scored."""
    if made:
        await conn.execute(
            _SAVE,
            (
                now,
                Int8s([one.number for one in made]),
                Float4s([one.every_s for one in made]),
                Int8s([one.carrier.device_id for one in made]),
                Times([to_us(one.estimate.as_of) for one in made]),
                Texts([msgspec.json.encode(one.estimate) for one in made]),
            ),
        )
    if forecasts:
        columns = list(zip(*forecasts, strict=True))
        kinds = (Int4s, Int8s, Int4s, *[Times] * 5, Int4s, None, Int2s, None, Int4s)
        await conn.execute(
            _KEEP,
            [
                Texts([value.encode() for value in column]) if kind is None else kind(column)
                for kind, column in zip(kinds, columns, strict=True)
            ],
        )
