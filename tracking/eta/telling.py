"""What people are told of a forecast: only what is worth telling. Pure.

A forecast moves with each fix; who waits wants to hear of it when it means something. So a time
that was told holds until the forecast has left it by more than a step twice in a row, and never
moves by less than a minute.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from math import ceil, floor
from typing import NamedTuple

from tracking.estimates import Basis, StopEstimate
from tracking.eta.itinerary import EXCESS, Ahead
from tracking.times import from_us

_MINUTE_S = 60.0
# A step worth telling: two minutes, or a tenth of the time that is left.
_STEP_S, _STEP_PART = 120.0, 0.1
# So many steps at once need no second look.
_JUMP = 3.0
_LOOKS = 2


class Held(NamedTuple):
    """A time that was told, in Unix seconds, and how many looks in a row found it too early.

    Below zero: too late.
    """

    told_s: float
    away: int = 0


def damped(
    held: Held,
    forecast_s: float,
    now_s: float,
    *,
    step_s: float,
    at_once: bool = False,
    rounded: Callable[[float], float],
) -> Held:
    """What is told after a look at `now_s` whose forecast is `forecast_s`.

    A time that has passed is told anew in any case, and so is whatever has moved `at_once`.
    """
    off_s = forecast_s - held.told_s
    away = 0
    if abs(off_s) > step_s:
        away = max(held.away, 0) + 1 if off_s > 0 else min(held.away, 0) - 1
    passed = held.told_s + _MINUTE_S <= now_s
    worth = at_once or passed or abs(away) >= _LOOKS or abs(off_s) > _JUMP * step_s
    if worth and abs(off_s) >= _MINUTE_S:
        return Held(rounded(forecast_s))
    return Held(held.told_s, away)


def told(
    before: StopEstimate | None,
    found: Ahead,
    now_s: float,
    *,
    model: int,
    at_once: bool = False,
    waited_s: float = 0.0,
) -> StopEstimate:
    """The estimate of a stop after a look; the range and the leaving go with the arrival.

    `at_once`: people know of what happened, or will ask about it, so any minute is worth telling.
    Who has been waiting for `waited_s` would be told later with every look, and is by steps that
    grow with it.
    """
    arrive, leave = found.arrive, found.leave
    step_s = step_of(arrive.p50_s - now_s, waited_s)
    forecasts_s = (arrive.p50_s, arrive.p10_s, arrive.p90_s, leave.p50_s)
    held = _held(before, forecasts_s, now_s, step_s, at_once=at_once)
    basis = Basis(now_s, found.left_m, found.driving_s, found.staying_s, found.path, model)
    if before is not None and before.basis.path == found.path and not _moved(before, held[0]):
        basis = before.basis
    arrive_s, early_s, late_s, depart_s = (one.told_s for one in held)
    return StopEstimate(
        stop=found.stop,
        arrive=moment(arrive_s),
        early=moment(min(early_s, arrive_s)),
        late=moment(max(late_s, arrive_s)),
        depart=moment(max(depart_s, arrive_s)),
        p10=moment(_second(arrive.p10_s)),
        p50=moment(_second(arrive.p50_s)),
        p90=moment(_second(arrive.p90_s)),
        basis=basis,
        away=(held[0].away, held[1].away, held[2].away, held[3].away),
    )


def _held(
    before: StopEstimate | None,
    forecasts_s: Sequence[float],
    now_s: float,
    step_s: float,
    *,
    at_once: bool,
) -> list[Held]:
    """The arrival, the two ends of its range and the leaving; these go with the arrival."""
    if before is None:
        return [Held(to_minute(s)) for to_minute, s in zip(_ROUNDED, forecasts_s, strict=True)]
    held: list[Held] = []
    moments = before.arrive, before.early, before.late, before.depart
    for i, to_minute in enumerate(_ROUNDED):
        was = Held(moments[i].timestamp(), before.away[i])
        anew = at_once or (i > 0 and _moved(before, held[0]))
        held.append(
            damped(was, forecasts_s[i], now_s, step_s=step_s, at_once=anew, rounded=to_minute)
        )
    return held


def _moved(before: StopEstimate, arrive: Held) -> bool:
    return arrive.told_s != before.arrive.timestamp()


def told_leaving(
    before: datetime | None, leave_s: float, now_s: float, waited_s: float
) -> datetime:
    """When the stop it is at will be left: by steps too, though each at its first look."""
    if before is None:
        return moment(nearest_minute(leave_s))
    held, step_s = Held(before.timestamp()), step_of(leave_s - now_s, waited_s)
    at_once = abs(leave_s - held.told_s) > step_s
    found = damped(
        held, leave_s, now_s, step_s=step_s, at_once=at_once, rounded=nearest_minute
    )  # fmt: skip
    return moment(found.told_s)


def step_of(left_s: float, waited_s: float = 0.0) -> float:
    """By how much a time so far ahead must be wrong to be told anew."""
    return max(_STEP_S, _STEP_PART * left_s, EXCESS * waited_s)


def moment(time_s: float) -> datetime:
    """Unix seconds as a moment."""
    return from_us(round(time_s * 1e6))


def nearest_minute(time_s: float) -> float:
    """To the minute, as people say times."""
    return floor(time_s / _MINUTE_S + 0.5) * _MINUTE_S


def _down(time_s: float) -> float:
    return floor(time_s / _MINUTE_S) * _MINUTE_S


def _up(time_s: float) -> float:
    return ceil(time_s / _MINUTE_S) * _MINUTE_S


def _second(time_s: float) -> float:
    return float(round(time_s))


# Of the arrival, its range, and the leaving.
_ROUNDED = (nearest_minute, _down, _up, nearest_minute)
