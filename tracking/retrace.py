"""A device's history folded again with open eyes: what the fold saw of each fix. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from geofence.geodesy import chord_m, ecef
from tracking.fencebook import FenceBook
from tracking.fences import FenceVersion
from tracking.fold import DeviceState, Fact, Rules, Verdict
from tracking.fold.around import Look, Zone
from tracking.fold.presence import ATTENTION, Watch
from tracking.fold.refold import Refold
from tracking.fold.state import load_record, unpack_state
from tracking.fold.terrain import Terrain
from tracking.quality import Quality
from tracking.store.evidence import Evidence, StoredFix

# Stored, but outside the fold.
_UNFOLDED = {Quality.FUTURE, Quality.STALE}


class Moving(NamedTuple):
    """Where a fix stood against the device's motion: before it, and how far it was."""

    motion: int
    anchor_us: int | None
    from_anchor_m: float | None
    away_n: int
    moved_m: float | None  # from the last ok fix


class Chord(NamedTuple):
    """The straight way from the last ok fix, where it passes through the fence."""

    depth_m: float
    gap_s: float


@dataclass(frozen=True, slots=True)
class Traced:
    """A stored fix and what the fold made of it.

    `zone` is the version of the fence that held at its time, None where none did; `applies`,
    whether to this device; `depth_m` how deep in it the fix lies. `watch` is the presence of the
    machine that watches the fence, before the fix; `look` what that machine saw. `run_us` is the
    first fix of the run this fix belongs to.
    """

    fix: StoredFix
    quality: Quality
    zone: Zone | None
    applies: bool
    depth_m: float | None
    watch: Watch | None
    look: Look | None
    run_us: int
    facts: Sequence[Fact]
    moving: Moving
    chord: Chord | None

    @property
    def used(self) -> bool:
        """Whether it moved the state."""
        return self.quality == Quality.OK


@dataclass(frozen=True, slots=True)
class Trace:
    """The fixes from `shown_us` on, the fence's versions, and the events the fold raises after
    the last fix (of fences deleted under the device).
    """  # noqa: D205 -- one contract

    fence: str | None
    fixes: Sequence[Traced]
    versions: Sequence[FenceVersion]
    names: dict[int, str]  # of fences by number
    after: Sequence[Fact]

    @property
    def facts(self) -> list[Fact]:
        """Everything the fold raises with the fixes shown."""
        return [fact for traced in self.fixes for fact in traced.facts] + list(self.after)


def retrace(evidence: Evidence, rules: Rules) -> Trace:
    """Fold the evidence again. Takes some 20 us a fix, so not in an event loop."""
    return _Retrace(evidence, rules).run()


