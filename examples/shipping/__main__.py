"""Follow the feed and keep the desk: `python -m examples.shipping`."""

import asyncio
import logging

from examples.program import arguments, client, run, show
from examples.shipping.desk import Desk
from waymark.client import AsyncWaymark, FeedState

logger = logging.getLogger("shipping")

_TYPES = ("shipment.*", "stop.*", "route.*")


class Follower:
    """Listens in one task and reads in another: many hints about a shipment are one reading."""

    def __init__(self, waymark: AsyncWaymark, desk: Desk) -> None:
        self._waymark = waymark
        self._desk = desk
        self._hinted: set[str] = set()
        self._heard = 0
        self._news = asyncio.Event()

    async def follow(self) -> None:
        """Begin with all there is, then follow for ever."""
        if self._desk.cursor is None:
            await self._begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._read())

    async def _begin(self) -> None:
        """All there is. The cursor comes first: what happens meanwhile is hinted at once more."""
        cursor = 0
        async for newest in self._waymark.events.list(order="desc"):
            cursor = newest.cursor
            break
        shipments = [shipment async for shipment in self._waymark.shipments.list()]
        self._desk.replace(shipments, cursor)
        logger.info("began at %d with %d shipments", cursor, len(shipments))

    async def _listen(self) -> None:
        since = self._desk.cursor
        async for event in self._waymark.feed.events(types=_TYPES, since=since, on_state=_tell):
            if event.shipment is not None:
                self._hinted.add(event.shipment)
            self._heard = event.cursor
            self._news.set()

    async def _read(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            # What is hinted at from here on is of the next round, and so is its cursor.
            hinted, heard = self._hinted, self._heard
            self._hinted = set()
            read = [await self._waymark.shipments.get(id_) for id_ in sorted(hinted)]
            self._desk.replace(read, heard)


def _tell(state: FeedState) -> None:
    logger.info("%s %s", *state)


def main() -> None:
    """Run the service, or show what it knows."""
    parser = arguments("shipping", "Keeps a copy of all shipments, their stops and troubles.")
    given = parser.parse_args()
    with Desk(given.db) as desk:
        if given.show:
            show(desk.truth())
            return

        async def serve() -> None:
            async with client(given.url) as waymark:
                await Follower(waymark, desk).follow()

        run(serve)


if __name__ == "__main__":
    main()
