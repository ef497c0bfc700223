"""Values of sensors: page by page for lists and exports."""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracking.store.ahead import read_ahead
from tracking.store.arrays import PG_EPOCH_US, Int8s, Times, texts, unpacked
from tracking.store.connection import Connection
from tracking.times import EARLIEST_US, Moment, from_us, to_us

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# As a page of positions is read.
_PAGE = """
SELECT array_send(array_agg(i)), array_send(array_agg(fix_time)),
    array_send(array_agg(received_at)), array_send(array_agg(value)), array_agg(metric)
FROM (
    SELECT k.i - 1 AS i, m.* FROM unnest(%(ids)s, %(after)s, %(metric)s)
        WITH ORDINALITY k(device_id, after, metric, i)
    CROSS JOIN LATERAL (
        SELECT fix_time, received_at, value, metric FROM measurement m
        WHERE m.device_id = k.device_id AND m.tenant_id = %(tenant_id)s
            AND m.fix_time >= k.after AND m.fix_time < %(until)s
            AND (m.fix_time, m.metric) > (k.after, k.metric)
            AND (%(metrics)s::text[] IS NULL OR m.metric = ANY(%(metrics)s))
        ORDER BY m.fix_time, m.metric LIMIT %(limit)s) m
    LIMIT %(limit)s) page
"""
_FOREVER = datetime.fromisoformat("9999-01-01T00:00:00+00:00")


class Measurement(msgspec.Struct, frozen=True, gc=False):
    """One value a device measured."""

    device: str
    metric: str
    fix_time: Moment
    received_at: Moment
    value: float


class MeasurementKey(NamedTuple):
    """Where a value stands in the history of its device."""

    fix_time: datetime
    metric: str


class MeasurementFilter(NamedTuple):
    """Which values; times are [start, end). None leaves that question open."""

    metrics: tuple[str, ...] | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class MeasurementPage:
    """Values by device and in order; `device` counts the devices asked for."""

    device: Ints
    fix_time_us: Ints
    received_us: Ints
    value: Floats
    metric: list[str]

    def __len__(self) -> int:
        return len(self.device)

    def last(self) -> tuple[int, MeasurementKey]:
        """The device of the last row, and where the row stands in its history."""
        key = MeasurementKey(from_us(int(self.fix_time_us[-1])), self.metric[-1])
        return int(self.device[-1]), key

    def counted_from(self, first: int) -> "MeasurementPage":
        """The same, where the numbers of the devices start at `first`."""
        return replace(self, device=self.device + first)

    def measurements(self, names: Sequence[str]) -> list[Measurement]:
        """As the api tells them; `names` are those of the devices asked for."""
        return list(
            map(
                Measurement,
                [names[number] for number in self.device.tolist()],
                self.metric,
                map(from_us, self.fix_time_us.tolist()),
                map(from_us, self.received_us.tolist()),
                self.value.tolist(),
            )
        )


def read_measurements(
    conn: Connection,
    tenant_id: int,
    device_ids: Sequence[int],
    wanted: MeasurementFilter,
    *,
    after: MeasurementKey | None = None,
    limit: int | None = None,
) -> AsyncGenerator[MeasurementPage, None]:
    """Pages of these devices' values, as `read_ahead` reads them."""

    def read(
        ids: Sequence[int], after: MeasurementKey | None, limit: int
    ) -> Awaitable[MeasurementPage]:
        return _page(conn, tenant_id, ids, wanted, after=after, limit=limit)

    return read_ahead(device_ids, read, after=after, limit=limit)


async def _page(
    conn: Connection,
    tenant_id: int,
    ids: Sequence[int],
    wanted: MeasurementFilter,
    *,
    after: MeasurementKey | None,
    limit: int,
) -> MeasurementPage:
    start_us = EARLIEST_US if wanted.start is None else max(EARLIEST_US, to_us(wanted.start))
    # No metric sorts before the empty name.
    after_us, metric = [start_us] * len(ids), [""] * len(ids)
    if after is not None and to_us(after.fix_time) >= start_us:
        after_us[0], metric[0] = to_us(after.fix_time), after.metric
    cursor = await conn.execute(
        _PAGE,
        {
            "ids": Int8s(ids),
            "after": Times(after_us),
            "metric": texts(metric),
            "until": wanted.end or _FOREVER,
            "tenant_id": tenant_id,
            "metrics": None if wanted.metrics is None else list(wanted.metrics),
            "limit": limit,
        },
        binary=True,
    )
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        none = np.empty(0, np.int64)
        return MeasurementPage(none, none, none, np.empty(0), [])
    device, fix_time_us, received_us = (unpacked(part, ">i8").astype(np.int64) for part in row[:3])
    return MeasurementPage(
        device,
        fix_time_us + PG_EPOCH_US,
        received_us + PG_EPOCH_US,
        unpacked(row[3], ">f8").astype(np.float64),
        row[4],
    )
