"""Shapes out of JSON: what is mended, what is refused and where, and longitudes that run on."""

from typing import Any

import numpy as np
import pytest
import shapely
from h3.api import numpy_int as h3
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from shapely.affinity import translate

from geofence.shapes import (
    Kind,
    Shape,
    ShapeError,
    area_m2,
    bounds,
    definition_of,
    from_columns,
    inradii_m,
    shape_of,
    to_columns,
)

Places = list[Any]
SQUARE: Places = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]


def polygon(*rings: Places) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def circle(lon: float, lat: float, radius_m: float) -> dict[str, Any]:
    return {"type": "Circle", "center": [lon, lat], "radius_m": radius_m}


def box(west: float, south: float, east: float, north: float) -> Places:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def fault_of(definition: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ShapeError) as caught:
        shape_of(definition, where="shape")
    return caught.value.field, caught.value.message


def same_ground(one: Shape, other: Shape) -> bool:
    return bool(one.geometry.symmetric_difference(other.geometry).area < 1e-9 * one.geometry.area)


def test_a_good_polygon_is_taken_as_it_is_without_notes() -> None:
    hole = [[0.2, 0.2], [0.2, 0.4], [0.4, 0.4], [0.4, 0.2], [0.2, 0.2]]
    shape, notes = shape_of(polygon(SQUARE, hole))
    assert notes == []
    assert shape.kind is Kind.POLYGON
    assert definition_of(shape) == polygon(SQUARE, hole)


@pytest.mark.parametrize(
    ("definition", "expected", "note"),
    [
        pytest.param(polygon(SQUARE[:-1]), box(0, 0, 1, 1), "closed", id="unclosed"),
        pytest.param(polygon(SQUARE[::-1]), box(0, 0, 1, 1), "turned", id="clockwise"),
        pytest.param(
            polygon([SQUARE[0], *SQUARE]), box(0, 0, 1, 1), "repeated vertices", id="duplicates"
        ),
        pytest.param(
            polygon([[*place, 12.5] for place in SQUARE]), box(0, 0, 1, 1), "heights", id="heights"
        ),
        pytest.param(
            polygon([[*SQUARE[0], 3.0], *SQUARE[1:]]), box(0, 0, 1, 1), "heights", id="one-height"
        ),
        pytest.param(
            polygon(SQUARE, [[0, 0], [1, 1], [0, 0]]), box(0, 0, 1, 1), "left out", id="empty-hole"
        ),
        pytest.param(
            polygon([[0, 0], [1, 0], [1, 1], [1, 2], [1, 1], [0, 1], [0, 0]]),
            box(0, 0, 1, 1),
            "mended",
            id="spike",
        ),
        pytest.param(
            {"type": "MultiPolygon", "coordinates": [[box(0, 0, 0.6, 1)], [box(0.4, 0, 1, 1)]]},
            box(0, 0, 1, 1),
            "polygons that overlap joined",
            id="overlap",
        ),
        pytest.param(
            {"type": "MultiPolygon", "coordinates": [[box(0, 0, 0.5, 1)], [box(0.5, 0, 1, 1)]]},
            box(0, 0, 1, 1),
            "polygons that share a border joined",
            id="shared-border",
        ),
    ],
)
def test_what_has_one_meaning_is_mended_and_the_note_says_so(
    definition: dict[str, Any], expected: Places, note: str
) -> None:
    shape, notes = shape_of(definition)
    assert shape.geometry.is_valid
    assert shape.geometry.equals(shapely.Polygon(expected))
    assert any(note in line for line in notes)


def test_the_ring_that_holds_the_others_is_the_outer_one() -> None:
    hole = box(0.2, 0.2, 0.4, 0.4)
    shape, notes = shape_of(polygon(hole[::-1], SQUARE))
    assert shape.geometry.equals(shapely.Polygon(SQUARE, [hole]))
    assert any("ring 1 holds the others" in note for note in notes)


def test_a_small_loop_where_a_line_crosses_itself_is_mended() -> None:
    ring: Places = [[0, 0], [10, 0], [10, 10], [5, 10]]
    ring += [[5.05, 10.05], [5.05, 9.95], [4.9, 10], [0, 10]]
    shape, notes = shape_of(polygon(ring))
    assert shape.geometry.is_valid
    assert shape.geometry.area == pytest.approx(100.0, rel=0.01)
    assert any("mended" in note and "lon 5" in note for note in notes)


