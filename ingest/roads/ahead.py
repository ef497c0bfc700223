"""The ways by road that lie ahead of shipments: to the stop that is next, and from stop to stop."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from ingest.roads.book import Ahead, RoadBook, Wanted
from tracking.eta.itinerary import Given, Site, left_last
from tracking.eta.nearby import Place
from tracking.shipments import Plan, Record, ahead
from tracking.store.connection import Connection

# Further ahead a straight line is as good: what is between takes longer than the way.
_LEGS = 5


class UnderWay(NamedTuple):
    """A shipment, where it was seen, and where its stops are; `given` are ways known otherwise."""

    number: int
    plan: Plan
    record: Record
    here: Place
    sites: Sequence[Site | None]
    given: Collection[int] = ()


async def ways_ahead(
    book: RoadBook, conn: Connection, tenant_id: int, shipments: Sequence[UnderWay]
) -> list[dict[int, Given]]:
    """Of each, the ways that are known now, by the stop they lead to; one query for all."""
    legs = [
        (i, stop, site, wanted)
        for i, one in enumerate(shipments)
        for stop, site, wanted in _legs(tenant_id, one)
    ]
    ways: list[dict[int, Given]] = [{} for _ in shipments]
    known = await book.known(conn, [wanted for *_, wanted in legs])
    for (i, stop, site, _), found in zip(legs, known, strict=True):
        if found is not None:
            ways[i][stop] = _given(found, site)
    return ways


def _legs(tenant_id: int, one: UnderWay) -> Iterator[tuple[int, Site, Wanted]]:
    """The next legs: to which stop, where that is, and what to look up for it."""
    at = one.record.at_stop
    since = left_last(one.record) if at is None else at
    before = None if since is None else one.sites[since]
    under_way = at is None
    legs = 0
    for stop in ahead(one.plan, one.record):
        site = one.sites[stop]
        if site is None:
            continue
        if legs == _LEGS:
            return
        legs += 1
        if stop not in one.given:
            if under_way:
                left = None if before is None else before.place
                yield stop, site, Wanted(tenant_id, one.here, site.place, (one.number, stop), left)
            else:
                start = one.here if before is None else before.place
                yield stop, site, Wanted(tenant_id, start, site.place)
        before, under_way = site, False


def _given(found: Ahead, site: Site) -> Given:
    """The way as the engine takes it, to where the stop begins."""
    end_m = max(found.way.length_m - site.radius_m, 0.0)
    path = found.way.between(min(found.along_m, end_m), end_m)
    return Given("roads", path, float(path.metres.sum()) + found.beside_m)
