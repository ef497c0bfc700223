"""Deriving shipments anew from all that is known: records, fences and events in one transaction."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tracking.custody import FOR_EVER_US, Custody, Ref, Segment
from tracking.feed import EventRecord
from tracking.route.course import Span
from tracking.route.follow import Transition
from tracking.shipment_fences import Circle, FencePlan, StopFence, plan_fences
from tracking.shipment_fold import derive
from tracking.shipments import Happening, Override, Way
from tracking.store.alerts import Tenant
from tracking.store.connection import Connection
from tracking.store.custody import claims_above, moment, numbers_of
from tracking.store.eta_turn import expect_anew
from tracking.store.eventlog import Occurrence, write_events
from tracking.store.fence_edits import delete_fences, save_fences
from tracking.store.fence_reads import footprints_of
from tracking.store.routes import plan_courses, transitions_of
from tracking.store.shipments import StoredShipment, lock_shipments, overrides_of
from tracking.store.stands import Carrier, stands_of
from tracking.times import from_us, to_us
from tracking.troubles import Stand
from tracking.voyage import Derived, Sighting

_TYPES = [
    "shipment.status_changed", "shipment.delayed", "shipment.overridden", "stop.arrived",
    "stop.departed", "stop.unloaded", "stop.detention_started", "shipment.overdue",
    "shipment.not_departed", "shipment.stalled", "shipment.moving", "route.deviated",
    "route.rejoined", "route.reversed", "route.resumed",
]  # fmt: skip

# Of a tenant's own fence, that a carrier entered longer than this before it took the shipment, it
# is not known that it is there; its events may be many.
_BEFORE_US = 7 * 86_400_000_000

_FENCES = """
SELECT shipment_number, fence, ground, near, device, since, circle, ended FROM shipment_fence
WHERE shipment_number = ANY(%s) ORDER BY shipment_number, fence, ground
"""

_SIGHTINGS = """
SELECT k.i, e.time, split_part(e.type, '.', 2), e.subject, e.id::text, e.late,
    (e.data ->> 'lon')::float8, (e.data ->> 'lat')::float8
FROM unnest(%s::text[], %s::text[], %s::timestamptz[]) WITH ORDINALITY k(fence, device, since, i)
JOIN event e ON e.tenant_id = %s AND e.rule = k.fence AND e.time >= k.since
    AND e.subject = k.device
WHERE e.status = 'active' AND e.type IN ('fence.entered', 'fence.exited', 'fence.crossed')
    AND coalesce(e.data ->> 'reason', '') NOT IN ('deleted', 'excluded')
"""

_TOLD = """
SELECT subject, type, time, data, rule FROM event
WHERE tenant_id = %s AND subject = ANY(%s) AND type = ANY(%s) AND status = 'active'
"""


class Rederived(NamedTuple):
    """What deriving shipments anew made: events to publish, and the fences' revision if moved."""

    records: list[EventRecord]
    fence_revision: int | None


class _Known(NamedTuple):
    """What is known of one shipment before it is derived."""

    tenant_id: int
    stored: StoredShipment
    custody: list[Segment]
    fences: list[StopFence]
    said: list[Override]


class _Evidence(NamedTuple):
    """What tells what became of shipments, by their numbers."""

    sightings: Mapping[int, list[Sighting]]
    transitions: Mapping[int, tuple[Transition, ...]]
    stands: Mapping[int, list[Stand]]

    def derived(self, one: _Known, now_us: int) -> Derived:
        """What it makes of one."""
        number, created_us = one.stored.number, to_us(one.stored.created_at)
        return derive(
            one.stored.plan, created_us, one.custody, self.sightings.get(number, ()),
            overrides=one.said, now_us=now_us, transitions=self.transitions.get(number, ()),
            stands=self.stands.get(number, ()),
        )  # fmt: skip


