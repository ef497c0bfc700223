"""The history of positions in pages of packed columns: 1.4 us a fix where rows take 7."""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.feed import PositionUpdate, position_updates
from tracking.fold.state import NEVER
from tracking.quality import Quality
from tracking.store.ahead import read_ahead
from tracking.store.arrays import PG_EPOCH_US, Int8s, Times, unpacked
from tracking.store.connection import Connection
from tracking.store.devices import Bbox
from tracking.times import EARLIEST_US, from_us, to_us

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# A page is cut out of each device's history by its unique index, across the days that may hold
# it; the devices are taken in the order they are given in.
_PAGE = """
SELECT array_send(array_agg(i)), array_send(array_agg(fix_time)), array_send(array_agg(seq)),
    array_send(array_agg(received_at)), array_send(array_agg(lon)), array_send(array_agg(lat)),
    array_send(array_agg(coalesce(alt_m, 'NaN'))),
    array_send(array_agg(coalesce(speed_mps, 'NaN'))),
    array_send(array_agg(coalesce(course_deg, 'NaN'))),
    array_send(array_agg(coalesce(accuracy_m, 'NaN'))),
    array_send(array_agg(coalesce(battery, 'NaN'))), array_send(array_agg(quality)),
    array_send(array_agg(h3)), array_agg(attrs::text)
FROM (
    SELECT k.i - 1 AS i, p.* FROM unnest(%(ids)s, %(after)s, %(seq)s)
        WITH ORDINALITY k(device_id, after, seq, i)
    CROSS JOIN LATERAL (
        SELECT * FROM position p
        WHERE p.device_id = k.device_id AND p.tenant_id = %(tenant_id)s
            AND p.fix_time >= k.after AND p.fix_time < %(until)s
            AND (p.fix_time, p.seq) > (k.after, k.seq){more}
        ORDER BY p.fix_time, p.seq LIMIT %(limit)s) p
    LIMIT %(limit)s) page
"""
_WIRE = (
    *(">i8", ">i8", ">i8", ">i8", ">f8", ">f8"),
    *(">f4", ">f4", ">f4", ">f4", ">f4", ">i2", ">i8"),
)
_QUALITY = " AND p.quality = %(quality)s"
_BOX = " AND p.lat BETWEEN %(min_lat)s AND %(max_lat)s AND (p.lon {} %(max_lon)s)"
# Beyond every time a reading may have, and one PostgreSQL can tell.
_FOREVER = datetime.fromisoformat("9999-01-01T00:00:00+00:00")


class PositionKey(NamedTuple):
    """Where a fix stands in the history of its device."""

    fix_time: datetime
    seq: int


class HistoryFilter(NamedTuple):
    """Which part of a history; times are [start, end). None leaves that question open."""

    start: datetime | None = None
    end: datetime | None = None
    quality: Quality | None = None
    bbox: Bbox | None = None


@dataclass(frozen=True, slots=True)
class PositionPage:
    """Fixes by device and in order; NaN where the device gave nothing.

    `device` counts the devices asked for. `attrs` is JSON text; None when no fix has any.
    """

    device: Ints
    fix_time_us: Ints
    seq: Ints
    received_us: Ints
    lon: Floats
    lat: Floats
    alt_m: Floats
    speed_mps: Floats
    course_deg: Floats
    accuracy_m: Floats
    battery: Floats
    quality: Ints
    h3: Ints
    attrs: list[str | None] | None

    def __len__(self) -> int:
        return len(self.device)

    def last(self) -> tuple[int, PositionKey]:
        """The device of the last row, and where the row stands in its history."""
        key = PositionKey(from_us(int(self.fix_time_us[-1])), int(self.seq[-1]))
        return int(self.device[-1]), key

    def counted_from(self, first: int) -> "PositionPage":
        """The same, where the numbers of the devices start at `first`."""
        return replace(self, device=self.device + first)

    def updates(self, names: Sequence[str]) -> list[PositionUpdate]:
        """As every interface tells them; `names` are those of the devices asked for."""
        attrs = None
        if self.attrs is not None:
            attrs = [None if text is None else text.encode() for text in self.attrs]
        return position_updates(
            [names[number] for number in self.device.tolist()],
            self.fix_time_us,
            self.received_us,
            self.lon,
            self.lat,
            self.quality.tolist(),
            self.h3,
            attrs,
            alt_m=self.alt_m,
            speed_mps=self.speed_mps,
            course_deg=self.course_deg,
            accuracy_m=self.accuracy_m,
            battery=self.battery,
        )


