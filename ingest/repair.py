"""Late fixes: fold a device again from before the change, and tell what that makes of its events.

The result is what in-order arrival would have given: events are added, amended or retracted, the
quality of stored fixes is corrected, checkpoints and state are rewritten. Requests are coalesced
per device, so the flush of a backlog costs one pass and not one per message.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tracking.feed import EventRecord
from tracking.fold import DeviceState, Fact, Rules, fold_one
from tracking.fold.columnar import FixColumns
from tracking.fold.state import NEVER, dump_state, load_record, unpack_state
from tracking.quality import Quality
from tracking.store.connection import Connection, translated
from tracking.store.eventlog import Device, Occurrence, confirmed_after, write_events
from tracking.store.readings import FoldedFix, history, newest_future, requalify
from tracking.store.rejects import count_reasons
from tracking.store.repairs import (
    drop_checkpoints,
    nearest_checkpoint,
    save_checkpoints,
    take_repair,
)
from tracking.store.states import lock_device, refresh_state

# Codes the fold gives; stored ones are judged anew. The others are the fix's own.
_FOLDS_OWN = {Quality.DUPLICATE, Quality.IMPOSSIBLE_SPEED, Quality.STATIC}


@dataclass(slots=True)
class _Refold:
    """A device's fold from a checkpoint on, and what came of it."""

    state: DeviceState
    rules: Rules
    checkpoint_every: int
    facts: list[Fact] = field(default_factory=list)
    requalified: list[tuple[int, int, int]] = field(default_factory=list)
    shifts: Counter[int] = field(default_factory=Counter)  # quality -> change of count
    checkpoints: list[tuple[int, int, bytes]] = field(default_factory=list)

    def add(self, page: list[FoldedFix]) -> None:
        """Fold one page of history."""
        times, seqs, qualities, lons, lats, speeds, accuracies = zip(*page, strict=True)
        own = [Quality.OK if q in _FOLDS_OWN else q for q in qualities]
        columns = FixColumns.of(
            device=np.zeros(len(page), np.int64),
            time_us=np.array(times, np.int64),
            seq=np.array(seqs, np.int64),
            quality=np.array(own, np.int64),
            lon=np.array(lons),
            lat=np.array(lats),
            speed_mps=np.array(speeds),
            accuracy_m=np.array(accuracies),
        )
        for fix, stored in zip(columns.fixes(np.arange(len(page))), qualities, strict=True):
            verdict = fold_one(self.state, fix, self.rules)
            self.facts.extend(verdict.facts)
            if verdict.quality != stored:
                self.requalified.append((fix.time_us, fix.seq, int(verdict.quality)))
                self.shifts[stored] -= 1
                self.shifts[int(verdict.quality)] += 1
            if self.state.since_checkpoint >= self.checkpoint_every:
                self.state.since_checkpoint = 0
                self.checkpoints.append((fix.time_us, fix.seq, dump_state(self.state)))


async def repair_device(
    conn: Connection, device_id: int, rules: Rules, checkpoint_every: int
) -> list[EventRecord]:
    """Repair one device in one transaction; return the events to publish.

    Returns nothing when another worker did it first. Running it without need changes nothing.

    Raises:
        StoreUnavailable: nothing was changed; the request is still queued.
    """
    with translated():
        async with conn.transaction():
            locked = await lock_device(conn, device_id)
            request = await take_repair(conn, device_id) if locked else None
            if locked is None or request is None:
                return []
            device, fold = locked
            refold, found = await _refold(conn, device_id, request, rules, checkpoint_every)
            refold.state.future_us = await _future_us(conn, device_id, fold)
            return await _rewrite(conn, device, refold, found)


async def _refold(
    conn: Connection, device_id: int, request: tuple[int, int], rules: Rules, checkpoint_every: int
) -> tuple[_Refold, list[Occurrence]]:
    """Fold from the checkpoint before the request on; and the events known from there on."""
    start_us, start_seq, start = await nearest_checkpoint(conn, device_id, *request)
    record = load_record(start)
    if record is None:
        start_us = start_seq = NEVER
    state = DeviceState() if record is None else unpack_state(record[0])
    refold = _Refold(state, rules, checkpoint_every)
    async for page in history(conn, device_id, start_us, start_seq):
        refold.add(page)
    # They stand on the history before the change.
    await drop_checkpoints(conn, device_id, start_us, start_seq)
    return refold, await confirmed_after(conn, device_id, start_us, start_seq)


async def _rewrite(
    conn: Connection, device: Device, refold: _Refold, found: list[Occurrence]
) -> list[EventRecord]:
    await save_checkpoints(
        conn, [(device.device_id, *checkpoint) for checkpoint in refold.checkpoints]
    )
    await requalify(conn, device.device_id, refold.requalified)
    await count_reasons(
        conn,
        {
            (device.tenant_id, device.name, Quality(quality).label): n
            for quality, n in refold.shifts.items()
            if quality != Quality.OK
        },
    )
    await refresh_state(conn, device.device_id, refold.state)
    now = [device.of_fact(fact, late=True) for fact in refold.facts]
    ids = {occurrence.id for occurrence in now}
    gone = [occurrence.retracted() for occurrence in found if occurrence.id not in ids]
    return await write_events(conn, gone + now)


async def _future_us(conn: Connection, device_id: int, fold: bytes | None) -> int:
    record = load_record(fold)
    if record is not None:
        return int(record["future_us"][0])
    return await newest_future(conn, device_id)
