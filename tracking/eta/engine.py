"""One tenant's forecaster: everything that was learned, asked leg by leg."""

from typing import NamedTuple

from tracking.eta.lane import Arrival
from tracking.eta.nearby import Place, Start
from tracking.eta.pace import Path
from tracking.eta.trip import Trip, TripEta


class Leg(NamedTuple):
    """The rest of a way to a stop, from where something is or from the stop before.

    Attributes:
        left_m: along `path` where that is given, else as the crow flies.
        lane: names of the places between which it runs, for what is known of just these; None:
            it began nowhere in particular.
        planned_s: what the plan has left for it, where stops have planned times; None: no plan.
    """

    here: Place
    there: Place
    left_m: float
    path: Path | None = None
    lane: tuple[str, str] | None = None
    planned_s: float | None = None


class Engine:
    """Learns from trips that ended, forecasts those under way. No clock, no I/O."""

    def __init__(self) -> None:
        self._trips = TripEta()

    def learn(self, trip: Trip) -> None:
        """Take up a trip; trips are taken up in the order in which they ended."""
        self._trips.learn(trip)

    def forecast(self, leg: Leg, now_s: float) -> Arrival:
        """When a leg that goes on at `now_s` (Unix seconds) will have been driven."""
        start = Start(leg.here, leg.there, leg.left_m, local_day_s(now_s, leg.here[0]))
        return self._trips.forecast(start, now_s, leg.path)


def local_day_s(time_s: float, lon: float) -> float:
    """Seconds of the solar day at a longitude: the hour of day wherever no time zone is known.

    Learning and forecasting use the same, so summer time shifts both alike.
    """
    return (time_s + lon * 240.0) % 86_400.0
