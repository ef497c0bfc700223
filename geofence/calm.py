"""When a device counts as having entered or left: a pure machine that does not flap.

One machine per device and free fence, or per device and layer of fences that share borders. It
sees a fix as: where the fix is (`target`), and how far that is beyond the border of where the
machine has the device (`away_m`). Fixes come in event time; nothing else is known.

Fixes beyond the border form a *run*. A run becomes a change when a fix lies deeper than the
*buffer*, or when the run has lasted and was, on the mean, not shallow. Quick returns widen the
buffer; being far from the border narrows it again, time does not: a vehicle parked on a border is
still parked there an hour later. What the defaults cost is in docs/geofences.md.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from geofence.shapes import Kind

OUTSIDE = 0


@dataclass(slots=True)
class Presence:
    """One device at one free fence, or in one layer. Only int and float fields: it is stored as a
    numpy record of them. A device without a Presence is outside, calm, and has been for long.
    """  # noqa: D205 -- one contract

    machine: int = 0  # the number of the free fence; of a layer, a negative number
    zone: int = OUTSIDE  # the number of the fence the device is in
    since_us: int = 0  # when it entered `zone`; of no meaning outside
    changed_us: int = 0  # the fix that confirmed the last change; 0 before any
    widened: int = 0  # how often the buffer is doubled
    run_us: int = 0  # the first fix of the run of fixes beyond the border; 0 without one
    run_n: int = 0
    run_sum_m: float = 0.0
    run_lon: float = 0.0
    run_lat: float = 0.0
    beyond_n: int = 0  # the last fixes of the run in a row that lay beyond the buffer


class Seen(NamedTuple):
    """One fix as a machine sees it. `accuracy_m` is NaN where unknown."""

    time_us: int
    lon: float
    lat: float
    accuracy_m: float
    interval_s: float  # the device's usual time between fixes
    target: int  # the fence of this machine the fix is in, OUTSIDE if in none
    away_m: float  # beyond the border of the machine's zone: > 0 on the far side
    inradius_m: float  # of `target`; of no meaning outside


class Change(NamedTuple):
    """The machine moved the device from one zone to another, at the first fix of the run."""

    left: int
    entered: int
    time_us: int
    lon: float
    lat: float
    away_m: float  # how far beyond the border the confirming fix was


class Verdict(StrEnum):
    """What a fix did: nothing, or it confirmed a change by its depth or by the run's length."""

    NONE = "none"
    FAST = "fast"
    SLOW = "slow"


class Glance(NamedTuple):
    """One fix as the machine judged it: the numbers behind "why" and "why not"."""

    time_us: int
    away_m: float
    buffer_m: float  # a fix this far beyond the border would have been believed
    widened: int
    run_n: int  # fixes in the run, this one included; 0 on the machine's own side
    mean_m: float  # their mean depth
    verdict: Verdict


class Profile(StrEnum):
    """What kind of ground a fence is."""

    ZONE = "zone"  # ground whose border people drive along: a shallow passage there is no visit
    POI = "poi"  # a circle around a place, a depot, a customer: who meets it has come to it


