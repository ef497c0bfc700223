"""The vectorised fold among fences against its oracle, the pure fold."""

from typing import TYPE_CHECKING

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator, default_rng

from geofence.shapes import Kind, Shape
from tests.fences import book_of
from tests.unit.fold.fence_world import RULES, START_US, fence
from tracking.fences import Audience, FenceVersion
from tracking.fold import DeviceState, Fix, fold
from tracking.fold.columnar import Devices, FixColumns, fold_batch
from tracking.fold.presence import ATTENTION
from tracking.fold.scene import Scene
from tracking.fold.state import initial_states, unpack_state
from tracking.fold.terrain import Surroundings, Terrain, Who

if TYPE_CHECKING:
    from tracking.fold import Fact

_LATER_US = START_US + 3_600_000_000


def fences(rng: Generator) -> list[FenceVersion]:
    """Boxes of all sizes with every option, some edited, deleted or made in mid-story."""
    corners = rng.uniform([-0.02, -0.02, 0.003], [0.02, 0.02, 0.02], (12, 3))
    boxes = [shapely.box(13.4 + x, 52.5 + y, 13.4 + x + w, 52.5 + y + w) for x, y, w in corners]
    shapes = [Shape(Kind.POLYGON, box) for box in boxes]
    made = [
        fence(
            i + 1,
            shape,
            created_us=_LATER_US if i == 2 else 0,
            to_us=_LATER_US if i in {0, 1} else None,
            dwell_s=120.0 if i % 2 else None,
            speed_limit_mps=5.0 if i % 3 == 0 else None,
            layer="zones" if i >= 8 else None,
            applies_to=Audience(groups=("g",)) if i % 5 == 4 else Audience(),
            normal="inside" if i == 3 else "outside",
        )
        for i, shape in enumerate(shapes)
    ]
    moved = Shape(Kind.POLYGON, shapely.affinity.translate(boxes[0], 0.004, 0.0))
    return [*made, fence(1, moved, version=2, from_us=_LATER_US)]


def walk(rng: Generator, n_devices: int, n: int) -> FixColumns:
    """Devices that creep, drive and jump about among the fences."""
    device = np.sort(rng.integers(0, n_devices, n))
    first = np.searchsorted(device, device)

    def since_first(
        steps: np.ndarray[tuple[int], np.dtype[np.float64]],
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        total = np.cumsum(steps)
        return total - total[first] + steps[first]

    steps = rng.choice([0.0, 1e-5, 2e-4, 3e-3], n, p=[0.2, 0.3, 0.3, 0.2])
    gaps = rng.choice([1.0, 10.0, 30.0, 300.0], n, p=[0.2, 0.5, 0.25, 0.05])
    return FixColumns.of(
        device=device,
        time_us=START_US + (since_first(gaps) * 1e6).astype(np.int64),
        seq=np.arange(n),
        quality=rng.choice([0] * 8 + [5], n).astype(np.int64),
        lon=13.4 + since_first(steps * rng.choice([-1, 1], n)),
        lat=52.5 + since_first(steps * rng.choice([-1, 1], n)),
        speed_mps=rng.choice([np.nan, 2.0, 9.0], n),
        accuracy_m=rng.choice([np.nan, 5.0, 60.0], n),
    )


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 5, 40]), st.integers(1, 6))
def test_a_batch_among_fences_gives_exactly_what_the_pure_fold_gives(
    seed: int, n_devices: int, n_parts: int
) -> None:
    rng = default_rng(seed)
    terrain = Terrain(book_of(fences(rng)))
    fixes = walk(rng, n_devices, 600)
    who = [Who(f"d{i}", frozenset(["g"] if i % 2 else [])) for i in range(n_devices)]
    devices = Devices(initial_states(n_devices), [None] * n_devices)
    facts: dict[int, list[Fact]] = {d: [] for d in range(n_devices)}
    place = np.arange(600) - np.searchsorted(fixes.device, fixes.device)
    length = np.bincount(fixes.device, minlength=n_devices)[fixes.device]
    for part in range(n_parts):
        rows = np.flatnonzero(place * n_parts // length == part)
        columns = FixColumns(*[getattr(fixes, name)[rows] for name in FixColumns.__slots__])
        devices.scene = Scene(
            columns, devices.states, devices.presences, [terrain] * n_devices, who
        )
        for device, fact in fold_batch(devices, columns, RULES).facts:
            facts[device].append(fact)

    for device in range(n_devices):

        def around(fix: Fix, device: int = device) -> Surroundings:
            return Surroundings.of(terrain, fix, who[device])

        rows = np.flatnonzero(fixes.device == device)
        state, verdicts = fold(DeviceState(), fixes.fixes(rows), RULES, around)
        assert unpack_state(devices.states[device], devices.presences[device]) == state
        assert facts[device] == [fact for v in verdicts for fact in v.facts]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_looking_closely_at_every_fix_finds_nothing_that_the_key_would_miss(seed: int) -> None:
    rng = default_rng(seed)
    terrain = Terrain(book_of(fences(rng)))
    fixes = walk(rng, 1, 300)
    quick, slow = DeviceState(), DeviceState()
    for fix in fixes.fixes(np.arange(len(fixes))):

        def around(fix: Fix) -> Surroundings:
            return Surroundings.of(terrain, fix, Who("d", frozenset(["g"])))

        quick, (told,) = fold(quick, [fix], RULES, around)
        slow.fences_key = ATTENTION
        slow, (seen,) = fold(slow, [fix], RULES, around)
        assert told == seen
