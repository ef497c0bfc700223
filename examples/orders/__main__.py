"""Follow the feed and keep the book: `python -m examples.orders`."""

import logging

from examples.orders.book import TYPES, Book
from examples.program import arguments, client, run, show
from waymark.client import AsyncWaymark, Event, FeedState

logger = logging.getLogger("orders")


async def follow(waymark: AsyncWaymark, book: Book) -> None:
    """Begin with a snapshot where there is nothing yet, then work in event by event, for ever."""
    if book.cursor is None:
        await _begin(waymark, book)
    async for event in waymark.feed.events(types=TYPES, since=book.cursor, on_state=_tell):
        book.take(event)


async def _begin(waymark: AsyncWaymark, book: Book) -> None:
    """What is there so far. The cursor comes first: what happens meanwhile lies behind it."""
    cursor = 0
    async for newest in waymark.events.list(order="desc"):
        cursor = newest.cursor
        break
    known: list[Event] = []
    async for shipment in waymark.shipments.list():
        known += [event async for event in waymark.shipments.events(shipment.id)]
    book.begin(known, cursor)
    logger.info("began at %d with %d facts", cursor, len(known))


def _tell(state: FeedState) -> None:
    logger.info("%s %s", *state)


def main() -> None:
    """Run the service, or show what it knows."""
    parser = arguments("orders", "Keeps what is known of each order, and tells customers.")
    given = parser.parse_args()
    with Book(given.db) as book:
        if given.show:
            show(book.truth())
            return

        async def serve() -> None:
            async with client(given.url) as waymark:
                await follow(waymark, book)

        run(serve)


if __name__ == "__main__":
    main()
