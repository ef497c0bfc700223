"""The data path: one batch of messages, one transaction.

Commit, then publish, then PUBACK: `process` returns after the commit with what is to be published,
and the worker acknowledges last. A crash anywhere before the PUBACK replays the batch, and the
replay changes nothing: readings are keyed by device and device time, events by what happened.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np
from h3.api import numpy_int as h3
from numpy.typing import NDArray

from ingest.acks import settle_acks
from ingest.batch import Batch
from ingest.decode import Decoder
from ingest.fences import Fences
from ingest.fleet import Fleet
from ingest.mqtt import Message
from ingest.outcome import Committed
from ingest.plan import Plan, first_per_device, last_per_device, make_plan, unproven
from ingest.policy import Policy
from ingest.sensors import store_sensors
from ingest.sift import Sifted
from tracking.errors import StoreUnavailable
from tracking.fold.columnar import DeviceFact, Devices, FixColumns, fold_batch
from tracking.fold.state import StateArray, put_states, take_states
from tracking.quality import Quality
from tracking.store.connection import Connection, translated
from tracking.store.connectivity import Report, set_online
from tracking.store.eventlog import Occurrence, write_events
from tracking.store.readings import (
    PositionRows,
    delete_positions,
    existing_content,
    insert_positions,
)
from tracking.store.rejects import bury, count_reasons
from tracking.store.repairs import (
    Checkpoint,
    mark_backfilled,
    queue_repairs,
    save_checkpoints,
)
from tracking.store.states import Counts, lock_states, save_states
from tracking.times import EARLIEST_US

Ints = NDArray[np.int64]

# The cell kept with each position: about 66 m across, finer than any fence's edge needs.
H3_RESOLUTION = 10

# A repair folds at most this many fixes it need not have; a checkpoint is one small row.
CHECKPOINT_EVERY = 128

# After meeting another writer on a device, how long devices are locked before they are read.
_SHARED_FOR_S = 5.0


@dataclass(slots=True)
class _Work:
    """A batch under the locks of its devices: what is known, decided and computed so far."""

    batch: Batch
    sifted: Sifted  # the batch's, with the qualities decided here: another attempt starts anew
    device_id: Ints  # of each device touched, as the next
    tenant_id: Ints
    states: StateArray
    presences: list[bytes | None]
    presences_before: list[bytes | None]
    rebuild: Ints  # devices whose stored state this code cannot read
    counts: Counts
    plan: Plan


class _MovedElsewhere(Exception):  # noqa: N818 -- a condition
    """Another writer changed a device since its state was cached."""


class Pipeline:
    """Stores batches over one connection. One per worker; one batch at a time."""

    def __init__(
        self, decoder: Decoder, fleet: Fleet, policy: Policy, fences: Fences | None = None
    ) -> None:
        self._decoder = decoder
        self._fleet = fleet
        self._policy = policy
        self._fences = Fences() if fences is None else fences
        # Set while the outcome of a transaction is unknown: no key is taken for new unasked.
        self._doubtful = False
        # Until then another writer is expected to move our devices.
        self._shared_until_s = 0.0

    async def process(self, conn: Connection, messages: Sequence[Message]) -> Committed:
        """Decode and store; all of the batch is in the database afterwards, or nothing of it.

        Raises:
            StoreUnavailable: try the same messages again; nothing may be acknowledged.
            StoreRefused: a value among them cannot be stored.
        """
        readings = self._decoder.decode(messages)
        try:
            with translated():
                await self._fleet.resolve(conn, self._decoder.devices)
                batch = Batch.of(
                    messages, readings, self._decoder, self._fleet, self._policy.limits
                )
                await self._fences.meet(conn, self._fleet, batch.slots)
                work, committed = await self._commit(conn, batch)
        except _MovedElsewhere:
            # Its row was locked, so it is not there any more: somebody deleted the device.
            self._fleet.clear()
            raise StoreUnavailable("a device was deleted: registering it anew") from None
        except BaseException:
            self._fleet.forget()
            self._doubtful = True
            raise
        put_states(self._fleet.states, batch.slots, work.states)
        for slot, presences in zip(batch.slots.tolist(), work.presences, strict=True):
            self._fleet.presences[slot] = presences
        self._fleet.version[batch.slots] += 1
        self._doubtful = False
        return committed

    async def _commit(self, conn: Connection, batch: Batch) -> tuple[_Work, Committed]:
        """Store the batch in one transaction, on cached states if they prove current.

        A worker that has its devices for itself needs no lock before its UPDATE, whose version
        check is lock and proof in one: 2 of 14 us of PostgreSQL's time per message. Once the
        proof fails, devices are shared and are locked first for a while.
        """
        if monotonic() > self._shared_until_s and self._fleet.knows(batch.slots):
            with suppress(_MovedElsewhere):
                async with conn.transaction():
                    work = await self._decide(conn, batch, unreadable=np.empty(0, np.int64))
                    return work, await self._store(conn, work)
            self._shared_until_s = monotonic() + _SHARED_FOR_S
        async with conn.transaction():
            device_id = self._fleet.device_id[batch.slots]
            moved = await lock_states(conn, device_id, self._fleet.version[batch.slots])
            unreadable = self._fleet.take(batch.slots, device_id, moved)
            work = await self._decide(conn, batch, unreadable)
            return work, await self._store(conn, work)

    async def _store(self, conn: Connection, work: _Work) -> Committed:
        """The order of writes matters twice: states, the proof, precede positions, and events
        come last, see `write_events`.
        """  # noqa: D205 -- one contract
        facts = self._fold(work)
        checkpoints = _due_checkpoints(work)
        rows = _stored_rows(work)
        moved, latest = _latest(work, rows)
        await store_sensors(conn, work.batch, self._fleet, work.counts)
        if not await save_states(
            conn,
            device_id=work.device_id,
            version=self._fleet.version[work.batch.slots],
            states=work.states,
            presences=_changed_presences(work),
            counts=work.counts,
            heard_us=self._heard_us(work),
            moved=moved,
            latest=latest,
        ):
            raise _MovedElsewhere
        await self._write_positions(conn, work, rows)
        repairs = await self._queue_repairs(conn, work, facts)
        await save_checkpoints(conn, checkpoints)
        answered, lost = await settle_acks(conn, work.batch, self._fleet)
        await bury(conn, work.batch.letters + lost.letters)
        await count_reasons(conn, work.batch.reasons + lost.reasons + self._flaws(work))
        connectivity = await set_online(conn, self._reports(work.batch))
        events = await write_events(
            conn, self._occurrences(work.batch, facts) + connectivity + answered
        )
        return Committed(
            positions=latest,
            devices=[self._fleet.keys[slot] for slot in work.batch.slots[moved].tolist()],
            events=events,
            received=int(work.counts.received.sum()),
            stored=int(work.counts.stored.sum()),
            duplicate=int(work.counts.duplicate.sum()),
            rejected=sum(work.batch.reasons.values()) + lost.reasons.total(),
            repairs=repairs,
            refusals=work.batch.refusals,
        )

    def _heard_us(self, work: _Work) -> Ints:
        """When each device was heard; of those a history speaks of nobody was."""
        heard_us = work.batch.heard_us
        return heard_us if self._policy.backfilling is None else np.zeros_like(heard_us)

    async def _decide(self, conn: Connection, batch: Batch, unreadable: Ints) -> _Work:
        """Decide each position's fate from the states as they now are."""
        fleet = self._fleet
        sifted = replace(batch.sifted, quality=batch.sifted.quality.copy())
        device_id = fleet.device_id[batch.slots]
        states = take_states(fleet.states, batch.slots)
        counts = Counts.zeros(len(batch.slots))
        counts.received += batch.received
        np.add.at(counts.duplicate, sifted.duplicate, 1)
        np.add.at(counts.conflict, sifted.conflict, 1)

        everything = self._doubtful or len(unreadable) > 0
        ask = np.arange(len(sifted.slot)) if everything else unproven(sifted, states)
        existing = {}
        if len(ask):
            found = await existing_content(
                conn, device_id[sifted.slot[ask]], sifted.time_us[ask], sifted.seq[ask]
            )
            existing = {int(ask[i]): stored for i, stored in found.items()}
        plan = make_plan(sifted, states, existing, self._policy.late_horizon_us)
        for column, rows in (
            (counts.stored, np.setdiff1d(plan.stored, plan.displacing, assume_unique=True)),
            (counts.duplicate, plan.duplicate),
            (counts.conflict, plan.conflict),
            (counts.late, plan.late),
        ):
            np.add.at(column, sifted.slot[rows], 1)
        presences = [fleet.presences[slot] for slot in batch.slots.tolist()]
        return _Work(
            batch=batch,
            sifted=sifted,
            device_id=device_id,
            tenant_id=fleet.tenant_id[batch.slots],
            states=states,
            presences=list(presences),
            presences_before=presences,
            rebuild=np.flatnonzero(np.isin(batch.slots, unreadable)),
            counts=counts,
            plan=plan,
        )

    def _fold(self, work: _Work) -> list[DeviceFact]:
        """Fold what is ahead, in place, and write the qualities the fold decided."""
        sifted, rows = work.sifted, work.plan.folded
        positions, source = work.batch.positions, sifted.row[rows]
        future = work.plan.stored[sifted.quality[work.plan.stored] == Quality.FUTURE]
        np.maximum.at(work.states["future_us"], sifted.slot[future], sifted.time_us[future])
        columns = FixColumns.of(
            device=sifted.slot[rows],
            time_us=sifted.time_us[rows],
            seq=sifted.seq[rows],
            quality=sifted.quality[rows],
            lon=positions.lon[source],
            lat=positions.lat[source],
            speed_mps=positions.speed_mps[source],
            accuracy_m=positions.accuracy_m[source],
        )
        devices = Devices(work.states, work.presences)
        devices.scene = self._fences.scene(
            columns, devices, work.batch.slots, work.tenant_id, self._fleet
        )
        sifted.quality[rows], facts = fold_batch(devices, columns, self._policy.rules)
        return facts

    @staticmethod
    async def _write_positions(conn: Connection, work: _Work, rows: PositionRows) -> None:
        sifted, lost = work.sifted, work.plan.displacing
        if len(lost):
            await delete_positions(
                conn, work.device_id[sifted.slot[lost]], sifted.time_us[lost], sifted.seq[lost]
            )
        if len(rows.device_id):
            await insert_positions(conn, rows)

    async def _queue_repairs(self, conn: Connection, work: _Work, facts: list[DeviceFact]) -> int:
        sifted, rows = work.sifted, work.plan.repaired
        first = rows[first_per_device(sifted.slot[rows])]
        # Left a fence before it was deleted: that it was left by being deleted is to be retracted.
        left = [
            (device, fact)
            for device, fact in facts
            if self._fences.was_closed(int(work.tenant_id[device]), fact)
        ]
        start = np.full(len(work.rebuild), EARLIEST_US)
        device = np.concatenate(
            [np.array([d for d, _ in left], np.int64), sifted.slot[first], work.rebuild]
        )
        time_us = np.concatenate(
            [np.array([f.time_us for _, f in left], np.int64), sifted.time_us[first], start]
        )
        seq = np.concatenate([np.full(len(left), EARLIEST_US), sifted.seq[first], start])
        # Of several requests the earliest counts, and a rebuild from the start is the earliest.
        device, kept = np.unique(device[::-1], return_index=True)
        kept = len(time_us) - 1 - kept
        await queue_repairs(
            conn, work.device_id[device], work.tenant_id[device], time_us[kept], seq[kept]
        )
        if self._policy.backfilling is not None:
            last = rows[last_per_device(sifted.slot[rows])]
            await mark_backfilled(
                conn,
                work.device_id[sifted.slot[last]],
                sifted.time_us[last],
                quiet=self._policy.backfilling.quiet,
            )
        return len(device)

    def _flaws(self, work: _Work) -> Counter[tuple[int, str, str]]:
        """Stored fixes that are not ok, for the ledger's counts by reason."""
        sifted, rows = work.sifted, work.plan.stored
        flawed = rows[sifted.quality[rows] != Quality.OK]
        return Counter(
            (
                int(work.tenant_id[device]),
                self._fleet.keys[int(work.batch.slots[device])].name,
                Quality(quality).label,
            )
            for device, quality in zip(
                sifted.slot[flawed].tolist(), sifted.quality[flawed].tolist(), strict=True
            )
        )

    def _reports(self, batch: Batch) -> list[Report]:
        return [
            Report(self._fleet.device(int(batch.slots[local])), status.online, status.received_us)
            for local, status in batch.statuses
        ]

    def _occurrences(self, batch: Batch, facts: list[DeviceFact]) -> list[Occurrence]:
        told = [
            self._fleet.device(int(batch.slots[device])).of_fact(fact) for device, fact in facts
        ]
        backfilling = self._policy.backfilling
        if backfilling is None:
            return told
        return [occurrence.backfilled(quiet=backfilling.quiet) for occurrence in told]


