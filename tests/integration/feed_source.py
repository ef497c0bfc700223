"""What ingest would publish, and what the api says became of it."""

from h3.api import basic_int as h3

from tests.integration.api_site import Site, later
from tracking.feed import (
    EventRecord,
    Publisher,
    encode_event,
    encode_positions,
    events_channel,
    position_update,
    positions_channel,
)


async def publish(publisher: Publisher, *events: EventRecord) -> None:
    assert await publisher.publish(
        [(events_channel(event.tenant), encode_event(event)) for event in events]
    )


async def publish_position(
    publisher: Publisher,
    device: str,
    lon: float,
    seconds: float,
    *,
    tenant: str = "default",
    quality: int = 0,
) -> None:
    time = later(seconds)
    cell = h3.latlng_to_cell(52.0, lon, 10)
    update = position_update(
        device, time, time, lon, 52.0, None, 1.0, None, None, None, quality, cell, None
    )
    assert await publisher.publish([(positions_channel(tenant), encode_positions([update]))])


async def closed_slow(site: Site) -> int:
    """How many clients the api gave up; it answers this while one of them does not read."""
    lines = (await site.get("/metrics")).text.splitlines()
    name = "waymark_api_feed_closed_slow_total "
    return next(int(float(line[len(name) :])) for line in lines if line.startswith(name))