class _Retrace:
    def __init__(self, evidence: Evidence, rules: Rules) -> None:
        self._evidence = evidence
        self._book = FenceBook()
        self._book.apply(evidence.fences)
        self._terrain = Terrain(self._book)
        self._names = {fence.number: fence.id for fence in self._book.fences.values()}
        numbers = {id_: number for number, id_ in self._names.items()}
        self._number = numbers.get(evidence.fence or "")
        record = load_record(evidence.start.fold)
        state = DeviceState()
        if record is not None:
            state = unpack_state(record[0], evidence.start.presences)
        # The others' presences are no part of this, and their fences were not loaded.
        machines = {self._terrain.zone(zone).machine for zone in self._book.fences}
        state.presences = {m: w for m, w in state.presences.items() if m in machines}
        self._refold = Refold(state, rules, self._terrain, evidence.who)
        self._looks: list[Look] = []
        self._depths = self._find_depths()

    def run(self) -> Trace:
        """Fold everything; this can be done once."""
        fixes = list(self._traced())
        after = [] if self._number is None else self._refold.after()
        versions = [] if self._number is None else self._book.versions(self._number)
        return Trace(self._evidence.fence, fixes, versions, self._names, after)

    def _find_depths(self) -> dict[tuple[int, int], float]:
        """How deep in the fence, as it was then, each of the fixes to be told of lies."""
        found = [
            (fix, zone.id)
            for fix in self._evidence.fixes
            if fix.time_us >= self._evidence.shown_us and (zone := self._zone(fix)) is not None
        ]
        if not found:
            return {}
        depths_m = self._terrain.index.depths_m(
            np.array([fix.lon for fix, _ in found]),
            np.array([fix.lat for fix, _ in found]),
            np.array([zone for _, zone in found], np.int64),
        ).tolist()
        return {(fix.time_us, fix.seq): m for (fix, _), m in zip(found, depths_m, strict=True)}

    def _zone(self, fix: StoredFix) -> Zone | None:
        if self._number is None:
            return None
        zone = self._terrain.at(self._number, fix.time_us)
        return None if zone is None else self._terrain.zone(zone)

    def _traced(self) -> Iterator[Traced]:
        evidence, state = self._evidence, self._refold.state
        page = [fix[:7] for fix in evidence.fixes if fix.quality not in _UNFOLDED]
        judged = self._refold.add(page, self._looks) if page else iter(())
        for fix in evidence.fixes:
            shown = fix.time_us >= evidence.shown_us
            before = state
            if shown:
                kept = {machine: replace(watch) for machine, watch in state.presences.items()}
                before = replace(state, presences=kept)
            verdict = Verdict(Quality(fix.quality), [])
            self._looks.clear()
            if fix.quality not in _UNFOLDED:
                # A fix the fold would pass by, all being calm, is looked at too, to be told of.
                state.fences_key = ATTENTION
                verdict = next(judged).verdict
            if shown:
                yield self._told(fix, before, verdict)

    def _told(self, fix: StoredFix, before: DeviceState, verdict: Verdict) -> Traced:
        zone = self._zone(fix)
        watch = look = None
        known = None
        if self._number is not None:
            known = self._terrain.known(self._number, fix.time_us)
        if known is not None:
            watch = before.presences.get(known.machine)
            look = next((one for one in self._looks if one.machine == known.machine), None)
        run_us = 0
        if look is not None and look.glance.run_n:
            run_us = watch.run_us if watch is not None and watch.run_n else fix.time_us
        return Traced(
            fix=fix,
            quality=verdict.quality,
            zone=zone,
            applies=zone is not None and self._evidence.who.among(zone.fence.options.applies_to),
            depth_m=self._depths.get((fix.time_us, fix.seq)),
            watch=watch,
            look=look,
            run_us=run_us,
            facts=verdict.facts,
            moving=_moving(before, fix),
            chord=self._chord(before, fix, zone, verdict.quality),
        )

    def _chord(
        self, before: DeviceState, fix: StoredFix, zone: Zone | None, quality: Quality
    ) -> Chord | None:
        if zone is None or quality != Quality.OK or before.ok_n == 0:
            return None
        found = self._terrain.index.crossings(
            np.array([before.ok_lon]),
            np.array([before.ok_lat]),
            np.array([fix.lon]),
            np.array([fix.lat]),
        )
        at = np.flatnonzero(found.zone == zone.id)
        if not len(at):
            return None
        return Chord(float(found.depth_m[at[0]]), (fix.time_us - before.ok_us) / 1e6)


def _moving(before: DeviceState, fix: StoredFix) -> Moving:
    if before.ok_n == 0:
        return Moving(before.motion, None, None, 0, None)
    x, y, z = (float(v) for v in ecef(np.array(fix.lon), np.array(fix.lat)))
    return Moving(
        motion=before.motion,
        anchor_us=before.anchor_us,
        from_anchor_m=chord_m(x, y, z, before.anchor_x, before.anchor_y, before.anchor_z),
        away_n=before.away_n,
        moved_m=chord_m(x, y, z, before.ok_x, before.ok_y, before.ok_z),
    )
