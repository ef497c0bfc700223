"""A device's history folded again: for repairs, previews and explanations."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tracking.fold import DeviceState, Rules, Verdict, fold_one
from tracking.fold.around import Look
from tracking.fold.closing import deleted_under
from tracking.fold.columnar import FixColumns
from tracking.fold.model import Fact, Fix
from tracking.fold.presence import dump_presences
from tracking.fold.scene import Scene
from tracking.fold.state import STATE, pack_state
from tracking.fold.terrain import Terrain, Who
from tracking.quality import Quality

# Codes the fold gives; stored ones are judged anew. The others are the fix's own.
FOLDS_OWN = {Quality.DUPLICATE, Quality.IMPOSSIBLE_SPEED, Quality.STATIC}

# (fix_time_us, seq, quality, lon, lat, speed_mps, accuracy_m), NaN for missing.
FoldedFix = tuple[int, int, int, float, float, float, float]


class Judged(NamedTuple):
    """A stored fix, the quality it was stored with, and what the fold says of it now."""

    fix: Fix
    stored: int
    verdict: Verdict


class Refold:
    """The fold of one device from a state on. `state` is the caller's and changes.

    `terrain` are the fences to fold among, of every version that held meanwhile; None for none.
    """

    def __init__(self, state: DeviceState, rules: Rules, terrain: Terrain | None, who: Who) -> None:
        self.state = state
        self._rules = rules
        self._terrain = terrain
        self._who = who

    def add(self, page: Sequence[FoldedFix], trace: list[Look] | None = None) -> Iterator[Judged]:
        """Fold the next fixes, in order; iterate to the end. `trace` as in `fold_one`."""
        times, seqs, qualities, lons, lats, speeds, accuracies = zip(*page, strict=True)
        own = [Quality.OK if q in FOLDS_OWN else q for q in qualities]
        columns = FixColumns.of(
            device=np.zeros(len(page), np.int64),
            time_us=np.array(times, np.int64),
            seq=np.array(seqs, np.int64),
            quality=np.array(own, np.int64),
            lon=np.array(lons),
            lat=np.array(lats),
            speed_mps=np.array(speeds),
            accuracy_m=np.array(accuracies),
        )
        scene = self._scene(columns)
        fixes = columns.fixes(np.arange(len(page)))
        for row, (fix, stored) in enumerate(zip(fixes, qualities, strict=True)):
            around = None if scene is None else scene.around(row, fix)
            yield Judged(fix, stored, fold_one(self.state, fix, self._rules, around, trace))

    def _scene(self, columns: FixColumns) -> Scene | None:
        if self._terrain is None:
            return None
        states = np.array([pack_state(self.state)], dtype=STATE)
        presences = [dump_presences(self.state.presences)]
        return Scene(columns, states, presences, [self._terrain], [self._who])

    def after(self) -> list[Fact]:
        """What happened after the last fix: fences deleted under the device."""
        return [] if self._terrain is None else deleted_under(self.state, self._terrain.last)
