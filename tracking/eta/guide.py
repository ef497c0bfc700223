"""A planned route as the way from stop to stop. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tracking.eta.itinerary import Given, Site
from tracking.eta.way import Way, way_of
from tracking.shipments import Route

# A stop further beside the route than that is not on it.
_BESIDE_M = 500.0
# Who has come further than that past a stop on the way to it, is on no way to it.
_PAST_M = 300.0


class Guide(NamedTuple):
    """The route in pieces, and how far along it each stop is; None: the stop is not on it.

    `scale` makes metres of the pieces of metres along the line: corners are cut a little.
    """

    way: Way
    scale: float
    stops_m: tuple[float | None, ...]

    def ways(self, sites: Sequence[Site | None], progress_m: float | None) -> dict[int, Given]:
        """The ways to stops: from `progress_m` along the line, and from each stop to the next.

        The first of `sites` that is not None is the next stop; what has been done is None.
        """
        at_m = None if progress_m is None else progress_m * self.scale
        found: dict[int, Given] = {}
        for stop, site in enumerate(sites):
            if site is None:
                continue
            to_m = self.stops_m[stop]
            if at_m is not None and to_m is not None and at_m <= to_m + _PAST_M:
                end_m = max(to_m - site.radius_m, min(at_m, to_m))
                path = self.way.between(min(at_m, end_m), end_m)
                found[stop] = Given("route", path, float(path.metres.sum()))
            at_m = to_m
        return found


def guide_of(route: Route, sites: Sequence[Site | None]) -> Guide:
    """A route made ready to be asked again and again."""
    line, way = route.line, _way_of(route.polyline)
    scale = way.length_m / max(line.length_m, 1.0)
    stops_m: list[float | None] = []
    # Stops follow each other along it, so one that it passes twice is told apart.
    last_m = 0.0
    for site in sites:
        found = None if site is None else line.project(*site.place, near_m=last_m)
        if site is None or found is None or found.offset_m > max(site.radius_m, _BESIDE_M):
            stops_m.append(None)
            continue
        last_m = found.along_m
        stops_m.append(found.along_m * scale)
    return Guide(way, scale, tuple(stops_m))


# Shipments of one tour have one route; 30 kB each.
@lru_cache(maxsize=2_048)
def _way_of(polyline: str) -> Way:
    return way_of(Route(polyline).points)
