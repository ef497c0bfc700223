"""Sensor values and tag reads of a batch: one per key, stored, counted."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.batch import Batch
from ingest.fleet import Fleet
from tracking.store.connection import Connection
from tracking.store.readings import SensorRows, TagRows, store_measurements, store_tag_reads
from tracking.store.states import Counts

Ints = NDArray[np.int64]


async def store_sensors(conn: Connection, batch: Batch, fleet: Fleet, counts: Counts) -> None:
    """Store the batch's measurements and tag reads and add them to `counts`."""
    await _store_measurements(conn, batch, fleet, counts)
    await _store_tags(conn, batch, fleet, counts)


async def _store_measurements(conn: Connection, batch: Batch, fleet: Fleet, counts: Counts) -> None:
    part, local = batch.measurements, batch.measurements_local
    if not len(part):
        return
    keys = list(zip(local.tolist(), part.fix_time_us.tolist(), part.metric, strict=True))
    rows = _best(keys, part.value.tolist(), local, counts)
    slots = batch.slots[local[rows]]
    there = await store_measurements(
        conn,
        SensorRows(
            device_id=fleet.device_id[slots],
            tenant_id=fleet.tenant_id[slots],
            fix_time_us=part.fix_time_us[rows],
            received_us=part.received_us[rows],
            metric=[part.metric[row] for row in rows.tolist()],
            value=part.value[rows],
        ),
    )
    _count_stored(batch, fleet, counts, local[rows], there)


async def _store_tags(conn: Connection, batch: Batch, fleet: Fleet, counts: Counts) -> None:
    part, local = batch.tags, batch.tags_local
    if not len(part):
        return
    keys = list(
        zip(local.tolist(), part.fix_time_us.tolist(), part.epc, part.antenna.tolist(), strict=True)
    )
    # As in PostgreSQL, a missing rssi (NaN) is the greatest.
    strength = np.where(np.isnan(part.rssi_dbm), np.inf, part.rssi_dbm).tolist()
    rows = _best(keys, list(zip(strength, part.count.tolist(), strict=True)), local, counts)
    slots = batch.slots[local[rows]]
    there = await store_tag_reads(
        conn,
        TagRows(
            device_id=fleet.device_id[slots],
            tenant_id=fleet.tenant_id[slots],
            fix_time_us=part.fix_time_us[rows],
            received_us=part.received_us[rows],
            epc=[part.epc[row] for row in rows.tolist()],
            antenna=part.antenna[rows].astype(np.int64),
            rssi_dbm=part.rssi_dbm[rows],
            count=part.count[rows].astype(np.int64),
        ),
    )
    _count_stored(batch, fleet, counts, local[rows], there)


def _best(
    keys: Sequence[Hashable], contents: Sequence[object], local: Ints, counts: Counts
) -> Ints:
    """One row per key, the greatest content; losers are counted as duplicate or conflict."""
    best: dict[Hashable, int] = {}
    for row, key in enumerate(keys):
        other = best.setdefault(key, row)
        if other == row:
            continue
        if contents[row] == contents[other]:
            counts.duplicate[local[row]] += 1
            continue
        counts.conflict[local[row]] += 1
        if contents[row] > contents[other]:  # type: ignore[operator]  # floats or tuples of them
            best[key] = row
    return np.array(sorted(best.values()), np.int64)


def _count_stored(
    batch: Batch, fleet: Fleet, counts: Counts, local: Ints, there: list[tuple[int, int, int]]
) -> None:
    np.add.at(counts.stored, local, 1)
    if not there:
        return
    local_of = {
        int(fleet.device_id[slot]): index for index, slot in enumerate(batch.slots.tolist())
    }
    for device_id, n, differing in there:
        index = local_of[device_id]
        counts.stored[index] -= n
        counts.duplicate[index] += n - differing
        counts.conflict[index] += differing
