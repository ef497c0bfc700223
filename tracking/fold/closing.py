"""What happened to a device after its last fix: fences deleted while it was inside."""

from collections.abc import Callable
from dataclasses import replace

from tracking.fold.around import Zone
from tracking.fold.fences import leave_ended
from tracking.fold.model import Fact, Fix
from tracking.fold.stages import Step
from tracking.fold.state import DeviceState
from tracking.quality import Quality


def deleted_under(state: DeviceState, last: Callable[[int], Zone | None]) -> list[Fact]:
    """The leaving of each fence that ended after the device was last seen inside.

    `last` gives a fence's last version. The state is not changed, for a later fix may still tell
    that the device had left before; if not, the next fix raises the very same events.
    """
    facts: list[Fact] = []
    for watch in state.presences.values():
        zone = last(watch.zone)
        ended_us = None if zone is None else zone.fence.to_us
        if zone is None or ended_us is None or ended_us <= state.head_us:
            continue
        moment = Fix(
            ended_us, 0, Quality.OK, state.ok_lon, state.ok_lat,
            0.0, 0.0, state.ok_x, state.ok_y, state.ok_z,
        )  # fmt: skip
        step = Step(moment, Quality.OK)
        leave_ended(state, step, replace(watch), zone)
        facts += step.facts
    return facts
