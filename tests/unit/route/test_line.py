"""A line in metres: places on it and beside it, which pass of several, and across the date line."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geofence.metric import metres_per_degree
from tracking.route import line as line_module
from tracking.route.line import Line

_STEPS = st.lists(
    st.tuples(st.floats(-0.02, 0.02), st.floats(-0.02, 0.02)), min_size=2, max_size=12
)


def _points(lon: float, lat: float, steps: list[tuple[float, float]]) -> list[tuple[float, float]]:
    points = [(lon, lat)]
    for east, north in steps:
        lon = (lon + east + 180.0) % 360.0 - 180.0
        lat += north
        points.append((lon, lat))
    return points


@settings(max_examples=150, deadline=None)
@given(st.floats(-180, 179), st.floats(-70, 70), _STEPS, st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_offset_and_place_are_those_shapely_finds_in_the_plane_of_the_fix(
    lon: float, lat: float, steps: list[tuple[float, float]], east: float, north: float
) -> None:
    points = _points(lon, lat, steps)
    try:
        line = Line.of(points)
    except ValueError:
        return
    fix_lon, fix_lat = (lon + east + 180.0) % 360.0 - 180.0, lat + north
    kx, ky = (float(k) for k in metres_per_degree(np.array(fix_lat)))
    flat = shapely.LineString(
        [(((x - fix_lon + 180.0) % 360.0 - 180.0) * kx, (y - fix_lat) * ky) for x, y in points]
    )
    here = shapely.Point(0.0, 0.0)

    along_m, offset_m = line.project(fix_lon, fix_lat)

    assert offset_m == pytest.approx(flat.distance(here), abs=1e-3)
    assert 0.0 <= along_m <= line.length_m
    on_lon, on_lat = line.at(along_m)
    away_m = math.hypot(((on_lon - fix_lon + 180.0) % 360.0 - 180.0) * kx, (on_lat - fix_lat) * ky)
    assert away_m == pytest.approx(offset_m, abs=1e-2)


@settings(max_examples=100, deadline=None)
@given(_STEPS, st.floats(0, 1), st.floats(-0.001, 0.001), st.floats(-0.001, 0.001))
def test_looking_around_a_progress_first_changes_no_answer(
    steps: list[tuple[float, float]], part: float, east: float, north: float
) -> None:
    points = _points(5.0, 52.0, steps)
    try:
        line = Line.of(points)
    except ValueError:
        return
    near_m = part * line.length_m
    lon, lat = line.at(near_m)
    quick = line.project(lon + east, lat + north, near_m)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_module, "_WINDOW_M", math.inf)
        assert line.project(lon + east, lat + north, near_m) == quick


@given(_STEPS, st.floats(0, 1))
def test_what_is_left_begins_there_and_is_as_long_as_what_is_left(
    steps: list[tuple[float, float]], part: float
) -> None:
    try:
        line = Line.of(_points(5.0, 52.0, steps))
    except ValueError:
        return
    along_m = part * line.length_m
    rest = line.rest(along_m)
    assert rest[0] == line.at(along_m)
    if line.length_m - along_m > 1.0:
        assert Line.of(rest).length_m == pytest.approx(line.length_m - along_m, abs=1.0, rel=1e-4)


def test_a_line_across_the_date_line_is_short() -> None:
    line = Line.of([(179.9, 0.0), (-179.9, 0.0)])
    assert line.length_m == pytest.approx(22_264, abs=1)
    along_m, offset_m = line.project(-179.95, 0.01)
    assert along_m == pytest.approx(line.length_m * 0.75, abs=1)
    assert offset_m == pytest.approx(1_105.7, abs=1)
    assert line.at(along_m)[0] == pytest.approx(-179.95)


def test_there_and_back_on_one_road_are_told_apart_by_the_progress() -> None:
    line = Line.of([(5.0, 52.0), (5.1, 52.0), (5.0, 52.0)])
    out_m = line.project(5.05, 52.0001, near_m=3_000.0).along_m
    back_m = line.project(5.05, 52.0001, near_m=line.length_m / 2 + 100.0).along_m
    assert out_m == pytest.approx(line.length_m / 4, abs=1)
    assert back_m == pytest.approx(line.length_m * 3 / 4, abs=1)


def test_who_turns_where_the_line_turns_goes_on_along_it() -> None:
    line = Line.of([(5.0, 52.0), (5.1, 52.0), (5.0, 52.0)])
    along_m = 0.0
    passed = []
    for step in range(200):
        lon = 5.0 + 0.001 * (step if step <= 100 else 200 - step)
        along_m = line.project(lon, 52.0, near_m=along_m).along_m
        passed.append(along_m)
    assert passed == sorted(passed)
    assert along_m > line.length_m - 100.0


def test_a_crossing_of_the_line_with_itself_is_no_short_cut() -> None:
    loop = [(5.0, 52.0), (5.02, 52.0), (5.02, 52.01), (5.01, 52.01), (5.01, 51.99)]
    line = Line.of(loop)
    crossing_m = Line.of([(5.0, 52.0), (5.01, 52.0)]).length_m
    assert line.project(5.01, 52.0, near_m=crossing_m - 50.0).along_m == pytest.approx(crossing_m)
    assert line.project(5.01, 52.0, near_m=line.length_m - 1_200.0).along_m > 3 * crossing_m


def test_one_place_however_often_is_no_line() -> None:
    with pytest.raises(ValueError, match="two different points"):
        Line.of([(5.0, 52.0), (5.0, 52.0), (365.0, 52.0)])
