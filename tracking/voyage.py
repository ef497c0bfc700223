"""The state machine of a shipment: where it is among its stops, and what that means. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from tracking.custody import FOR_EVER_US, Segment
from tracking.shipments import (
    Happening,
    Override,
    Plan,
    Proof,
    Record,
    Status,
    Stay,
    StopRecord,
    grounds,
    of_stop,
)
from tracking.times import from_us, to_us

Seen = Literal["entered", "exited", "crossed"]


class Sighting(NamedTuple):
    """A fence of a stop, or the ring around it, was entered, left or crossed by a device."""

    time_us: int
    ground: int
    near: bool
    act: Seen
    device: str
    event: str
    late: bool = False
    lon: float | None = None
    lat: float | None = None


class Taken(NamedTuple):
    """A device carries the shipment from here on; `before` tells where that device is."""

    device: str
    before: Sequence[Sighting]


class Released(NamedTuple):
    """A device carries it no longer, and whether another does at once."""

    handed_on: bool


class Derived(NamedTuple):
    """The record, its events, and the next moment at which time alone may change it."""

    record: Record
    happenings: list[Happening]
    due_us: int | None


class Voyage:
    """The fold's state: what is known of a shipment at one moment. Not reusable."""

    def __init__(self, plan: Plan, created_us: int, overrides: Sequence[Override]) -> None:
        n = len(plan.stops)
        self._plan = plan
        self._created_us = created_us
        self._ground = grounds(plan.stops)
        self._arrived: list[int | None] = [None] * n
        self._departed: list[int | None] = [None] * n
        self._stays: list[list[Stay]] = [[] for _ in range(n)]
        self._done: set[int] = set()
        self._proof: dict[int, Proof] = {}
        # Times that are said are not those that are seen.
        self._said = overrides
        self._inside: set[int] = set()
        self._near: set[int] = set()
        self._at: int | None = None
        self._last: int | None = None
        self._device: str | None = None
        self._picked_up_us: int | None = None
        self._final: Status | None = None
        self._status: Status = "planned"
        self._since_us = created_us
        self._now_us = created_us
        self._cause: Sighting | None = None
        self._told: list[Happening] = []
        self._tell("shipment.status_changed", "status:planned", {"from": None, "to": "planned"})

    def take(self, time_us: int, act: Taken | Released | Sighting | Override) -> None:
        """Go on to a moment and what happens there, and note what that makes of the status."""
        self._now_us = time_us
        self._cause = act if isinstance(act, Sighting) else None
        if isinstance(act, Override):
            self._say(act)
        elif self._final is not None:
            return
        elif isinstance(act, Taken):
            self._take_over(act)
        elif isinstance(act, Released):
            self._release(act)
        else:
            self._see(act)
        status = self._judged()
        if status != self._status:
            data = {"from": self._status, "to": status, "stop": self._at}
            self._status, self._since_us = status, time_us
            self._tell("shipment.status_changed", f"status:{status}", data)

    def _take_over(self, taken: Taken) -> None:
        self._device = taken.device
        inside: dict[tuple[int, bool], bool] = {}
        for sighting in taken.before:
            if sighting.act != "crossed":
                inside[sighting.ground, sighting.near] = sighting.act == "entered"
        self._inside = {ground for (ground, near), is_in in inside.items() if is_in and not near}
        self._near = {ground for (ground, near), is_in in inside.items() if is_in and near}
        if self._at is not None and self._ground[self._at] not in self._inside:
            # It was moved while nobody looked.
            self._depart(self._at)
        if self._at is None:
            for ground in sorted(self._inside):
                self._arrive_at(ground)
        if self._picked_up_us is None and not self._pickups():
            self._picked_up_us = self._now_us

    def _release(self, released: Released) -> None:
        """Who leaves it at a delivery has delivered it."""
        self._device = None
        at = self._at
        if at is not None and not released.handed_on and self._plan.stops[at].kind == "delivery":
            self._tell("stop.unloaded", f"stop:{at}", self._of_stop(at))
            self._complete(at)

    def _see(self, sighting: Sighting) -> None:
        ground = sighting.ground
        if sighting.near:
            (self._near.add if sighting.act == "entered" else self._near.discard)(ground)
        elif sighting.act == "entered":
            self._inside.add(ground)
            self._arrive_at(ground)
        elif sighting.act == "exited":
            self._inside.discard(ground)
            at = self._at
            if at is not None and self._ground[at] == ground and not self._leaves_by_word(at):
                self._depart(at)
        else:
            self._pass(ground)

    def _say(self, said: Override) -> None:
        self._tell(
            "shipment.overridden",
            f"override:{said.id}",
            {"act": said.act, "stop": said.stop, "note": said.note, "by": said.made_by,
             "proof": None if said.proof is None else msgspec.to_builtins(said.proof)},
        )  # fmt: skip
        stop = said.stop
        if stop is not None and said.proof is not None:
            self._proof[stop] = said.proof
        if self._final is not None:
            return
        if said.act == "cancelled":
            self._final = "cancelled"
        elif said.act == "delivered":
            self._deliver(stop, said.proof)
        elif stop is not None and said.act == "arrived":
            self._arrive(stop)
        elif stop is not None:
            self._depart(stop)

    def _deliver(self, stop: int | None, proof: Proof | None) -> None:
        stops = [stop] if stop is not None else self._deliveries()
        for one in stops:
            if one in self._done:
                continue
            if self._arrived[one] is None:
                self._arrived[one] = self._now_us
            if proof is not None:
                self._proof[one] = proof
            self._complete(one)

    def _arrive_at(self, ground: int) -> None:
        stop = self._meant(ground)
        by_word = any(said.stop == stop and said.act == "arrived" for said in self._said)
        if stop is not None and not by_word:
            self._arrive(stop)

    def _meant(self, ground: int) -> int | None:
        """Which of the stops on this ground is reached now.

        The first that was not, unless another is due before it and the one just left is here too:
        then the carrier has come back.
        """
        again = self._last
        if again is not None and self._ground[again] != ground:
            again = None
        due = self._next()
        for stop, its_ground in enumerate(self._ground):
            if its_ground == ground and self._arrived[stop] is None and self._ready(stop):
                return stop if stop == due or again is None else again
        return again

    def _ready(self, stop: int) -> bool:
        """Whether something can be brought there: not before it was picked up somewhere."""
        if self._plan.stops[stop].kind == "pickup":
            return True
        before = [pickup for pickup in self._pickups() if pickup < stop]
        return not before or any(self._arrived[pickup] is not None for pickup in before)

    def _arrive(self, stop: int) -> None:
        if self._at == stop:
            return
        if self._at is not None:
            self._depart(self._at)
        if self._final is not None:
            return
        if self._arrived[stop] is None:
            self._arrived[stop] = self._now_us
        self._departed[stop] = None
        self._stays[stop].append(Stay(from_us(self._now_us), arrived_by=self._told_by()))
        self._at = self._last = stop
        self._tell("stop.arrived", f"stop:{stop}", self._of_stop(stop))

    def _leaves_by_word(self, stop: int) -> bool:
        """Whether people say when this stay ends; who left before it is not who leaves now."""
        came = self._stays[stop][-1].arrived_at
        return any(
            said.stop == stop and said.act == "departed" and said.at >= came for said in self._said
        )

    def _depart(self, stop: int) -> None:
        self._departed[stop] = self._now_us
        stays = self._stays[stop]
        if stays and stays[-1].left_at is None:
            stays[-1] = msgspec.structs.replace(
                stays[-1], left_at=from_us(self._now_us), left_by=self._told_by()
            )
        if self._at == stop:
            self._at = None
        self._last = stop if self._last is None else max(self._last, stop)
        self._tell("stop.departed", f"stop:{stop}", self._of_stop(stop))
        kind = self._plan.stops[stop].kind
        if kind == "pickup" and self._picked_up_us is None:
            self._picked_up_us = self._now_us
        self._complete(stop)

    def _pass(self, ground: int) -> None:
        """A passage nobody stopped at is enough for a via only."""
        stop = self._meant(ground)
        if stop is not None and self._plan.stops[stop].kind == "via" and self._at is None:
            self._arrive(stop)
            self._depart(stop)

    def _complete(self, stop: int) -> None:
        self._done.add(stop)
        if self._done.issuperset(self._deliveries()):
            self._final, self._at = "delivered", None

    def _pickups(self) -> list[int]:
        return [i for i, stop in enumerate(self._plan.stops) if stop.kind == "pickup"]

    def _deliveries(self) -> list[int]:
        """What has to be done until it is delivered; all, where nothing is delivered."""
        found = [i for i, stop in enumerate(self._plan.stops) if stop.kind == "delivery"]
        return found or list(range(len(self._plan.stops)))

    def _next(self) -> int | None:
        """The stop that is due; a via that was passed by is not."""
        for i in range(len(self._plan.stops)):
            if self._arrived[i] is None and i not in self._done and not self._passed_by(i):
                return i
        return None

    def _passed_by(self, stop: int) -> bool:
        """Whether a via was left out: a stop behind it has been reached."""
        return self._plan.stops[stop].kind == "via" and self._last is not None and stop < self._last

    def _judged(self) -> Status:
        if self._final is not None:
            return self._final
        if self._at is not None:
            return "at_stop"
        if self._picked_up_us is None:
            return "planned"
        due = self._next()
        if due is not None and self._ground[due] in self._near:
            return "arriving"
        last = self._last
        if last is not None and self._plan.stops[last].kind == "pickup":
            return "picked_up" if self._ground[last] in self._near else "in_transit"
        return "in_transit"

    def _of_stop(self, stop: int) -> dict[str, Any]:
        return of_stop(self._plan, stop) | {"visit": len(self._stays[stop])}

    def _tell(self, type_: str, rule: str, data: dict[str, Any]) -> None:
        cause = self._cause
        known = {"shipment": self._plan.id, "order_ref": self._plan.order_ref, **data}
        known["device"] = self._device
        if cause is not None:
            known |= {"cause": cause.event, "lon": cause.lon, "lat": cause.lat}
        late = cause is not None and cause.late
        self._told.append(Happening(type_, self._now_us, rule, known, late))

    def derived(self, custody: Sequence[Segment], now_us: int) -> Derived:
        """What all the steps came to, as of `now_us`."""
        delayed = self._delayed(now_us)
        due_us = [part.to_us for part in custody if part.device is not None]
        if self._final is None:
            due_us += [limit_us for _, limit_us, arrived_us in self._limits() if arrived_us is None]
        record = Record(
            status=self._status,
            since=from_us(self._since_us),
            stops=tuple(self._stop_record(i, i in delayed) for i in range(len(self._plan.stops))),
            picked_up_at=_moment(self._picked_up_us),
            delivered_at=from_us(self._since_us) if self._status == "delivered" else None,
            exceptions=("delayed",) if delayed else (),
            at_stop=self._at,
            next_stop=None if self._final is not None else self._next(),
        )
        coming = [us for us in due_us if now_us < us < FOR_EVER_US]
        told = sorted(self._told, key=lambda happening: happening.time_us)
        return Derived(record, told, min(coming, default=None))

    def _limits(self) -> Iterator[tuple[int, int, int | None]]:
        """(stop, end of its window, arrival) of those that were or should be reached in time."""
        for i, stop in enumerate(self._plan.stops):
            arrived_us = self._arrived[i]
            missed = arrived_us is None and (i in self._done or self._passed_by(i))
            if stop.window is not None and stop.window.end is not None and not missed:
                yield i, to_us(stop.window.end), arrived_us

    def _delayed(self, now_us: int) -> set[int]:
        """The stops reached after their window, or not yet although it has passed."""
        end_us = self._since_us if self._final is not None else now_us
        found = set()
        for i, limit_us, arrived_us in self._limits():
            if limit_us < (end_us if arrived_us is None else arrived_us):
                found.add(i)
                # The deadline is when it became late, whatever was seen around then.
                self._now_us, self._cause, self._device = limit_us, None, None
                self._tell("shipment.delayed", f"stop:{i}", self._of_stop(i))
        return found

    def _ended(self, stay: Stay) -> Stay:
        """Nothing is anywhere any more that was delivered or called off."""
        if self._final is None or stay.left_at is not None:
            return stay
        return msgspec.structs.replace(stay, left_at=from_us(self._since_us))

    def _told_by(self) -> str | None:
        return None if self._cause is None else self._cause.event

    def _stop_record(self, stop: int, delayed: bool) -> StopRecord:  # noqa: FBT001 -- by place
        return StopRecord(
            arrived_at=_moment(self._arrived[stop]),
            departed_at=_moment(self._departed[stop]),
            done=stop in self._done,
            delayed=delayed,
            proof=self._proof.get(stop),
            stays=tuple(self._ended(stay) for stay in self._stays[stop]),
        )


def _moment(time_us: int | None) -> datetime | None:
    return None if time_us is None else from_us(time_us)
