"""The fences of the tenants that ask, in memory, as new as the database at each question."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from tracking.fencebook import FenceBook, FenceRows
from tracking.fences import FenceVersion
from tracking.recent import Recent
from tracking.store.fences import fences_since
from tracking.store.pool import ReadPool
from tracking.times import to_us

# Memory is for those who ask most; another's book takes a second to read again.
_BOOKS = 16


class Located(NamedTuple):
    """The fences at each of the places, as they are now, and the revision they are of."""

    revision: int
    fences: list[list[FenceVersion]]


class _Shelf:
    """One tenant's book; whoever uses it holds the lock, as a refresh changes it in place."""

    def __init__(self) -> None:
        self.book = FenceBook()
        self.lock = asyncio.Lock()


class FenceBooks:
    """Answers where places are. Reads a tenant's fences at its first question, then only edits."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool
        self._shelves: Recent[int, _Shelf] = Recent(_BOOKS)

    async def locate(self, tenant_id: int, points: Sequence[tuple[float, float]]) -> Located:
        """The fences each (lon, lat) is in now, borders included, in the order of their numbers.

        Raises:
            StoreUnavailable: the database is away.
        """
        shelf = self._shelves.get(tenant_id)
        if shelf is None:
            shelf = _Shelf()
            self._shelves.put(tenant_id, shelf)
        async with shelf.lock:
            now_us = to_us(datetime.now(UTC))
            loaded = await self._pool.run(
                fences_since,
                tenant_id,
                shelf.book.revision,
                # The first time, without history; later, ends of what is held must be heard.
                ended_after_us=None if shelf.book.revision else now_us,
            )
            # Beside the event loop: the first time there may be a hundred thousand fences.
            return await asyncio.to_thread(_locate, shelf.book, loaded, points, now_us)


def _locate(
    book: FenceBook, loaded: FenceRows, points: Sequence[tuple[float, float]], now_us: int
) -> Located:
    if book.apply(loaded).zones:
        book.retire(now_us)
        if book.scattered:
            book.compacted(book.index, book.index.compact())
    places = np.array(points, np.float64).reshape(-1, 2)
    members = book.index.members(places[:, 0], places[:, 1])
    found: list[list[FenceVersion]] = [[] for _ in points]
    for point, zone in zip(members.point.tolist(), members.zone.tolist(), strict=True):
        if book.holds(zone, now_us):
            found[point].append(book.fences[zone])
    for fences in found:
        fences.sort(key=lambda fence: fence.number)
    return Located(book.revision, found)
