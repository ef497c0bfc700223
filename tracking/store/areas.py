"""Which devices were in an area that nobody had drawn when they were."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.cover import cell_ranges, cover
from geofence.index import Index
from geofence.shapes import Shape, bounds
from tracking.errors import InputError
from tracking.stays import InsideFixes
from tracking.store.arrays import Int8s, Times
from tracking.store.connection import Connection
from tracking.store.fences import US

Ints = NDArray[np.int64]

# Cells of a cover beyond which a finer one excludes little more.
_CELLS = 120
# Rows of one step: 20 ms of work between which others have their turn.
_STEP = 20_000
# Of one day; 24 bytes each.
MAX_INSIDE = 1_000_000

# The cells as bounds of ranges: a cell is in one where it falls behind an odd number of them. One
# binary search a row, where a comparison with each range takes 50 times as long.
_CANDIDATES = f"""
SELECT p.device_id, {US.format("p.fix_time")}, p.lon, p.lat FROM position p
WHERE p.tenant_id = %(tenant_id)s AND p.fix_time >= %(start)s AND p.fix_time < %(end)s
    AND p.quality = 0 AND p.lat BETWEEN %(south)s AND %(north)s
    AND (p.lon BETWEEN %(west)s AND %(east)s OR p.lon BETWEEN %(west_2)s AND %(east_2)s)
    AND width_bucket(p.h3, %(cells)s) %% 2 = 1
"""  # noqa: S608 -- of constants

_ELSEWHERE = """
SELECT k.row FROM unnest(%s, %s, %s, %s) k(row, device_id, after, before)
WHERE EXISTS (SELECT FROM position p WHERE p.device_id = k.device_id AND p.quality = 0
    AND p.fix_time > k.after AND p.fix_time < k.before)
"""


class TooManyFixes(InputError):  # noqa: N818 -- a condition
    """An area holds more fixes than one answer is made of."""


class Box(NamedTuple):
    """Degrees; the second pair of longitudes is the part beyond 180."""

    west: float
    east: float
    west_2: float
    east_2: float
    south: float
    north: float


@dataclass(frozen=True, slots=True)
class Area:
    """A shape made ready to be searched for."""

    index: Index
    box: Box
    cells: Ints

    @classmethod
    def of(cls, shape: Shape) -> "Area":
        """Covers the shape with cells: some ten ms, so not in an event loop."""
        west, south, east, north = bounds(shape)
        found = cover(shape, target_cells=_CELLS)
        ranges = cell_ranges(np.concatenate([found.inside, found.border]))
        cells = np.array([(low, high + 1) for low, high in ranges], np.int64).ravel()
        box = Box(west, min(east, 180.0), west - 360.0, east - 360.0, south, north)
        return cls(Index.build({0: shape}), box, cells)


async def fixes_inside(
    conn: Connection,
    tenant_id: int,
    area: Area,
    *,
    start: datetime,
    end: datetime,
    seen_us: Mapping[int, int],
) -> InsideFixes:
    """The ok fixes inside the area in [start, end), and whether their devices left in between.

    `seen_us` are the last fixes inside before `start`. Memory is that of the fixes inside.

    Raises:
        TooManyFixes: there are more than a million.
    """
    devices: list[Ints] = []
    times: list[Ints] = []
    # Closed when this ends early, so that the transaction ends before the connection goes back.
    async with aclosing(_read(conn, tenant_id, area, start, end)) as found:
        async for device_id, time_us in found:
            devices.append(device_id)
            times.append(time_us)
            if sum(map(len, times)) > MAX_INSIDE:
                raise TooManyFixes(
                    f"more than {MAX_INSIDE:,} fixes of one day lie inside: ask for a smaller area",
                    field="shape",
                )
    if not times:
        return InsideFixes(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))
    device, time = np.concatenate(devices), np.concatenate(times)
    order = np.lexsort((time, device))
    device, time = device[order], time[order]
    return InsideFixes(device, time, await _apart(conn, device, time, seen_us))


async def _read(
    conn: Connection, tenant_id: int, area: Area, start: datetime, end: datetime
) -> AsyncGenerator[tuple[Ints, Ints], None]:
    """Device and time of the fixes inside, as they are found."""
    values = area.box._asdict() | {
        "tenant_id": tenant_id,
        "start": start,
        "end": end,
        "cells": Int8s(area.cells),
    }
    async with conn.transaction(), conn.cursor(name="area", binary=True) as cursor:
        await cursor.execute(_CANDIDATES, values)
        while rows := await cursor.fetchmany(_STEP):
            device_id, time_us, lon, lat = zip(*rows, strict=True)
            inside = await asyncio.to_thread(_inside, area, lon, lat)
            yield np.array(device_id, np.int64)[inside], np.array(time_us, np.int64)[inside]


def _inside(area: Area, lon: Iterable[float], lat: Iterable[float]) -> Ints:
    """The rows whose places are in the area, exactly."""
    return area.index.members(np.fromiter(lon, np.float64), np.fromiter(lat, np.float64)).point


async def _apart(
    conn: Connection, device: Ints, time: Ints, seen_us: Mapping[int, int]
) -> NDArray[np.bool_]:
    """Whether an ok fix lies between each fix inside and the one before it of its device."""
    before = np.empty(len(time), np.int64)
    before[1:] = time[:-1]
    first = np.ones(len(time), np.bool_)
    first[1:] = device[1:] != device[:-1]
    before[first] = [seen_us.get(one, -1) for one in device[first].tolist()]
    apart = np.zeros(len(time), np.bool_)
    asked = np.flatnonzero(before >= 0)
    for rows in _steps(asked):
        cursor = await conn.execute(
            _ELSEWHERE, (Int8s(rows), Int8s(device[rows]), Times(before[rows]), Times(time[rows]))
        )
        apart[[row for (row,) in await cursor.fetchall()]] = True
    return apart


def _steps(rows: Ints) -> Iterator[Ints]:
    for start in range(0, len(rows), _STEP):
        yield rows[start : start + _STEP]


async def device_names(conn: Connection, ids: Iterable[int]) -> dict[int, str]:
    """Names of devices by id."""
    cursor = await conn.execute("SELECT id, name FROM device WHERE id = ANY(%s)", (list(ids),))
    return dict(await cursor.fetchall())