async def rederive(conn: Connection, tenant: Tenant, numbers: Sequence[int]) -> Rederived:
    """Derive these shipments of one tenant; the last act of the caller's transaction."""
    stored = await lock_shipments(conn, tenant.id, numbers)
    if not stored:
        return Rederived([], None)
    # What follows is derived: no act, to be audited, of whoever caused it.
    await conn.execute("SELECT set_config('waymark.actor', '', true)")
    # Cleared under the rows' locks and before anything is read: an edit that is not seen here
    # marks them again behind the commit.
    await conn.execute(
        "UPDATE shipment SET dirty = false, held_until = NULL WHERE number = ANY(%s)",
        ([s.number for s in stored],),
    )
    known = await _known(conn, tenant, stored)
    ids = {stop.fence for one in stored for stop in one.plan.stops if stop.fence is not None}
    footprints = await footprints_of(conn, tenant.id, ids)
    named = {device for one in known for device in _devices(one.custody)}
    devices = await numbers_of(conn, tenant.id, "device", named)
    evidence = await _evidence(conn, tenant.id, known, devices)
    now_us = await _now_us(conn)
    occurrences: list[Occurrence] = []
    plans: list[FencePlan] = []
    derived = {one.stored.number: evidence.derived(one, now_us) for one in known}
    for one in known:
        plan, came = one.stored.plan, derived[one.stored.number]
        plans.append(
            plan_fences(
                plan, one.custody, one.fences, footprints,
                serial=one.stored.fence_serial, final=came.record.final,
            )
        )  # fmt: skip
        await _save(conn, one, came, plans[-1], devices)
        occurrences += [
            _occurrence(tenant, plan.subject, told, devices) for told in came.happenings
        ]
    await plan_courses(conn, tenant.id, _courses(known, derived, devices))
    # Before the tenant's row, which whoever forecasts locks behind these as well.
    over = {number: came.record.final for number, came in derived.items()}
    await expect_anew(conn, tenant.id, over)
    revision = await _save_fences(conn, tenant.id, plans)
    gone = await _vanished(conn, tenant, [one.plan.subject for one in stored], occurrences)
    return Rederived(await write_events(conn, occurrences + gone), revision)


async def _known(
    conn: Connection, tenant: Tenant, stored: Sequence[StoredShipment]
) -> list[_Known]:
    numbers = [one.number for one in stored]
    custody = Custody(await claims_above(conn, tenant.id, "shipment", numbers))
    said = await overrides_of(conn, numbers)
    fences: dict[int, list[StopFence]] = defaultdict(list)
    found = await conn.execute(_FENCES, (numbers,))
    async for number, fence, ground, near, device, since, circle, ended in found:
        fences[number].append(
            StopFence(
                fence, ground, near, device,
                None if since is None else to_us(since),
                None if circle is None else Circle(*circle),
                ended,
            )
        )  # fmt: skip
    return [
        _Known(
            tenant.id, one, custody.segments(Ref("shipment", one.plan.id), 0), fences[one.number],
            said[one.number],
        )
        for one in stored
    ]  # fmt: skip


async def _sightings(
    conn: Connection, tenant_id: int, known: Sequence[_Known]
) -> dict[int, list[Sighting]]:
    """By shipment, what the devices that ever carried it did at its fences."""
    keys = [
        (one.stored.number, fence, device, since_us)
        for one in known
        for device, since_us in _devices(one.custody).items()
        for fence in one.fences
        if fence.device in {None, device}
    ]
    sightings: dict[int, list[Sighting]] = defaultdict(list)
    if not keys:
        return sightings
    found = await conn.execute(
        _SIGHTINGS,
        (
            [fence.fence for _, fence, _, _ in keys],
            [device for _, _, device, _ in keys],
            [from_us(max(since_us - _BEFORE_US, 0)) for *_, since_us in keys],
            tenant_id,
        ),
    )
    async for i, time, act, device, event, late, lon, lat in found:
        number, fence, _, _ = keys[i - 1]
        sightings[number].append(
            Sighting(to_us(time), fence.ground, fence.near, act, device, event, late, lon, lat)
        )
    return sightings


async def _evidence(
    conn: Connection, tenant_id: int, known: Sequence[_Known], devices: Mapping[str, int]
) -> _Evidence:
    return _Evidence(
        await _sightings(conn, tenant_id, known),
        await transitions_of(conn, [one.stored.number for one in known]),
        await stands_of(conn, _carriers(known, devices)),
    )


def _carriers(known: Sequence[_Known], devices: Mapping[str, int]) -> list[Carrier]:
    return [
        Carrier(
            one.stored.number, device, devices[device], since_us,
            one.stored.plan.limits.stalled_after_s,
        )
        for one in known
        for device, since_us in _devices(one.custody).items()
        if device in devices
    ]  # fmt: skip