@pytest.mark.parametrize(
    ("definition", "field", "message"),
    [
        pytest.param(
            polygon([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]),
            "shape.coordinates[0][0]",
            "self-intersection at lon 0.5, lat 0.5",
            id="bow-tie",
        ),
        pytest.param(
            polygon(SQUARE, box(0.5, 0.5, 3, 3)),
            "shape.coordinates[0][2]",
            "self-intersection at lon 0.5, lat 1",
            id="hole-sticks-out",
        ),
        pytest.param(
            polygon([[41, 104.2], [41, 105], [42, 104]]),
            "shape.coordinates[0][0]",
            "latitude 104.2 is beyond 90: are lon and lat swapped?",
            id="swapped",
        ),
        pytest.param(
            polygon([[0, 0], [1, 0], [1, 91]]),
            "shape.coordinates[0][2]",
            "latitude 91 is beyond 90",
            id="latitude",
        ),
        pytest.param(
            polygon([[0, 0], [1, 0], [700, 1]]),
            "shape.coordinates[0][2]",
            "longitude 700",
            id="longitude",
        ),
        pytest.param(
            polygon([[0, 0], [1, float("nan")], [1, 1]]),
            "shape.coordinates[0][1]",
            "not a finite number",
            id="nan",
        ),
        pytest.param(
            polygon([[0, 0], [float("inf"), 0], [1, 1]]),
            "shape.coordinates[0][1]",
            "not a finite number",
            id="infinite",
        ),
        pytest.param(
            polygon([[0, 0], [10**400, 0], [1, 1]]),
            "shape.coordinates[0][1]",
            "not a finite number",
            id="huge",
        ),
        pytest.param(
            {"type": "Polygon", "coordinates": [[[0, 0], ["1", 0], [1, 1]]]},
            "shape.coordinates[0][1]",
            "not a number",
            id="text",
        ),
        pytest.param(
            {"type": "Polygon", "coordinates": [[[0, 0], None, [1, 1]]]},
            "shape.coordinates[0][1]",
            "not a position",
            id="null",
        ),
        pytest.param(
            {"type": "Polygon", "coordinates": [[[0, 0], [1], [1, 1]]]},
            "shape.coordinates[0][1]",
            "not a position",
            id="one-number",
        ),
        pytest.param(
            polygon([[0, 0], [1, 1], [0, 0]]), "shape.coordinates[0]", "3 distinct", id="two-places"
        ),
        pytest.param(
            polygon([[0, 0], [1, 1], [2, 2], [0, 0]]), "shape.coordinates", "no area", id="line"
        ),
        pytest.param(polygon(), "shape.coordinates", "no rings", id="no-rings"),
        pytest.param(polygon([]), "shape.coordinates[0]", "empty", id="empty-ring"),
        pytest.param({"type": "Polygon"}, "shape.coordinates", "list of rings", id="nothing"),
        pytest.param(
            {"type": "MultiPolygon", "coordinates": []}, "shape.coordinates", "no poly", id="none"
        ),
        pytest.param({"type": "Blob"}, "shape.type", "'Blob' is none of", id="type"),
        pytest.param({}, "shape.type", "None is none of", id="no-type"),
        pytest.param({"type": ["Polygon"]}, "shape.type", "is none of", id="type-of-no-text"),
        pytest.param(
            polygon([[0.001 * i, 0] for i in range(100_001)]),
            "shape.coordinates[0]",
            "100,001 vertices",
            id="vertices",
        ),
        pytest.param(circle(1, 2, 0), "shape.radius_m", "0 m is not above 0", id="radius-0"),
        pytest.param(circle(1, 2, 1e6 + 1), "shape.radius_m", "up to 1,000,000", id="radius"),
        pytest.param(circle(1, 95, 10), "shape.center", "latitude 95", id="centre"),
        pytest.param(circle(1, 2, 0.5), "shape", "no circle of 1 m", id="tiny-circle"),
        pytest.param(polygon(box(0, 0, 1, 1e-6)), "shape", "no circle of 1 m", id="thread"),
        pytest.param(
            {"type": "Point", "coordinates": [1, 2]}, "shape", "needs a radius_m", id="point"
        ),
        pytest.param(
            {"type": "LineString", "coordinates": SQUARE}, "shape", "needs a width_m", id="no-width"
        ),
        pytest.param(
            {"type": "Corridor", "coordinates": SQUARE, "width_m": 20_001},
            "shape.width_m",
            "up to 20,000",
            id="width",
        ),
        pytest.param(
            {"type": "Corridor", "coordinates": [[1, 1], [1, 1]], "width_m": 20},
            "shape.coordinates",
            "2 distinct",
            id="no-line",
        ),
        pytest.param({"type": "Cells", "cells": []}, "shape.cells", "no cells", id="no-cells"),
        pytest.param(
            {"type": "Cells", "cells": ["8a2a1072b59ffff", "xyz"]},
            "shape.cells[1]",
            "'xyz' is not an H3 cell",
            id="cell",
        ),
        pytest.param(
            {"type": "Cells", "cells": ["8001fffffffffff", "8a2a1072b59ffff"]},
            "shape.cells",
            "cells of resolution 10",
            id="too-many-cells",
        ),
    ],
)
def test_what_means_no_shape_is_refused_with_its_place(
    definition: dict[str, Any], field: str, message: str
) -> None:
    found = fault_of(definition)
    assert found[0] == field
    assert message in found[1]


