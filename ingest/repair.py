"""Late fixes: fold a device again from before the change, and tell what that makes of its events.

The result is what in-order arrival would have given: events are added, amended or retracted, the
quality of stored fixes is corrected, checkpoints and state are rewritten. Requests are coalesced
per device, so the flush of a backlog costs one pass and not one per message.
"""

from collections import Counter
from dataclasses import dataclass, field

from ingest.fences import Fences
from tracking.feed import EventRecord
from tracking.fold import DeviceState, Fact, Rules
from tracking.fold.refold import Judged, Refold
from tracking.fold.state import (
    NEVER,
    dump_state,
    load_record,
    unpack_state,
)
from tracking.fold.terrain import Who
from tracking.quality import Quality
from tracking.store.connection import Connection, translated
from tracking.store.eventlog import Device, Occurrence, confirmed_after, write_events
from tracking.store.readings import history, newest_future, requalify
from tracking.store.rejects import count_reasons
from tracking.store.repairs import (
    Checkpoint,
    Request,
    drop_checkpoints,
    nearest_checkpoint,
    save_checkpoints,
    take_repair,
)
from tracking.store.routes import rewind_routes
from tracking.store.states import lock_device, refresh_state


class FencesBehind(Exception):  # noqa: N818 -- a condition
    """A fence was edited that this worker has not heard of yet."""


@dataclass(slots=True)
class _Found:
    """What came of a device's fold from a checkpoint on."""

    facts: list[Fact] = field(default_factory=list)
    requalified: list[tuple[int, int, int]] = field(default_factory=list)
    shifts: Counter[int] = field(default_factory=Counter)  # quality -> change of count
    checkpoints: list[Checkpoint] = field(default_factory=list)
    request: Request = field(default_factory=lambda: Request(NEVER, NEVER))

    def add(self, judged: Judged) -> None:
        """Take up what became of one fix."""
        fix, stored, verdict = judged
        self.facts += verdict.facts
        if verdict.quality != stored:
            self.requalified.append((fix.time_us, fix.seq, int(verdict.quality)))
            self.shifts[stored] -= 1
            self.shifts[int(verdict.quality)] += 1


async def repair_device(
    conn: Connection,
    device_id: int,
    rules: Rules,
    checkpoint_every: int,
    fences: Fences | None = None,
) -> list[EventRecord]:
    """Repair one device in one transaction; return the events to publish.

    Returns nothing when another worker did it first. Running it without need changes nothing.

    Raises:
        FencesBehind: refresh `fences` and try again; nothing was changed.
        StoreUnavailable: nothing was changed; the request is still queued.
    """
    with translated():
        async with conn.transaction():
            locked = await lock_device(conn, device_id)
            request = await take_repair(conn, device_id) if locked else None
            if locked is None or request is None:
                return []
            tenant_id = locked.device.tenant_id
            fences = Fences() if fences is None else fences
            if fences.revision(tenant_id) < locked.fence_revision:
                raise FencesBehind
            start = await nearest_checkpoint(conn, device_id, request.time_us, request.seq)
            record = load_record(start.fold)
            if record is None:
                start = start._replace(time_us=NEVER, seq=NEVER)
            refold = Refold(
                DeviceState() if record is None else unpack_state(record[0], start.presences),
                rules,
                fences.terrain(tenant_id),
                Who(locked.device.name, locked.groups, locked.tags),
            )
            found = await _refold(conn, device_id, refold, start, checkpoint_every)
            refold.state.future_us = await _future_us(conn, device_id, locked.fold)
            before = await confirmed_after(conn, device_id, start.time_us, start.seq)
            found.request = request
            return await _rewrite(conn, locked.device, refold.state, found, before)


async def _refold(
    conn: Connection, device_id: int, refold: Refold, start: Checkpoint, checkpoint_every: int
) -> _Found:
    """Fold from the checkpoint on; those behind it, which stand on the old history, are dropped."""
    found, state = _Found(), refold.state
    async for page in history(conn, device_id, start.time_us, start.seq):
        for judged in refold.add(page):
            found.add(judged)
            if state.since_checkpoint >= checkpoint_every:
                state.since_checkpoint = 0
                kept = Checkpoint(judged.fix.time_us, judged.fix.seq, *dump_state(state))
                found.checkpoints.append(kept)
    found.facts += refold.after()
    await drop_checkpoints(conn, device_id, start.time_us, start.seq)
    return found


async def _rewrite(
    conn: Connection,
    device: Device,
    state: DeviceState,
    found: _Found,
    before: list[Occurrence],
) -> list[EventRecord]:
    await save_checkpoints(conn, [(device.device_id, kept) for kept in found.checkpoints])
    await requalify(conn, device.device_id, found.requalified)
    await count_reasons(
        conn,
        {
            (device.tenant_id, device.name, Quality(quality).label): n
            for quality, n in found.shifts.items()
            if quality != Quality.OK
        },
    )
    await refresh_state(conn, device.device_id, state)
    if found.request.fixes or found.requalified:
        await rewind_routes(conn, device.device_id, found.request.time_us)
    now = [_occurrence(device, fact, found.request) for fact in found.facts]
    ids = {occurrence.id for occurrence in now}
    gone = [occurrence.retracted() for occurrence in before if occurrence.id not in ids]
    return await write_events(conn, gone + now)


def _occurrence(device: Device, fact: Fact, request: Request) -> Occurrence:
    occurrence = device.of_fact(fact, late=True)
    if fact.confirmed_us > request.backfill_until_us:
        return occurrence
    return occurrence.backfilled(quiet=request.quiet)


async def _future_us(conn: Connection, device_id: int, fold: bytes | None) -> int:
    record = load_record(fold)
    if record is not None:
        return int(record["future_us"][0])
    return await newest_future(conn, device_id)