def _courses(
    known: Sequence[_Known], derived: Mapping[int, Derived], devices: Mapping[str, int]
) -> dict[int, tuple[Way, list[Span]] | None]:
    """Along which route each is followed, and by whose fixes: from being picked up to its end."""
    courses: dict[int, tuple[Way, list[Span]] | None] = {}
    for one in known:
        way, record = one.stored.plan.way, derived[one.stored.number].record
        if way is None or record.picked_up_at is None:
            courses[one.stored.number] = None
            continue
        begun_us = to_us(record.picked_up_at)
        until_us = to_us(record.since) if record.final else FOR_EVER_US
        spans = [
            Span(devices[part.device], max(part.from_us, begun_us), min(part.to_us, until_us))
            for part in one.custody
            if part.device is not None and part.device in devices
        ]
        courses[one.stored.number] = way, [span for span in spans if span.from_us < span.to_us]
    return courses


def _devices(custody: Sequence[Segment]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in custody:
        if part.device is not None:
            found.setdefault(part.device, part.from_us)
    return found


def _occurrence(
    tenant: Tenant, subject: str, told: Happening, devices: Mapping[str, int]
) -> Occurrence:
    """An event about a shipment. It tells where the device was, and so goes with it if erased."""
    device_id = devices.get(told.data["device"] or "")
    return Occurrence(
        tenant.name, tenant.id, subject, told.type, told.time_us, told.data,
        device_id=device_id, rule=told.rule, late=told.late,
    )  # fmt: skip


async def _now_us(conn: Connection) -> int:
    found = await conn.execute("SELECT clock_timestamp()")
    return to_us((await found.fetchone() or (from_us(0),))[0])


async def _save(
    conn: Connection, one: _Known, derived: Derived, plan: FencePlan, devices: Mapping[str, int]
) -> None:
    number, tenant_id = one.stored.number, one.tenant_id
    # What was seen at fences that go is forgotten, and what others will tell comes with them: it
    # is derived once more.
    changed = sorted(plan.fences) != sorted(one.fences)
    carried_by = sorted(devices[name] for name in _devices(one.custody) if name in devices)
    due = None if derived.due_us is None else moment(derived.due_us)
    await conn.execute(
        "UPDATE shipment SET record = %s::jsonb, status = %s, devices = %s, due_at = %s, "
        "fence_serial = %s, dirty = %s WHERE number = %s",
        (msgspec.json.encode(derived.record).decode(), derived.record.status,
         carried_by, due, plan.serial, changed, number),
    )  # fmt: skip
    if not changed:
        return
    await conn.execute("DELETE FROM shipment_fence WHERE shipment_number = %s", (number,))
    rows: list[tuple[Any, ...]] = [
        (
            number, tenant_id, fence.fence, fence.ground, fence.near, fence.device,
            None if fence.since_us is None else from_us(fence.since_us),
            None if fence.circle is None else list(fence.circle),
            fence.ended,
        )
        for fence in plan.fences
    ]  # fmt: skip
    async with conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO shipment_fence (shipment_number, tenant_id, fence, ground, near, device, "
            "since, circle, ended) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )


async def _save_fences(conn: Connection, tenant_id: int, plans: Sequence[FencePlan]) -> int | None:
    """Make and delete what the plans ask for; the fences' revision if that moved it."""
    make = [draft for plan in plans for draft in plan.make]
    delete = [id_ for plan in plans for id_ in plan.delete]
    revision = None
    if make:
        revision = (await save_fences(conn, tenant_id, make, author="shipments")).revision
    if delete:
        revision = (await delete_fences(conn, tenant_id, delete)).revision
    return revision


async def _vanished(
    conn: Connection, tenant: Tenant, subjects: list[str], told: Sequence[Occurrence]
) -> list[Occurrence]:
    """What was told of the shipments before and is so no longer."""
    ids = {occurrence.id_bytes for occurrence in told}
    found = await conn.execute(_TOLD, (tenant.id, subjects, _TYPES))
    before = [
        Occurrence(tenant.name, tenant.id, subject, type_, to_us(time), data, rule=rule or "")
        async for subject, type_, time, data, rule in found
    ]
    return [one.retracted() for one in before if one.id_bytes not in ids]