def test_a_shape_too_small_for_gps_is_taken_with_a_warning() -> None:
    assert "too small for GPS" in shape_of(circle(1, 2, 4))[1][0]
    assert "small for GPS" in shape_of(circle(1, 2, 20))[1][0]
    assert shape_of(circle(1, 2, 25))[1] == []


def test_vertices_that_jump_cross_the_antimeridian() -> None:
    shape, notes = shape_of(polygon([[170, 0], [-170, 0], [-170, 10], [170, 10], [170, 0]]))
    assert shape.geometry.equals(shapely.box(170, 0, 190, 10))
    assert any("antimeridian" in note for note in notes)


@pytest.mark.parametrize("turn", [-360.0, 0.0])
def test_longitudes_beyond_180_are_taken_as_they_run_on(turn: float) -> None:
    shape, notes = shape_of(polygon(box(170 + turn, 0, 190 + turn, 10)))
    assert shape.geometry.equals(shapely.box(170, 0, 190, 10))
    assert notes == []


def test_polygons_cut_at_the_antimeridian_are_glued_and_cut_again_when_told() -> None:
    cut = {
        "type": "MultiPolygon",
        "coordinates": [[box(170, 0, 180, 10)], [box(-180, 0, -170, 10)]],
    }
    shape, notes = shape_of(cut)
    assert shape.geometry.equals(shapely.box(170, 0, 190, 10))
    assert notes == ["coordinates: polygons cut at the antimeridian joined"]
    told = definition_of(shape)
    assert told["type"] == "MultiPolygon"
    assert same_ground(shape_of(told)[0], shape)


def test_islands_on_both_sides_of_the_antimeridian_lie_side_by_side() -> None:
    islands = [[box(172, 51, 174, 53)], [box(-179, 51, -177, 52)]]
    shape, notes = shape_of({"type": "MultiPolygon", "coordinates": islands})
    assert bounds(shape) == (172, 51, 183, 53)
    assert notes == []


@pytest.mark.parametrize("pole", [1, -1])
@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("start", range(4))
def test_a_ring_round_a_pole_is_closed_over_it(pole: int, step: int, start: int) -> None:
    ring = [[-90.0, 75.0 * pole], [0, 72 * pole], [90, 71 * pole], [180, 74 * pole]]
    ring = (ring[start:] + ring[:start])[::step]
    shape, notes = shape_of(polygon(ring))
    assert any("closed over the" in note for note in notes)
    assert bounds(shape) == (-180.0, *((71.0, 180.0, 90.0) if pole > 0 else (-90.0, 180.0, -71.0)))
    lats = np.interp(np.arange(-180, 181), [-180, -90, 0, 90, 180], [74, 75, 72, 71, 74])
    for lon, lat in zip(np.arange(-180, 181).tolist(), lats.tolist(), strict=True):
        assert shape.geometry.covers(shapely.Point(lon, (lat + 1e-6) * pole))
        assert not shape.geometry.covers(shapely.Point(lon, (lat - 1e-6) * pole))


def test_a_ring_round_a_pole_may_double_back() -> None:
    ring = [[0, 60], [100, 60], [200, 60], [200, 50], [120, 50], [120, 45], [240, 45], [300, 60]]
    wrapped = [[(lon + 180.0) % 360.0 - 180.0, float(lat)] for lon, lat in ring]
    shape, _ = shape_of(polygon(wrapped))
    assert shape.geometry.is_valid
    for lon, lat, inside in [
        (-179, 55, False),
        (130, 47, True),
        (130, 55, False),
        (-130, 47, True),
    ]:
        assert shape.geometry.covers(shapely.Point(lon, lat)) is inside
    assert shape.geometry.covers(shapely.Point(-150, 89.9))


