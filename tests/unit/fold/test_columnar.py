"""The vectorised fold against its oracle, the pure fold."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator, default_rng

from tracking.fold import DeviceState, Fix, Rules, fold
from tracking.fold.columnar import Devices, FixColumns, fold_batch
from tracking.fold.state import initial_states, unpack_state
from tracking.quality import Quality

RULES = Rules()
START_US = 1_700_000_000_000_000


def random_walk(rng: Generator, n_devices: int, n_fixes: int) -> FixColumns:
    """Vehicles that drive, stop, jump, repeat places and lose sequence numbers."""
    device = np.sort(rng.integers(0, n_devices, n_fixes))
    gaps_s = rng.choice([0, 1, 30, 120, 400, 3_000], n_fixes, p=[0.05, 0.4, 0.3, 0.1, 0.1, 0.05])
    time_us = START_US + np.cumsum(gaps_s).astype(np.int64) * 1_000_000
    step = rng.choice([0.0, 1e-4, 1e-3, 0.3], n_fixes, p=[0.3, 0.4, 0.25, 0.05])
    lon = 13.4 + np.cumsum(step * rng.choice([-1, 0, 1], n_fixes))
    lat = 52.5 + np.cumsum(step * rng.choice([-1, 0, 1], n_fixes))
    seq = np.where(rng.random(n_fixes) < 0.2, -1, np.cumsum(rng.integers(1, 4, n_fixes)))
    return FixColumns.of(
        device=device,
        time_us=time_us,
        seq=seq,
        quality=rng.choice([0, 0, 0, 0, 0, 0, 2, 5], n_fixes).astype(np.int64),
        lon=lon,
        lat=lat,
        speed_mps=rng.choice([np.nan, 0.0, 2.0, 12.0], n_fixes),
        accuracy_m=rng.choice([np.nan, 5.0, 80.0], n_fixes),
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 40, 300]), st.integers(1, 900))
def test_a_batch_gives_exactly_what_the_pure_fold_gives_device_by_device(
    seed: int, n_devices: int, n_fixes: int
) -> None:
    fixes = random_walk(default_rng(seed), n_devices, n_fixes)
    states = initial_states(n_devices)
    half = np.arange(len(fixes)) < len(fixes) // 2
    parts = [rows for rows in (np.flatnonzero(half), np.flatnonzero(~half)) if len(rows)]

    quality = np.empty(len(fixes), np.int64)
    facts: dict[int, list[object]] = {d: [] for d in range(n_devices)}
    for rows in parts:
        part = FixColumns(*[getattr(fixes, name)[rows] for name in FixColumns.__slots__])
        quality[rows], found = fold_batch(Devices(states, [None] * n_devices), part, RULES)
        for device, fact in found:
            facts[device].append(fact)

    for device in range(n_devices):
        rows = np.flatnonzero(fixes.device == device)
        state, verdicts = fold(DeviceState(), fixes.fixes(rows), RULES)
        assert unpack_state(states[device]) == state
        assert quality[rows].tolist() == [int(v.quality) for v in verdicts]
        assert facts[device] == [fact for v in verdicts for fact in v.facts]


def test_most_of_a_driving_fleet_takes_the_vectorised_path() -> None:
    n = 1_000
    states = initial_states(n)
    for minute in range(5):
        fixes = FixColumns.of(
            device=np.arange(n),
            time_us=np.full(n, START_US + minute * 60_000_000),
            seq=np.full(n, minute),
            quality=np.zeros(n, np.int64),
            lon=np.linspace(13.4, 13.5, n) + 0.01 * minute,
            lat=np.full(n, 52.5),
            speed_mps=np.full(n, 11.0),
            accuracy_m=np.full(n, np.nan),
        )
        quality, facts = fold_batch(Devices(states, [None] * n), fixes, RULES)
        assert (quality == Quality.OK).all()
        assert bool(facts) == (minute == 1)  # every device departs on its second fix
    assert (states["ok_n"] == 5).all()


def test_coordinates_give_the_same_bits_alone_and_in_any_array() -> None:
    rng = default_rng(7)
    lon, lat = rng.uniform(-180, 180, 999), rng.uniform(-90, 90, 999)
    blank = np.full(999, np.nan)
    zeros = np.zeros(999, np.int64)

    def xyz(rows: slice) -> list[tuple[float, float, float]]:
        columns = FixColumns.of(
            device=zeros[rows], time_us=zeros[rows], seq=zeros[rows], quality=zeros[rows],
            lon=lon[rows], lat=lat[rows], speed_mps=blank[rows], accuracy_m=blank[rows],
        )  # fmt: skip
        return [(f.x, f.y, f.z) for f in columns.fixes(np.arange(len(columns)))]

    whole = xyz(slice(None))
    alone = [place for i in range(999) for place in xyz(slice(i, i + 1))]
    strided = xyz(slice(None, None, 3))
    assert alone == whole
    assert strided == whole[::3]


def test_a_fix_is_a_tuple_of_plain_numbers() -> None:
    fixes = random_walk(default_rng(1), 1, 3)
    assert all(type(value) in {int, float} for fix in fixes.fixes(np.arange(3)) for value in fix)
    assert isinstance(next(fixes.fixes(np.arange(1))), Fix)
