"""The end of a tenant's event log, read once for all its targets."""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self, TypeVar

from tracking.recent import Recent
from tracking.store.connection import Connection
from tracking.store.events import EventPage, events_after, events_of_subject, feed_cursor
from tracking.store.persistence import Store
from tracking.webhooks import Letter

T = TypeVar("T")

# Letters kept for targets that keep up: 1 MiB or so for a tenant.
_KEPT = 1_000
_PAGE = 500
# Pages of the log further back, for targets that catch up.
_BLOCKS = 8


class Stores:
    """A few connections that insist, lent to whoever needs one. An async context manager."""

    def __init__(self, database_url: str, n: int) -> None:
        self._stores = [Store(database_url, "waymark-deliver") for _ in range(n)]
        self._free: asyncio.LifoQueue[Store] = asyncio.LifoQueue()
        for store in self._stores:
            self._free.put_nowait(store)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for store in self._stores:
            await store.__aexit__()

    async def insist(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` on one of them, as `Store.insist` does."""
        store = await self._free.get()
        try:
            return await store.insist(work)
        finally:
            self._free.put_nowait(store)


class Page(NamedTuple):
    """Letters behind a cursor; everything up to `covered` is among them."""

    letters: list[Letter]
    covered: int


class Log:
    """One tenant's log: its last letters in memory, those before in the database.

    `follow` runs as a task; whoever is in `listeners` is called when there is more.
    """

    def __init__(self, tenant_id: int, stores: Stores) -> None:
        self._tenant_id = tenant_id
        self._stores = stores
        self._letters: list[Letter] = []
        self._cursors: list[int] = []
        # In memory is what has a cursor in (tail, head].
        self._tail = 0
        self.head: int | None = None
        self._blocks: Recent[int, Page] = Recent(_BLOCKS)
        self._reading = asyncio.Lock()
        self.listeners: set[Callable[[], None]] = set()
        self._kick = asyncio.Event()
        self._kick.set()

    def kick(self) -> None:
        """There may be more."""
        self._kick.set()

    async def follow(self) -> None:
        """Read on whenever kicked, for ever."""
        while True:
            await self._kick.wait()
            self._kick.clear()
            if self.head is None:
                head = await self._stores.insist(lambda conn: feed_cursor(conn, self._tenant_id))
                self._tail = self.head = head
                self._tell()
            while await self._read_on(self.head):
                pass

    def _tell(self) -> None:
        for listener in tuple(self.listeners):
            listener()

    async def after(self, cursor: int) -> Page:
        """Some of what follows a cursor; nothing when it is at the end."""
        if self.head is None or cursor >= self.head:
            return Page([], cursor)
        if cursor >= self._tail:
            return Page(self._letters[bisect_right(self._cursors, cursor) :], self.head)
        start = cursor // _PAGE * _PAGE
        block = await self._block(start)
        letters = [one for one in block.letters if cursor < one.record.cursor <= block.covered]
        return Page(letters, block.covered)

    async def of_subject(self, subject: str, after: int, upto: int, limit: int) -> Page:
        """What follows a cursor of one subject."""
        page = await self._stores.insist(
            lambda conn: events_of_subject(conn, self._tenant_id, subject, after, upto, limit=limit)
        )
        return _lettered(page)

    async def _block(self, start: int) -> Page:
        """The letters with cursors in (start, start + a page]; whole ones are kept for others.

        After an outage many targets read the same of the log, each a little at a time.
        """
        async with self._reading:
            block = self._blocks.get(start)
            if block is None:
                end, head = start + _PAGE, self.head or start
                page = await self._stores.insist(
                    lambda conn: events_after(conn, self._tenant_id, start, limit=_PAGE)
                )
                block = Page(_lettered(page).letters, min(end, head))
                if end <= head:
                    self._blocks.put(start, block)
        return block

    async def _read_on(self, head: int) -> bool:
        """Whether there is more than was read now."""
        page = await self._stores.insist(
            lambda conn: events_after(conn, self._tenant_id, head, limit=_PAGE)
        )
        fresh = _lettered(page).letters
        self._letters = (self._letters + fresh)[-_KEPT:]
        kept = [letter.record.cursor for letter in self._letters]
        if len(self._cursors) + len(fresh) > _KEPT:
            # Amended ones left holes: what is before the first kept one is not known to be none.
            self._tail = kept[0] - 1
        self._cursors = kept
        if page.covered > head:
            self.head = page.covered
            self._tell()
        return len(fresh) == _PAGE


def _lettered(page: EventPage) -> Page:
    return Page([Letter.of(event) for event in page.events], page.covered)