def test_a_hole_round_the_pole_leaves_a_belt() -> None:
    outer = [[-90.0, 60.0], [0, 60], [90, 60], [180, 60]]
    hole = [[-45.0, 80.0], [45, 80], [135, 80], [-135, 80]]
    shape, _ = shape_of(polygon(outer, hole))
    assert shape.geometry.equals(shapely.box(-180, 60, 180, 80))


def test_a_polar_shape_in_which_the_cut_has_been_made_stays_as_it_is() -> None:
    ice: Places = [[-180, -90], [180, -90], [180, -78], [0, -75], [-180, -78], [-180, -90]]
    shape, notes = shape_of(polygon(ice))
    assert notes == []
    assert shape.geometry.equals(shapely.Polygon(ice))


def test_a_ring_round_the_earth_over_the_equator_is_refused() -> None:
    field, message = fault_of(polygon([[-90, 5], [0, -5], [90, 5], [180, 5]]))
    assert field == "shape.coordinates[0]"
    assert "which pole?" in message


def test_a_belt_round_the_earth_written_edge_to_edge_is_whole() -> None:
    shape, _ = shape_of(polygon(box(-180, -10, 180, 10)))
    assert bounds(shape) == (-180, -10, 180, 10)


def test_the_places_of_a_circle_near_the_antimeridian_begin_in_the_west() -> None:
    shape, _ = shape_of(circle(-179.999, 0, 1_000))
    assert shape.geometry.equals(shapely.Point(180.001, 0))
    west, _, east, _ = bounds(shape)
    assert -180 <= west < 180 < east
    assert definition_of(shape) == {
        "type": "Circle",
        "center": [pytest.approx(-179.999), 0.0],
        "radius_m": 1_000.0,
    }


def test_the_bounds_of_a_circle_over_a_pole_are_all_longitudes() -> None:
    west, south, east, north = bounds(shape_of(circle(10, 89, 200_000))[0])
    assert (west, east, north) == (-180, 180, 90)
    assert south == pytest.approx(89 - 200 / 111.2, abs=0.05)


def test_lines_and_points_with_a_size_are_corridors_and_circles() -> None:
    line = {"type": "LineString", "coordinates": [[1, 2], [1, 2], [3, 4, 9]], "width_m": 50}
    shape, notes = shape_of(line)
    assert (shape.kind, shape.radius_m) == (Kind.CORRIDOR, 25.0)
    assert len(notes) == 2
    assert definition_of(shape) == {
        "type": "Corridor",
        "coordinates": [[1.0, 2.0], [3.0, 4.0]],
        "width_m": 50.0,
    }
    point = {"type": "Point", "coordinates": [1, 2], "radius_m": 100}
    assert shape_of(point)[0] == shape_of(circle(1, 2, 100))[0]


def test_a_corridor_over_the_antimeridian_runs_on() -> None:
    parts = [[[179, 0], [180, 1]], [[-180, 1], [-179, 1]]]
    shape, _ = shape_of({"type": "MultiLineString", "coordinates": parts, "width_m": 100})
    assert shape.geometry.bounds == pytest.approx((179, 0, 181, 1))
    again, _ = shape_of(definition_of(shape))
    assert shapely.symmetric_difference(again.geometry, shape.geometry).is_empty
    one, _ = shape_of({"type": "Corridor", "coordinates": [[179.5, 0], [-179, 1]], "width_m": 100})
    assert one.geometry.bounds == pytest.approx((179.5, 0, 181, 1))
    assert shape_of(definition_of(one))[0].geometry.length == pytest.approx(one.geometry.length)


@pytest.mark.parametrize(("lat", "lon"), [(40.7, -74.0), (10.0, 180.0), (90.0, 0.0), (-89.9, 50.0)])
def test_cells_of_several_resolutions_are_the_outline_of_the_finest(lat: float, lon: float) -> None:
    disk = h3.grid_disk(h3.latlng_to_cell(lat, lon, 6), 6)
    compact = h3.compact_cells(disk)
    assert len(compact) < len(disk)
    shapes = [
        shape_of({"type": "Cells", "cells": [f"{int(c):x}" for c in cells]})
        for cells in (disk, compact)
    ]
    assert shapes[0][1] == shapes[1][1] == []
    assert shapes[0][0].kind is Kind.CELLS
    assert same_ground(shapes[0][0], shapes[1][0])
    # H3's areas are those of a sphere, smaller at the poles by 1.1 %.
    expected_m2 = sum(h3.cell_area(int(c), unit="m^2") for c in disk)
    assert area_m2(shapes[0][0]) == pytest.approx(expected_m2, rel=0.012)
    for cell in disk.tolist():
        y, x = h3.cell_to_latlng(cell)
        turns = [shapely.Point(x + turn, y) for turn in (0.0, 360.0)]
        assert any(shapes[0][0].geometry.covers(place) for place in turns)


