"""A planned route as the way from stop to stop. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tracking.eta.itinerary import Given, Here, Site, left_last
from tracking.eta.way import Way, way_of
from tracking.route.follow import Progress
from tracking.shipments import Plan, Record, Route, ahead

# A stop further beside the route than that is not on it.
_BESIDE_M = 500.0
# Who has come further than that past a stop on the way to it, is on no way to it.
_PAST_M = 300.0
# What was followed up to so long before is near enough: a few hundred metres.
_BEHIND_S = 15.0


class Guide(NamedTuple):
    """A route, and how far along it each stop is; None: the stop is not on it.

    Its pieces cut corners a little: `scale` makes metres along them of metres along the line.
    """

    route: Route
    sites: Sequence[Site | None]
    scale: float
    stops_m: tuple[float | None, ...]

    @property
    def way(self) -> Way:
        """Its pieces."""
        return _way_of(self.route.polyline)

    def ways(
        self, plan: Plan, record: Record, here: Here, progress: Progress | None
    ) -> dict[int, Given]:
        """The ways to stops ahead: what is left of the route to the next, and from stop to stop.

        Who has left it goes to the next stop some other way.
        """
        at_m, way = self._at_m(record, here, progress), self.way
        last = left_last(record) if record.at_stop is None else None
        since_m = None if last is None else self.stops_m[last]
        found: dict[int, Given] = {}
        for stop in ahead(plan, record):
            site, to_m = self.sites[stop], self.stops_m[stop]
            if site is None:
                continue
            if at_m is not None and to_m is not None and at_m <= to_m + _PAST_M:
                # To where the stop begins.
                end_m = max(to_m - site.radius_m, 0.0)
                path = way.between(min(at_m, end_m), end_m)
                left_m = float(path.metres.sum())
                part = None
                if since_m is not None and since_m < end_m:
                    part = min(left_m / (end_m - since_m), 1.0)
                found[stop] = Given("route", path, left_m, part)
            at_m = since_m = to_m
        return found

    def _at_m(self, record: Record, here: Here, progress: Progress | None) -> float | None:
        """How far along it something is; None: nowhere, or it has left it."""
        if record.at_stop is not None:
            return self.stops_m[record.at_stop]
        if progress is not None and progress.off_route:
            return None
        at_m = followed_m = None if progress is None else progress.progress_m
        if progress is not None and followed_m is not None:
            # Of a fix just before this one; the line itself need not be at hand.
            behind_s = here.time_s - progress.as_of.timestamp()
            if behind_s <= _BEHIND_S:
                return followed_m * self.scale
        if at_m is None:
            # It has just left a stop, and is followed in a moment.
            last = left_last(record)
            last_m = None if last is None else self.stops_m[last]
            if last_m is None:
                return None
            at_m = last_m / self.scale
        seen = self.route.line.project(*here.place, near_m=at_m)
        if seen.offset_m <= self.route.detect_m:
            return seen.along_m * self.scale
        return None if followed_m is None else followed_m * self.scale


def guide_of(route: Route, sites: Sequence[Site | None]) -> Guide:
    """A route made ready to be asked again and again."""
    line, way = route.line, _way_of(route.polyline)
    scale = max(way.length_m, 1.0) / max(line.length_m, 1.0)
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
    return Guide(route, sites, scale, tuple(stops_m))


# Shipments of one tour have one route; 30 kB each.
@lru_cache(maxsize=2_048)
def _way_of(polyline: str) -> Way:
    return way_of(Route(polyline).points)
