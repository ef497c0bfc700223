"""Vehicles that do as they are told: a scene of itineraries, and what truly happens in it. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import cos, hypot, inf, radians
from typing import Any, Literal, NamedTuple

from firmware_sim.fleet import ARRIVED_M, HARD_BRAKE_MPS2, Observed, free_mps
from firmware_sim.itinerary import Drive, Itinerary, LonLat, Stay, Swap, WrongTurn
from firmware_sim.noise import Noise
from firmware_sim.options import OptionError, Options
from firmware_sim.readings import iso_ms
from firmware_sim.roads import M_PER_DEG_LAT, Path, Xy
from firmware_sim.scene import DeviceName
from firmware_sim.ticks import Ticks

_STEP_S = 1.0
# In a jam the pace is drawn anew after so long, and is 0 in so many of the draws.
_CRAWL_S, _STANDS = 20.0, 0.4

Kind = Literal["stay", "drive", "jam", "tunnel", "wrong_turn", "broken", "swap"]


class Happened(NamedTuple):
    """Something that truly happened, in ms since the start; `lon, lat` is where it began."""

    vehicle: str
    device: str
    act: Kind
    from_ms: int
    to_ms: int
    lon: float
    lat: float

    def line(self, start_ms: int) -> dict[str, Any]:
        """It as JSON, its times as a true clock says them."""
        told = self._asdict()
        times = {name: iso_ms(start_ms + told.pop(f"{name}_ms")) for name in ("from", "to")}
        return {**told, **times}


class _State(NamedTuple):
    lon: float
    lat: float
    speed_mps: float
    course_deg: float


class _Piece(NamedTuple):
    """What a vehicle does from `from_s` on: a state per second, or one if it stands."""

    from_s: float
    states: Sequence[_State]

    def at(self, at_s: float) -> _State:
        k, share = divmod(at_s - self.from_s, _STEP_S)
        a = self.states[min(int(k), len(self.states) - 1)]
        b = self.states[min(int(k) + 1, len(self.states) - 1)]
        return _State(
            a.lon + (b.lon - a.lon) * share,
            a.lat + (b.lat - a.lat) * share,
            a.speed_mps + (b.speed_mps - a.speed_mps) * share,
            a.course_deg,
        )


class Way:
    """The way a drive takes: its line, with the wrong turns put in."""

    def __init__(self, here: LonLat, drive: Drive) -> None:
        line = (here, *drive.line)
        self._lat = (min(lat for _, lat in line) + max(lat for _, lat in line)) / 2
        self._m_per_deg_lon = M_PER_DEG_LAT * cos(radians(self._lat))
        planned = Path([self._xy(place) for place in line], [inf] * len(line), (), ())
        self.planned_m = planned.length_m
        points: list[Xy] = []
        # Of each wrong turn, where it leaves the plan and how much longer the way is behind it.
        self._longer: list[tuple[float, float]] = []
        done_m = longer_m = 0.0
        for turn in sorted(drive.wrong_turns, key=lambda turn: turn.at_m):
            if self._longer and turn.at_m <= done_m:
                raise OptionError(
                    f"wrong_turns: the one at {turn.at_m:g} m begins before the last one is over"
                )
            points += _between(planned, done_m, turn.at_m)
            leg = [planned.place(turn.at_m)[:2], *map(self._xy, turn.by)]
            leg.append(planned.place(turn.back_m)[:2])
            longer_m += _length_m(leg) - (turn.back_m - turn.at_m)
            self._longer.append((turn.at_m, longer_m))
            points += leg[:-1]
            done_m = turn.back_m
        points += _between(planned, done_m, planned.length_m)
        points = [a for a, b in pairwise(points) if a != b] + points[-1:]
        self.path = Path(points, [drive.kmh / 3.6] * len(points), (), ())

    def driven_m(self, planned_m: float) -> float:
        """How much was driven when the vehicle is first at a place of the plan."""
        longer = [longer_m for at_m, longer_m in self._longer if at_m < planned_m]
        return planned_m + (longer[-1] if longer else 0.0)

    def rejoins_m(self, turn: WrongTurn) -> float:
        """How much was driven when a wrong turn is over."""
        return turn.back_m + dict(self._longer)[turn.at_m]

    def lon_lat(self, at_m: float) -> tuple[float, float, float]:
        """Where the vehicle is after so much, and its course."""
        x, y, course_deg = self.path.place(at_m)
        return round(x / self._m_per_deg_lon, 7), round(y / M_PER_DEG_LAT, 7), course_deg

    def _xy(self, place: LonLat) -> Xy:
        return place[0] * self._m_per_deg_lon, place[1] * M_PER_DEG_LAT


class _Vehicle:
    """Works an itinerary off, once; afterwards it is looked up where it was."""

    def __init__(self, itinerary: Itinerary, seed: int) -> None:
        self.itinerary = itinerary
        self.happened: list[Happened] = []
        # By device, when it speaks; and when none can.
        self.voices: dict[str, list[tuple[float, float]]] = {}
        self._mute: list[tuple[float, float]] = []
        self._noise = Noise(seed, itinerary.vehicle, "jam")
        self._here = _State(*itinerary.at, 0.0, 0.0)
        self._pieces = [_Piece(0.0, [self._here])]
        self._starts = [0.0]
        self._device: str = itinerary.device
        self._since_s, self._broken_s = 0.0, inf
        self.now_s = 0.0
        for number, act in enumerate(itinerary.acts):
            if isinstance(act, Drive):
                self._drive(act)
            elif isinstance(act, Stay):
                self._stay(act, number)
            else:
                self._swap(act)
        self._fall_silent()

    def says(self, device: str, at_ms: int) -> dict[str, Any] | None:
        """What this device of it measures at a moment; None while it cannot."""
        at_s = at_ms / 1000
        speaks = any(start <= at_s < end for start, end in self.voices[device])
        if not speaks or any(start <= at_s < end for start, end in self._mute):
            return None
        state = self._pieces[bisect_right(self._starts, at_s) - 1].at(at_s)
        return {
            "lon": round(state.lon, 7),
            "lat": round(state.lat, 7),
            "speed_mps": round(state.speed_mps, 2),
            "course_deg": round(state.course_deg, 1) % 360.0,
            "accuracy_m": 4.0,
            "attrs": {"ignition": state.speed_mps > 0.0},
        }

    def _stay(self, act: Stay, number: int) -> None:
        start_s = self.now_s
        until_s = act.until_s if act.until_s is not None else start_s + (act.for_s or 0.0)
        if until_s < start_s:
            raise OptionError(
                f"{self.itinerary.vehicle}: acts[{number}].until_s: it is {start_s:.0f} by then"
            )
        self._go_on(until_s, [self._here])
        self._tell("stay", start_s, until_s)

    def _swap(self, act: Swap) -> None:
        broken_s = self._broken_s
        self._fall_silent()
        if broken_s < inf:
            self._tell("broken", broken_s, self.now_s)
        self._device, self._since_s, self._broken_s = act.device, self.now_s, inf
        self._tell("swap", self.now_s, self.now_s)

    def _fall_silent(self) -> None:
        until_s = min(self.now_s, self._broken_s)
        self.voices.setdefault(self._device, []).append((self._since_s, until_s))

    def _drive(self, drive: Drive) -> None:
        way = Way(self._here[:2], drive)
        ends = [jam.stretch.to_m for jam in drive.jams] + [one.to_m for one in drive.tunnels]
        ends += [turn.back_m for turn in drive.wrong_turns] + [drive.breaks_at_m or 0.0]
        if max(ends) > way.planned_m:
            raise OptionError(
                f"{self.itinerary.vehicle}: {max(ends):.0f} m is behind the end of a drive "
                f"of {way.planned_m:.0f} m"
            )
        start_s = self.now_s
        driven = self._motion(drive, way)
        along = [at_m for at_m, _ in driven]
        states: list[_State] = []
        for at_m, speed_mps in driven:
            lon, lat, course_deg = way.lon_lat(at_m)
            states.append(_State(lon, lat, speed_mps, course_deg))
        self._go_on(start_s + (len(states) - 1) * _STEP_S, states)
        self._tell("drive", start_s, self.now_s)

        def when(driven_m: float) -> float:
            return start_s + bisect_left(along, driven_m) * _STEP_S

        for jam in drive.jams:
            part = jam.stretch
            self._tell("jam", when(way.driven_m(part.from_m)), when(way.driven_m(part.to_m)))
        for part in drive.tunnels:
            span = when(way.driven_m(part.from_m)), when(way.driven_m(part.to_m))
            self._mute.append(span)
            self._tell("tunnel", *span)
        for turn in drive.wrong_turns:
            self._tell("wrong_turn", when(way.driven_m(turn.at_m)), when(way.rejoins_m(turn)))
        if drive.breaks_at_m is not None:
            self._broken_s = min(self._broken_s, when(way.driven_m(drive.breaks_at_m)))

    def _motion(self, drive: Drive, way: Way) -> list[tuple[float, float]]:
        """Metres driven and speed, second by second."""
        jams = [
            (way.driven_m(jam.stretch.from_m), way.driven_m(jam.stretch.to_m), jam.kmh / 3.6)
            for jam in drive.jams
        ]
        path, at_m, speed_mps, now_s = way.path, 0.0, 0.0, self.now_s
        driven = [(0.0, 0.0)]
        while path.length_m - at_m > ARRIVED_M:
            now_s += _STEP_S
            free = free_mps(path, at_m, speed_mps, _STEP_S)
            for from_m, to_m, jam_mps in jams:
                if from_m <= at_m < to_m:
                    crawl = max(self._crawl_mps(jam_mps, now_s), speed_mps - HARD_BRAKE_MPS2)
                    free = min(free, crawl)
            speed_mps = max(0.0, free)
            at_m = min(at_m + speed_mps * _STEP_S, path.length_m)
            driven.append((at_m, speed_mps))
        driven[-1] = (path.length_m, 0.0)
        return driven

    def _crawl_mps(self, mean_mps: float, now_s: float) -> float:
        """Stop and go around a mean."""
        draw = self._noise.unit(int(now_s // _CRAWL_S))
        if draw < _STANDS:
            return 0.0
        return mean_mps / (1 - _STANDS) * (0.5 + (draw - _STANDS) / (1 - _STANDS))

    def _go_on(self, until_s: float, states: Sequence[_State]) -> None:
        self._pieces.append(_Piece(self.now_s, states))
        self._starts.append(self.now_s)
        self._here = states[-1]
        self.now_s = until_s

    def _tell(self, act: Kind, from_s: float, to_s: float) -> None:
        state = self._pieces[bisect_right(self._starts, from_s) - 1].at(from_s)
        span = int(from_s * 1000), int(to_s * 1000)
        self.happened.append(
            Happened(self.itinerary.vehicle, self._device, act, *span, state.lon, state.lat)
        )


class Journey:
    """The scene of some itineraries. Each device has a fix per interval of `options` while it can.

    Raises:
        OptionError: an itinerary cannot be driven, or a device is in two vehicles.
    """

    def __init__(self, itineraries: Sequence[Itinerary], options: Options) -> None:
        vehicles = [_Vehicle(one, options.seed) for one in itineraries]
        self.duration_s = max(vehicle.now_s for vehicle in vehicles)
        if not self.duration_s:
            raise OptionError("acts: none of them takes any time")
        self._of: list[tuple[_Vehicle, str]] = []
        for vehicle in vehicles:
            for device in vehicle.voices:
                if any(device == other for _, other in self._of):
                    raise OptionError(f"device: {device!r} is in two vehicles")
                self._of.append((vehicle, device))
        self.devices = [
            DeviceName(options.prefix + device, "pos", number)
            for number, (_, device) in enumerate(self._of)
        ]
        self.ticks = {
            name: Ticks(
                options.interval_s,
                Noise(options.seed, name, "phase").unit(0) * options.interval_s * 1000,
            )
            for name, _, _ in self.devices
        }
        happened = [one for vehicle in vehicles for one in vehicle.happened]
        self.happened = sorted(happened, key=lambda one: (one.from_ms, one.to_ms))

    def observe(self, until_ms: int) -> Iterator[tuple[int, list[Observed]]]:
        """By device number, in order, what was observed since the last call, before *until_ms*."""
        for (vehicle, device), (name, _, number) in zip(self._of, self.devices, strict=True):
            ticks, seen = self.ticks[name], []
            while (at_ms := ticks.next_ms) < until_ms:
                ticks.advance()
                body = vehicle.says(device, at_ms)
                if body is not None:
                    seen.append(Observed(at_ms, body))
            yield number, seen


def _between(path: Path, from_m: float, to_m: float) -> list[Xy]:
    """The part of a path between two places of it, both included."""
    inner = [
        point
        for point, along_m in zip(path.points, path.along_m, strict=True)
        if from_m < along_m < to_m
    ]
    return [path.place(from_m)[:2], *inner, path.place(to_m)[:2]]


def _length_m(points: Sequence[Xy]) -> float:
    return sum(hypot(x1 - x0, y1 - y0) for (x0, y0), (x1, y1) in pairwise(points))