# Up to this radius a free circle is a POI; 100 m was tested. A small polygon is not: of blocks
# between streets a POI's buffers remove 60 % of the false transitions, a zone's 92 %.
_POI_RADIUS_M = 150.0
# Beyond the border by this much, on either side, quick returns are forgotten.
_FAR_M = 100.0
_FAR_ACCURACIES = 4.0
# A widened buffer ends here, so that a fix 50 m deep in the next zone is always believed: with 80 m
# 0.3 % of Chicago's fixes are that deep in another zone of a layer than the machine's.
_BUFFER_MAX_M = 48.0
_BUFFER_MAX_ACCURACIES = 3.0
# No buffer for entering is a larger part of the inradius: what is small stays enterable. Blocks
# between streets need the larger share: with half, 86 % of their false transitions go, not 92 %.
_ZONE_ENTER_INRADIUS = 0.8
_POI_ENTER_INRADIUS = 0.5
# Never widened, a week parked on a border gives 507 to 4,757 transitions instead of 3 to 7.
_WIDENED_MAX = 3
# A return within this time of the last change is a quick one.
_QUICK_US = 600_000_000
# The slow way: a run of this many fixes and this long, and on the mean 0.3 buffers deep. From 120 s
# on, 196 of 345 shallow stays in Chicago would be lost instead of 53. The time quadruples where the
# buffer doubles: if it only doubled, a week on a border would give up to 61 transitions, not 7.
_SLOW_FIXES = 3
_SLOW_US = 60_000_000
_SLOW_DEPTH = 0.3
# The buffer in metres and in accuracies by the time between fixes; linear in between. With 20 m at
# 15 s, 10 m of noise leaves 15 % of the false transitions; with 25 m, 4 % of the deep visits are
# lost. At 60 s and more every metre costs deep visits that hold one or two fixes.
_ZONE_BUFFERS = ((15.0, 21.0, 1.0), (30.0, 20.0, 1.0), (60.0, 10.0, 1.0), (120.0, 5.0, 0.0))
_POI_BUFFERS = ((90.0, 5.0, 0.5), (120.0, 5.0, 0.0))
# Below this interval a zone asks for two fixes beyond the buffer: one may be a spike.
_TWO_FIXES_S = 5.0


@dataclass(frozen=True, slots=True)
class Calm:
    """How calm one fence is. None: as its profile, the sampling and the accuracy have it."""

    profile: Profile = Profile.ZONE
    enter_m: float | None = None
    exit_m: float | None = None
    min_fixes: int | None = None

    @classmethod
    def of(
        cls,
        *,
        kind: Kind,
        inradius_m: float,
        layer: bool,
        enter_m: float | None = None,
        exit_m: float | None = None,
        min_fixes: int | None = None,
    ) -> "Calm":
        """The parameters of such a fence, free or in a layer, with what its owner set."""
        poi = kind is Kind.CIRCLE and not layer and inradius_m <= _POI_RADIUS_M
        return cls(Profile.POI if poi else Profile.ZONE, enter_m, exit_m, min_fixes)

    def fixes(self, interval_s: float) -> int:
        """How many fixes in a row must lie beyond the buffer."""
        if self.min_fixes is not None:
            return self.min_fixes
        return 2 if self.profile is Profile.ZONE and 0.0 < interval_s <= _TWO_FIXES_S else 1

    def buffer_m(self, presence: Presence, seen: Seen) -> float:
        """How far beyond the border a fix must lie to be believed."""
        entering = presence.zone == OUTSIDE
        accuracy_m = max(0.0, seen.accuracy_m)  # in this order NaN loses
        own_m = self.enter_m if entering else self.exit_m
        base_m = self._base_m(seen.interval_s, accuracy_m) if own_m is None else own_m
        top_m = _top_m(accuracy_m)
        if entering:
            # A small fence must stay enterable; leaving is possible at any distance.
            zone = self.profile is Profile.ZONE
            share = _ZONE_ENTER_INRADIUS if zone else _POI_ENTER_INRADIUS
            top_m = min(top_m, share * seen.inradius_m)
        if own_m is not None:
            top_m = max(top_m, own_m)
        wide_m = base_m * (1 << presence.widened)
        return min(top_m, wide_m)

    def _base_m(self, interval_s: float, accuracy_m: float) -> float:
        ladder = _ZONE_BUFFERS if self.profile is Profile.ZONE else _POI_BUFFERS
        below_s, metres, accuracies = ladder[0]
        if interval_s > below_s:
            for above_s, next_metres, next_accuracies in ladder[1:]:
                if interval_s < above_s:
                    part = (interval_s - below_s) / (above_s - below_s)
                    metres += part * (next_metres - metres)
                    accuracies += part * (next_accuracies - accuracies)
                    break
                below_s, metres, accuracies = above_s, next_metres, next_accuracies
        by_accuracy_m = accuracies * accuracy_m
        return max(by_accuracy_m, metres)


