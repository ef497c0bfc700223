"""What vehicles are told to do, as people write it: a JSON file, checked once, here."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from firmware_sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

LonLat = tuple[float, float]

_DAY_S = 86_400.0
_FAR_M = 1e7


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a line, in metres along it."""

    from_m: float
    to_m: float


@dataclass(frozen=True, slots=True)
class Jam:
    """A stretch in stop and go; `kmh` is its mean speed."""

    stretch: Stretch
    kmh: float


@dataclass(frozen=True, slots=True)
class WrongTurn:
    """The line is left `at_m`, driven `by` other places, and met again at `back_m`."""

    at_m: float
    by: tuple[LonLat, ...]
    back_m: float


@dataclass(frozen=True, slots=True)
class Drive:
    """Along a line that starts where the vehicle is. Metres are those of the line as planned."""

    line: tuple[LonLat, ...]
    kmh: float
    jams: tuple[Jam, ...] = ()
    tunnels: tuple[Stretch, ...] = ()
    wrong_turns: tuple[WrongTurn, ...] = ()
    breaks_at_m: float | None = None  # from there on the tracker is silent, until it is swapped


@dataclass(frozen=True, slots=True)
class Stay:
    """Standing still: for so long, or until so long after the start of the simulation."""

    for_s: float | None = None
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Swap:
    """Another tracker speaks from here on."""

    device: str


Act = Drive | Stay | Swap


@dataclass(frozen=True, slots=True)
class Itinerary:
    """A vehicle, where it is and who speaks for it at first, and what it does then."""

    vehicle: str
    device: str
    at: LonLat
    acts: tuple[Act, ...]


def read_itineraries(text: str) -> list[Itinerary]:
    """The vehicles of a journey.

    Raises:
        OptionError: it is no such file; the message names the member.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise OptionError(f"journey: this is no JSON: {error}") from error
    members = _Members(document, "journey")
    found = [_itinerary(one) for one in members.objects("vehicles")]
    members.end()
    if not found:
        raise OptionError("vehicles: give at least one")
    return found


def _itinerary(members: "_Members") -> Itinerary:
    itinerary = Itinerary(
        members.text("vehicle"), members.text("device"), members.place("at"),
        tuple(_act(one) for one in members.objects("acts")),
    )  # fmt: skip
    members.end()
    return itinerary


def _act(members: "_Members") -> Act:
    act: Act
    if members.has("drive"):
        act = _drive(members)
    elif members.has("stay_s"):
        act = Stay(for_s=members.number("stay_s", 0, 30 * _DAY_S))
    elif members.has("until_s"):
        act = Stay(until_s=members.number("until_s", 0, 366 * _DAY_S))
    elif members.has("device"):
        act = Swap(members.text("device"))
    else:
        raise OptionError(f"{members.path}: give drive, stay_s, until_s or device")
    members.end()
    return act


def _drive(members: "_Members") -> Drive:
    breaks = members.has("breaks_at_m")
    return Drive(
        line=members.places("drive"),
        kmh=members.number("kmh", 1, 300),
        jams=tuple(
            Jam(_stretch(one), one.number("kmh", 0.5, 100, last=True))
            for one in members.objects("jams")
        ),
        tunnels=tuple(_stretch(one, last=True) for one in members.objects("tunnels")),
        wrong_turns=tuple(_wrong_turn(one) for one in members.objects("wrong_turns")),
        breaks_at_m=members.number("breaks_at_m", 0, _FAR_M) if breaks else None,
    )


def _stretch(members: "_Members", *, last: bool = False) -> Stretch:
    from_m = members.number("from_m", 0, _FAR_M)
    return Stretch(from_m, members.number("to_m", from_m, _FAR_M, last=last))


def _wrong_turn(members: "_Members") -> WrongTurn:
    at_m, by = members.number("at_m", 0, _FAR_M), members.places("by")
    back_m = members.number("back_m", at_m, _FAR_M) if members.has("back_m") else at_m
    members.end()
    return WrongTurn(at_m, by, back_m)


class _Members:
    """An object of the file, whose members are taken one by one; `path` names it to people."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise OptionError(f"{path}: give an object")
        self.path = path
        self._left: dict[str, Any] = dict(value)

    def has(self, name: str) -> bool:
        return name in self._left

    def end(self) -> None:
        """Nothing else may be in it."""
        if self._left:
            raise OptionError(f"{self.path}: there is no member {next(iter(self._left))!r}")

    def text(self, name: str) -> str:
        value = self._take(name)
        if not isinstance(value, str) or not value or any(c in value for c in "/+#\0"):
            raise self._wrong(name, "give a name without '/', '+' and '#'")
        return value

    def number(self, name: str, low: float, high: float, *, last: bool = False) -> float:
        value = self._take(name)
        # Written so that NaN and everything that is no number fail too.
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(name, "give a number")
        if not low <= value <= high:
            raise self._wrong(name, f"{value} is not within {low:g} to {high:g}")
        if last:
            self.end()
        return float(value)

    def place(self, name: str) -> LonLat:
        return self._lon_lat(self._take(name), name)

    def places(self, name: str) -> tuple[LonLat, ...]:
        value = self._take(name)
        if not isinstance(value, list) or not value:
            raise self._wrong(name, "give a list of [lon, lat]")
        return tuple(self._lon_lat(one, f"{name}[{i}]") for i, one in enumerate(value))

    def objects(self, name: str) -> "Iterator[_Members]":
        value = self._left.pop(name, [])
        if not isinstance(value, list):
            raise self._wrong(name, "give a list")
        for i, one in enumerate(value):
            yield _Members(one, f"{self._within(name)}[{i}]")

    def _lon_lat(self, value: object, name: str) -> LonLat:
        match value:
            case [int() | float() as lon, int() | float() as lat] if (
                -180 <= lon <= 180 and -80 <= lat <= 80
            ):
                return float(lon), float(lat)
        raise self._wrong(name, "give [lon, lat] within 180 and 80 degrees")

    def _take(self, name: str) -> Any:  # noqa: ANN401  -- any JSON value
        if name not in self._left:
            raise self._wrong(name, "is missing")
        return self._left.pop(name)

    def _wrong(self, name: str, what: str) -> OptionError:
        return OptionError(f"{self._within(name)}: {what}")

    def _within(self, name: str) -> str:
        return name if self.path == "journey" else f"{self.path}.{name}"