def _changed_presences(work: _Work) -> list[bytes | None]:
    """Those to be written, as `save_states` takes them; what could not be read is written over."""
    changed = [
        None if now is before else now or b""
        for now, before in zip(work.presences, work.presences_before, strict=True)
    ]
    for device in work.rebuild.tolist():
        changed[device] = work.presences[device] or b""
    return changed


def _due_checkpoints(work: _Work) -> list[tuple[int, Checkpoint]]:
    """States of devices that have gone long without a checkpoint; their count starts anew."""
    due = np.flatnonzero(work.states["since_checkpoint"] >= CHECKPOINT_EVERY)
    work.states["since_checkpoint"][due] = 0
    states = take_states(work.states, due)
    return [
        (device_id, Checkpoint(head_us, head_seq, state.tobytes(), work.presences[device]))
        for device, device_id, head_us, head_seq, state in zip(
            due.tolist(),
            work.device_id[due].tolist(),
            states["head_us"].tolist(),
            states["head_seq"].tolist(),
            states,
            strict=True,
        )
    ]


def _stored_rows(work: _Work) -> PositionRows:
    """The positions to be stored, in the plan's order, with the qualities as decided."""
    sifted, positions, rows = work.sifted, work.batch.positions, work.plan.stored
    source = sifted.row[rows]
    lon, lat = positions.lon[source], positions.lat[source]
    cell = h3.latlng_to_cell
    cells = [cell(y, x, H3_RESOLUTION) for x, y in zip(lon.tolist(), lat.tolist(), strict=True)]
    attrs = positions.attrs
    return PositionRows(
        device_id=work.device_id[sifted.slot[rows]],
        tenant_id=work.tenant_id[sifted.slot[rows]],
        fix_time_us=sifted.time_us[rows],
        seq=sifted.seq[rows],
        received_us=positions.received_us[source],
        lon=lon,
        lat=lat,
        alt_m=positions.alt_m[source],
        speed_mps=positions.speed_mps[source],
        course_deg=positions.course_deg[source],
        accuracy_m=positions.accuracy_m[source],
        battery=positions.battery[source],
        quality=sifted.quality[rows],
        h3=np.array(cells, np.uint64).view(np.int64),
        content=sifted.content[rows],
        attrs=[None] * len(rows) if attrs is None else [attrs[row] for row in source.tolist()],
    )


def _latest(work: _Work, rows: PositionRows) -> tuple[Ints, PositionRows]:
    """Of the rows to be stored, each device's newest ok one; and whose they are."""
    folded = np.isin(work.plan.stored, work.plan.folded, assume_unique=True)
    ok = np.flatnonzero(folded & (rows.quality == Quality.OK))
    device = work.sifted.slot[work.plan.stored[ok]]
    last = last_per_device(device)
    return device[last], rows.take(ok[last])
