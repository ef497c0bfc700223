"""What became of a shipment: a pure function of its plan, who carried it, and what was seen.

No clock and no I/O; in whatever order the inputs became known, the same record and the same
events come out, so late, amended and retracted events need nothing of their own.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from tracking.custody import FOR_EVER_US, Segment
from tracking.detention import detained
from tracking.route.follow import Transition
from tracking.shipments import Override, Plan
from tracking.times import to_us
from tracking.troubles import Stand, Troubles
from tracking.voyage import Derived, Released, Sighting, Taken, Voyage

# What happens at one moment, in this order: one carrier's end and the next one's beginning, leaving
# before entering, the wider ring around the narrower, and last what people say.
_RELEASED, _TAKEN, _LEFT, _LEFT_RING, _IN_RING, _ENTERED, _CROSSED, _SAID = range(8)
_NOBODY = Segment(FOR_EVER_US, FOR_EVER_US, None)


class _Step(NamedTuple):
    time_us: int
    order: int
    act: Taken | Released | Sighting | Override


def derive(
    plan: Plan,
    created_us: int,
    custody: Sequence[Segment],
    sightings: Sequence[Sighting],
    *,
    overrides: Sequence[Override],
    now_us: int,
    transitions: Sequence[Transition] = (),
    stands: Sequence[Stand] = (),
) -> Derived:
    """The shipment as all of this tells it.

    `custody` are its segments without an end; `sightings` those of the devices in it, also from
    before they carried it, so that a carrier that stands at a stop is known to. Those outside of a
    device's custody are otherwise ignored, as are overrides that were withdrawn. `transitions` are
    what the route's follower found, `stands` where those devices stood still for long.
    """
    said = [override for override in overrides if override.withdrawn_at is None]
    voyage = Voyage(plan, created_us, said)
    steps = [_Step(to_us(override.at), _SAID, override) for override in said]
    steps += _carried(custody, sightings, now_us)
    for step in sorted(steps, key=lambda step: (step.time_us, step.order)):
        voyage.take(step.time_us, step.act)
    derived = voyage.derived(custody, now_us)
    told, coming = detained(plan, derived.record, custody, now_us)
    troubles = Troubles(plan, derived.record, custody, now_us)
    troubles.of_stops()
    troubles.of_standing(stands)
    troubles.of_way(transitions)
    record = msgspec.structs.replace(
        derived.record, exceptions=(*derived.record.exceptions, *troubles.lasting)
    )
    coming += troubles.due_us if derived.due_us is None else [*troubles.due_us, derived.due_us]
    happenings = [*derived.happenings, *told, *troubles.told]
    happenings.sort(key=lambda happening: happening.time_us)
    return Derived(record, happenings, min(coming, default=None))


def _carried(
    custody: Sequence[Segment], sightings: Sequence[Sighting], now_us: int
) -> Iterator[_Step]:
    """What the devices that carried it tell of it, each for its time."""
    of_device: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in sorted(sightings, key=lambda s: (s.time_us, s.act != "exited", s.event)):
        of_device[sighting.device].append(sighting)
    for part, following in pairwise([*custody, _NOBODY]):
        if part.device is None:
            continue
        seen = of_device[part.device]
        before = [sighting for sighting in seen if sighting.time_us < part.from_us]
        yield _Step(part.from_us, _TAKEN, Taken(part.device, before))
        for sighting in seen:
            if part.from_us <= sighting.time_us < part.to_us:
                yield _Step(sighting.time_us, _order(sighting), sighting)
        if part.to_us <= now_us:
            yield _Step(part.to_us, _RELEASED, Released(following.device is not None))


def _order(sighting: Sighting) -> int:
    if sighting.act == "crossed":
        return _CROSSED
    if sighting.act == "entered":
        return _IN_RING if sighting.near else _ENTERED
    return _LEFT_RING if sighting.near else _LEFT
