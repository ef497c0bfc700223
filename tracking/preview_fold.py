"""Many devices folded together over stored history, among hypothetical fences. No I/O, no clock."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.calm import OUTSIDE
from tracking.fold import Fact, Rules
from tracking.fold.columnar import DeviceFact, Devices, FixColumns, fold_batch
from tracking.fold.presence import ATTENTION, Watch, dump_presences, load_presences
from tracking.fold.refold import FOLDS_OWN
from tracking.fold.scene import Scene
from tracking.fold.state import initial_states, load_record
from tracking.fold.terrain import Who
from tracking.preview_book import Hypothesis
from tracking.quality import Quality

Ints = NDArray[np.int64]


class Member(NamedTuple):
    """A device of a convoy, and what is stored of it after some fix before the preview."""

    who: Who
    fold: bytes | None
    presences: bytes | None


class Window(NamedTuple):
    """[start_us, end_us) of device time: when what is told happened."""

    start_us: int
    end_us: int


class Convoy:
    """Devices that are folded together, each from its own state on.

    Their fixes come in pages, those of each device in order. One thread at a time.
    """

    def __init__(
        self, members: Sequence[Member], hypothesis: Hypothesis, window: Window, rules: Rules
    ) -> None:
        self._hypothesis = hypothesis
        self._window = window
        self._rules = rules
        self._who = [member.who for member in members]
        states = initial_states(len(members))
        for i, member in enumerate(members):
            record = load_record(member.fold)
            if record is not None:
                states[i] = record[0]
        # What the key was made of may not be in this book: the first fix looks anew.
        states["fences_key"] = ATTENTION
        self._devices = Devices(states, [self._reduced(member.presences) for member in members])

    def _reduced(self, presences: bytes | None) -> bytes | None:
        machines = self._hypothesis.machines
        return dump_presences(
            {m: watch for m, watch in load_presences(presences).items() if m in machines}
        )

    def fold(self, fixes: FixColumns) -> list[DeviceFact]:
        """Fold a page; what it tells of the preview's fences within its window."""
        devices = self._devices
        # What the fold said of them before is for it to say again.
        fixes.quality[np.isin(fixes.quality, list(FOLDS_OWN))] = Quality.OK
        terrains = [self._hypothesis.terrain] * len(self._who)
        devices.scene = Scene(fixes, devices.states, devices.presences, terrains, self._who)
        facts = fold_batch(devices, fixes, self._rules).facts
        return [told for told in facts if self._is_asked_for(told.fact)]

    def _is_asked_for(self, fact: Fact) -> bool:
        start_us, end_us = self._window
        return fact.rule in self._hypothesis.ids and start_us <= fact.time_us < end_us

    def still_pending(self, devices: Ints) -> Iterator[bool]:
        """Of each device that will not come near again within the window: whether later fixes may
        tell something of the window all the same.
        """  # noqa: D205 -- one contract
        start_us, end_us = self._window
        ok_us = self._devices.states["ok_us"]
        for i in devices.tolist():
            watches = load_presences(self._devices.presences[i]).values()
            if self._hypothesis.homes and ok_us[i] < start_us:
                # Where it first is, it may not be where it should be.
                yield True
            elif ok_us[i] >= end_us:
                yield any(map(self._ends_late, watches))
            else:
                numbers = self._hypothesis.numbers
                yield any(watch.run_n or watch.zone in numbers for watch in watches)

    def _ends_late(self, watch: Watch) -> bool:
        """Whether something that began before the end is not decided yet."""
        end_us = self._window.end_us
        if watch.run_n and watch.run_us < end_us:
            return True
        if watch.zone == OUTSIDE:
            return False
        if watch.over_n == 1 and watch.over_us < end_us:
            return True
        zone = self._hypothesis.terrain.last(watch.zone)
        dwell_s = None if zone is None else zone.fence.options.dwell_s
        return (
            dwell_s is not None
            and not watch.dwelled
            and watch.since_us + round(dwell_s * 1e6) < end_us
        )
