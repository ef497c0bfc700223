"""Reading the histories of many devices page by page, the next one while a page is in use."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, Self, TypeVar

# Rows of a page: some 8 ms of the database's time, and of ours.
PAGE = 2_000
# Devices of a page, where they have so few rows.
_DEVICES_AT_ONCE = 100

K_co = TypeVar("K_co", covariant=True)
K = TypeVar("K")
P = TypeVar("P", bound="Page[Any]")


class Page(Protocol[K_co]):
    """Rows of some devices, by device and in order."""

    def __len__(self) -> int: ...

    def last(self) -> tuple[int, K_co]:
        """Of the last row, the number of its device and its key in that device's history."""

    def counted_from(self, first: int) -> Self:
        """The same, where the numbers of the devices start at `first`."""


async def read_ahead(
    device_ids: Sequence[int],
    read: Callable[[Sequence[int], K | None, int], Awaitable[P]],
    *,
    after: K | None = None,
    limit: int | None = None,
) -> AsyncGenerator[P, None]:
    """All rows of these devices or the first `limit`; of the first device those behind `after`.

    `read(ids, after, limit)` gives the first rows of some of them; fewer than `limit` are all there
    are. While the caller works on a page the next one is on its way, so nobody else may use the
    connection; close the generator to have it back.
    """
    first, left = 0, sys.maxsize if limit is None else limit

    async def page(ids: Sequence[int], after: K | None, limit: int) -> P:
        return await read(ids, after, limit)

    def start() -> asyncio.Task[P]:
        ids = device_ids[first : first + _DEVICES_AT_ONCE]
        return asyncio.create_task(page(ids, after, min(left, PAGE)), name="store.page")

    if not device_ids or left <= 0:
        return
    reading = start()
    try:
        while True:
            found = (await reading).counted_from(first)
            if len(found) == min(left, PAGE):
                first, after = found.last()
            else:
                first, after = first + _DEVICES_AT_ONCE, None
            left -= len(found)
            more = left > 0 and first < len(device_ids)
            if more:
                reading = start()
                # It is sent before the caller keeps the event loop busy.
                await asyncio.sleep(0)
            if len(found):
                yield found
            if not more:
                return
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