async def read_page(
    conn: Connection,
    tenant_id: int,
    device_ids: Sequence[int],
    wanted: HistoryFilter,
    *,
    after: PositionKey | None,
    limit: int,
) -> PositionPage:
    """The first `limit` fixes of these devices, of the first of them only what is behind `after`.

    Fewer are all there are.
    """
    start_us = EARLIEST_US if wanted.start is None else max(EARLIEST_US, to_us(wanted.start))
    after_us, seq = [start_us] * len(device_ids), [NEVER] * len(device_ids)
    if after is not None and to_us(after.fix_time) >= start_us:
        after_us[0], seq[0] = to_us(after.fix_time), after.seq
    cursor = await conn.execute(
        _statement(wanted),
        {
            "ids": Int8s(device_ids),
            "after": Times(after_us),
            "seq": Int8s(seq),
            "until": wanted.end or _FOREVER,
            "tenant_id": tenant_id,
            "quality": None if wanted.quality is None else int(wanted.quality),
            "limit": limit,
            **(wanted.bbox._asdict() if wanted.bbox else {}),
        },
        binary=True,
    )
    row = await cursor.fetchone()
    return _page((None,) * (len(_WIRE) + 1) if row is None else row)


def read_history(
    conn: Connection,
    tenant_id: int,
    device_ids: Sequence[int],
    wanted: HistoryFilter,
    *,
    after: PositionKey | None = None,
    limit: int | None = None,
) -> AsyncGenerator[PositionPage, None]:
    """Pages of these devices' fixes, as `read_ahead` reads them."""

    def read(ids: Sequence[int], after: PositionKey | None, limit: int) -> Awaitable[PositionPage]:
        return read_page(conn, tenant_id, ids, wanted, after=after, limit=limit)

    return read_ahead(device_ids, read, after=after, limit=limit)


def _statement(wanted: HistoryFilter) -> str:
    more = "" if wanted.quality is None else _QUALITY
    if wanted.bbox is not None:
        crosses = wanted.bbox.min_lon > wanted.bbox.max_lon
        more += _BOX.format(">= %(min_lon)s OR p.lon <=" if crosses else "BETWEEN %(min_lon)s AND")
    return _PAGE.format(more=more)


def _page(row: Sequence[Any]) -> PositionPage:
    *packed, attrs = row
    columns = [
        np.empty(0, wire) if part is None else unpacked(part, wire)
        for part, wire in zip(packed, _WIRE, strict=True)
    ]
    device, fix_time_us, seq, received_us = (column.astype(np.int64) for column in columns[:4])
    lon, lat, alt_m, speed_mps, course_deg, accuracy_m, battery = (
        column.astype(np.float64) for column in columns[4:11]
    )
    return PositionPage(
        device=device,
        fix_time_us=fix_time_us + PG_EPOCH_US,
        seq=seq,
        received_us=received_us + PG_EPOCH_US,
        lon=lon,
        lat=lat,
        alt_m=alt_m,
        speed_mps=speed_mps,
        course_deg=course_deg,
        accuracy_m=accuracy_m,
        battery=battery,
        quality=columns[11].astype(np.int64),
        h3=columns[12].astype(np.int64),
        attrs=attrs if attrs and any(attrs) else None,
    )
