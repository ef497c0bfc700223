"""Ways as the pace profile knows them."""

import math

import numpy as np
import pytest
from h3.api import numpy_int as h3
from hypothesis import given
from hypothesis import strategies as st

from tracking.eta.way import way_of

# A thousandth of a degree along the equator is 111.3 m.
STEP_M = 111.32
EAST, SOUTH = 2, 4

places = st.lists(
    st.tuples(st.floats(4.0, 4.1), st.floats(51.0, 51.1)), min_size=1, max_size=12
)  # fmt: skip


def test_pieces_are_short_and_add_up_to_the_way() -> None:
    way = way_of([(5.0, 0.0), (5.01, 0.0)])
    assert way.length_m == pytest.approx(10 * STEP_M, rel=1e-3)
    assert way.path.metres.sum() == pytest.approx(way.length_m)
    assert way.path.metres.max() <= 100.0
    assert set(way.path.headings.tolist()) == {EAST}
    assert int(way.path.cells[0]) == h3.latlng_to_cell(0.0, 5.0004, 10)


def test_headings_are_those_of_the_way_around_not_of_a_jitter() -> None:
    jitter = [(5.0 + i * 1e-4, 3e-5 * (-1) ** i) for i in range(100)]
    assert set(way_of(jitter).path.headings.tolist()) == {EAST}
    corner = way_of([(5.0, 52.0), (5.01, 52.0), (5.01, 51.99)]).path.headings.tolist()
    assert (corner[0], corner[-1]) == (EAST, SOUTH)


def test_the_antimeridian_is_no_wall() -> None:
    way = way_of([(179.999, 0.0), (-179.999, 0.0)])
    assert way.length_m == pytest.approx(2 * STEP_M, rel=1e-3)
    assert set(way.path.headings.tolist()) == {EAST}


def test_a_long_way_has_longer_pieces_instead_of_more() -> None:
    way = way_of([(0.0, 0.0), (10.0, 0.0)])
    assert len(way.path.cells) == 1_000
    assert way.path.metres.sum() == pytest.approx(way.length_m)


def test_one_place_is_a_way_of_no_length() -> None:
    way = way_of([(5.0, 52.0)])
    assert (way.length_m, way.path.metres.tolist()) == (0.0, [0.0])
    assert way.spread(np.array([7.0])).tolist() == [0.0]


def test_what_a_way_took_is_told_by_piece() -> None:
    """A stay counts where it was; waiting to leave is no part of the way."""
    lon = np.array([5.0, 5.0, 5.005, 5.005, 5.01])
    way = way_of(np.column_stack([lon, np.zeros(5)]))
    seconds = way.spread(np.array([0.0, 300.0, 350.0, 950.0, 1_000.0]))
    assert seconds.sum() == pytest.approx(700.0)
    longest = int(seconds.argmax())
    assert seconds[longest] > 600.0
    assert abs(way.edges_m[longest] - 5 * STEP_M) < 100.0


@given(places, st.floats(0, 1), st.floats(0, 1))
def test_a_part_of_a_way_is_as_long_as_it_is(
    given_places: list[tuple[float, float]], a: float, b: float
) -> None:
    way = way_of(given_places)
    from_m, to_m = sorted((a * way.length_m, b * way.length_m))
    part = way.between(from_m, to_m)
    assert math.isclose(part.metres.sum(), to_m - from_m, abs_tol=1e-6)
    assert (part.metres >= 0).all()
    assert len(part.cells) == len(part.headings) == len(part.metres)
    assert way.path.metres.sum() == pytest.approx(way.length_m)