def observe(
    presence: Presence, seen: Seen, calm: Calm, trace: list[Glance] | None = None
) -> Change | None:
    """Show one fix to the machine; return the change it confirmed.

    Fixes must come in order. `calm` is that of the machine's zone, of `target` when outside. A
    settled presence is not changed by a fix in its own zone, bit for bit.
    """
    away_m = seen.away_m
    if seen.target == presence.zone or away_m <= 0.0:
        if presence.run_n:
            _end_run(presence)
        if presence.widened and -away_m > _far_m(seen.accuracy_m):
            presence.widened = 0
        if trace is not None:
            buffer_m = calm.buffer_m(presence, seen)
            trace.append(
                Glance(seen.time_us, away_m, buffer_m, presence.widened, 0, 0.0, Verdict.NONE)
            )
        return None
    buffer_m = calm.buffer_m(presence, seen)
    if presence.run_n == 0:
        presence.run_us, presence.run_lon, presence.run_lat = seen.time_us, seen.lon, seen.lat
    presence.run_n += 1
    presence.run_sum_m += away_m
    presence.beyond_n = presence.beyond_n + 1 if away_m > buffer_m else 0
    verdict = _judge(presence, seen, calm, buffer_m)
    if trace is not None:
        mean_m = presence.run_sum_m / presence.run_n
        trace.append(
            Glance(
                seen.time_us, away_m, buffer_m, presence.widened, presence.run_n, mean_m, verdict
            )
        )
    return None if verdict is Verdict.NONE else _change(presence, seen)


def settled(presence: Presence) -> bool:
    """Whether a fix in the presence's own zone leaves it as it is, to the bit."""
    return presence.run_n == 0 and presence.widened == 0


def forgotten(presence: Presence, now_us: int) -> bool:
    """Whether no fix at `now_us` or later can tell this presence from a fresh one."""
    return (
        presence.zone == OUTSIDE
        and presence.run_n == 0
        and presence.widened == 0
        and not _quick(presence, now_us)
    )


def _judge(presence: Presence, seen: Seen, calm: Calm, buffer_m: float) -> Verdict:
    if presence.beyond_n and (
        presence.beyond_n >= calm.fixes(seen.interval_s)
        or (calm.min_fixes is None and seen.away_m > _top_m(seen.accuracy_m))
    ):
        return Verdict.FAST
    run_n = presence.run_n
    if (
        run_n >= _SLOW_FIXES
        and seen.time_us - presence.run_us >= _SLOW_US << 2 * presence.widened
        and presence.run_sum_m >= _SLOW_DEPTH * buffer_m * run_n
        and run_n >= calm.fixes(seen.interval_s)
    ):
        return Verdict.SLOW
    return Verdict.NONE


def _change(presence: Presence, seen: Seen) -> Change:
    change = Change(
        presence.zone,
        seen.target,
        presence.run_us,
        presence.run_lon,
        presence.run_lat,
        seen.away_m,
    )
    if presence.widened < _WIDENED_MAX and (presence.widened or _quick(presence, presence.run_us)):
        presence.widened += 1
    if seen.away_m > _far_m(seen.accuracy_m):
        presence.widened = 0
    presence.zone = seen.target
    presence.since_us = presence.run_us
    presence.changed_us = seen.time_us
    _end_run(presence)
    return change


def _end_run(presence: Presence) -> None:
    presence.run_us = presence.run_n = presence.beyond_n = 0
    presence.run_sum_m = presence.run_lon = presence.run_lat = 0.0


def _quick(presence: Presence, time_us: int) -> bool:
    return presence.changed_us != 0 and time_us - presence.changed_us <= _QUICK_US


def _top_m(accuracy_m: float) -> float:
    return max(_BUFFER_MAX_M, _BUFFER_MAX_ACCURACIES * accuracy_m)  # in this order NaN loses


def _far_m(accuracy_m: float) -> float:
    far_m = _FAR_ACCURACIES * accuracy_m
    return max(_FAR_M, far_m)  # in this order NaN loses