def test_areas_are_those_of_the_ellipsoid() -> None:
    # EPSG's WGS 84: 510,065,621.724 km2; a square degree at the equator: 12,308.8 km2.
    assert area_m2(shape_of(polygon(box(-180, -90, 180, 90)))[0]) == pytest.approx(5.10065621724e14)
    assert area_m2(shape_of(polygon(box(0, -0.5, 1, 0.5)))[0]) == pytest.approx(
        1.23088e10, rel=1e-4
    )
    holed = polygon(SQUARE, box(0.25, 0.25, 0.75, 0.75))
    assert area_m2(shape_of(holed)[0]) == pytest.approx(1.2308e10 * 0.75, rel=1e-3)
    assert area_m2(shape_of(circle(5, 50, 100))[0]) == pytest.approx(np.pi * 1e4, rel=1e-6)
    road = {"type": "Corridor", "coordinates": [[0, 0], [0.1, 0]], "width_m": 100}
    assert area_m2(shape_of(road)[0]) == pytest.approx(11_131.9 * 100 + np.pi * 2_500, rel=1e-4)


def test_inradii_are_those_of_the_largest_circle_inside() -> None:
    definitions = [
        circle(3, 50, 70),
        {"type": "Corridor", "coordinates": [[0, 0], [1, 0]], "width_m": 80},
        polygon(box(0, 0, 0.01, 0.002)),
        # In an L, nothing at its centroid.
        polygon([[0, 0], [0.01, 0], [0.01, 0.001], [0.001, 0.001], [0.001, 0.01], [0, 0.01]]),
        polygon(box(10, 60, 10.01, 60.1)),
    ]
    found = inradii_m([shape_of(definition)[0] for definition in definitions])
    assert found[:2].tolist() == [70.0, 40.0]
    # At the inner corner of an L the circle is larger: r = d * sqrt(2) / (1 + sqrt(2)).
    corner = 110.6 * 2.0**0.5 / (1.0 + 2.0**0.5)
    assert found[2:] == pytest.approx([110.6, corner, 279.0], rel=0.025)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(-180.0, 180.0),
    st.floats(-80.0, 80.0),
    st.floats(0.01, 9.0),
)
def test_any_way_of_writing_longitudes_gives_the_same_ground(
    seed: int, lon: float, lat: float, size: float
) -> None:
    rng = default_rng(seed)
    corners = int(rng.integers(3, 15))
    turn = (np.arange(corners) + rng.random(corners) * 0.8) / corners * 2.0 * np.pi
    reach = size * rng.uniform(0.5, 1.0, corners)
    ring = np.column_stack((lon + reach * np.cos(turn), lat + reach * np.sin(turn)))
    drawn = shapely.Polygon(ring)
    if not drawn.is_valid:
        return
    shape, _ = shape_of(polygon(ring.tolist()))
    west, _, _, _ = bounds(shape)
    assert -180.0 <= west < 180.0
    wrapped = ring.copy()
    wrapped[:, 0] = (wrapped[:, 0] + 180.0) % 360.0 - 180.0
    expected = min(
        (translate(drawn, t) for t in (-360, 0, 360)), key=lambda g: abs(g.bounds[0] - west)
    )
    further = ring + np.array([360.0 if lon < 0.0 else -360.0, 0.0])
    for written in (wrapped, wrapped[::-1], further):
        again, _ = shape_of(polygon(written.tolist()))
        assert same_ground(again, Shape(Kind.POLYGON, expected))
    assert same_ground(shape_of(definition_of(shape))[0], shape)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=12,
    ),
    st.sampled_from(["Polygon", "MultiPolygon", "LineString", "Corridor", "Circle", "Cells"]),
)
def test_nonsense_is_refused_in_words_and_never_breaks(nonsense: object, kind: str) -> None:
    members = ("coordinates", "center", "radius_m", "width_m", "cells")
    definition = {"type": kind, **dict.fromkeys(members, nonsense)}
    with pytest.raises(ShapeError):
        shape_of(definition)


def test_columns_give_back_the_same_shapes() -> None:
    shapes = [
        shape_of(definition)[0]
        for definition in (
            polygon(SQUARE),
            circle(1, 2, 30),
            {"type": "Corridor", "coordinates": SQUARE, "width_m": 50},
            {"type": "Cells", "cells": ["8a2a1072b59ffff"]},
        )
    ]
    assert from_columns(*to_columns(shapes)) == shapes
    assert from_columns([], [], []) == []
