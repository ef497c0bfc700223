"""Files of fences: each format's forms, its faults, and real files."""

import gzip
import json
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geofence.faults import ShapeError
from geofence.formats import FORMATS, Draft, FormatError, detect, read
from geofence.shapes import Kind, Shape, bounds, shape_of

RING = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
SQUARE: dict[str, object] = {"type": "Polygon", "coordinates": [RING]}


def drafts(data: str | bytes | dict[str, Any], name: str = "file") -> list[Draft]:
    encoded = json.dumps(data).encode() if isinstance(data, dict) else data
    return list(read(encoded if isinstance(encoded, bytes) else encoded.encode(), name=name))


def shape(draft: Draft) -> Shape:
    assert draft.definition is not None, draft.error
    return shape_of(draft.definition)[0]


def feature(geometry: object, properties: dict[str, Any], **members: object) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties, **members}


def collection(*features: object) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def kml(inside: str, head: str = "") -> str:
    namespace = "http://www.opengis.net/kml/2.2"
    return (
        f'<?xml version="1.0"?>{head}<kml xmlns="{namespace}"><Document>{inside}</Document></kml>'
    )


def test_properties_become_id_name_options_and_attributes() -> None:
    properties = {
        "id": "depot-1",
        "name": "Depot",
        "layer": "city",
        "dwell_s": 300,
        "speed_limit_mps": "13.9",
        "enter_buffer_m": 15,
        "exit_buffer_m": 30,
        "min_fixes": 2,
        "normal": "inside",
        "crossed": False,
        "applies_to": {"groups": ["trucks"]},
        "owner": "us",
    }
    (draft,) = drafts(collection(feature(SQUARE, properties)))
    assert isinstance(draft.options["buffers"], dict)
    assert isinstance(draft.options["buffers"]["min_fixes"], int)
    assert draft == Draft(
        id="depot-1",
        name="Depot",
        where="features[0]",
        definition=SQUARE,
        options={
            "layer": "city",
            "dwell_s": 300.0,
            "speed_limit_mps": 13.9,
            "normal": "inside",
            "crossed": False,
            "applies_to": {"groups": ["trucks"]},
            "buffers": {"enter_m": 15.0, "exit_m": 30.0, "min_fixes": 2},
        },
        attrs={"owner": "us"},
    )


def test_properties_of_others_that_only_share_a_name_stay_attributes() -> None:
    properties = {"layer": 7, "normal": "yes", "crossed": 1.5, "schedule": "daily", "dwell_s": "-"}
    (draft,) = drafts(feature(SQUARE, properties, id=12))
    assert draft.options == {}
    assert draft.attrs == properties
    assert (draft.id, draft.name) == ("12", "12")


def test_a_point_with_a_radius_is_a_circle_and_a_line_with_a_width_a_corridor() -> None:
    point, line, bare = drafts(
        collection(
            feature({"type": "Point", "coordinates": [5, 6]}, {"radius_m": "50"}),
            feature({"type": "LineString", "coordinates": [[5, 6], [7, 8]]}, {"width_m": 40}),
            feature({"type": "Point", "coordinates": [5, 6]}, {}),
        )
    )
    assert shape(point) == Shape(Kind.CIRCLE, shapely.Point(5, 6), 50.0)
    assert (shape(line).kind, shape(line).radius_m) == (Kind.CORRIDOR, 20.0)
    with pytest.raises(ShapeError, match="needs a radius_m"):
        shape(bare)


def test_a_bare_geometry_is_one_fence_and_collections_of_a_kind_are_joined() -> None:
    (draft,) = drafts(SQUARE, name="yard.geojson")
    assert (draft.id, draft.name, draft.definition) == (None, "yard.geojson", SQUARE)
    both = {"type": "GeometryCollection", "geometries": [SQUARE, SQUARE]}
    (draft,) = drafts(both)
    assert draft.definition == {"type": "MultiPolygon", "coordinates": [[RING], [RING]]}
    mixed = [SQUARE, {"type": "LineString", "coordinates": RING}]
    (draft,) = drafts({"type": "GeometryCollection", "geometries": mixed})
    assert "MultiLineString, MultiPolygon" in str(draft.error)


def test_a_bad_feature_says_where_and_the_others_are_good() -> None:
    found = drafts(collection(feature(SQUARE, {}), feature(None, {"id": "x"}), "?", feature(3, {})))
    assert [draft.error is None for draft in found] == [True, False, False, False]
    assert [str(draft.error) for draft in found[1:]] == [
        "features[1]: it has no geometry",
        "features[2]: not a Feature",
        "features[3]: not a geometry",
    ]
    assert found[1].id == "x"


def test_geojson_in_another_reference_system_is_refused() -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::2263"}}
    with pytest.raises(FormatError, match="2263; give it in WGS 84"):
        drafts({**collection(feature(SQUARE, {})), "crs": crs})
    crs["properties"] = {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}
    assert len(drafts({**collection(feature(SQUARE, {})), "crs": crs})) == 1


TOPOLOGY: dict[str, Any] = {
    "type": "Topology",
    "transform": {"scale": [0.5, 0.25], "translate": [10, 20]},
    "objects": {
        "zones": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Polygon", "arcs": [[0, 1]], "id": 7, "properties": {"name": "left"}},
                {"type": "Polygon", "arcs": [[2, ~0]]},
                {"type": "MultiPolygon", "arcs": [[[0, 1]], [[2, -1]]]},
                {"type": "Polygon", "arcs": [[99]]},
                {"type": None},
                {"type": "Polygon", "arcs": "?"},
            ],
        },
        "stop": {"type": "Point", "coordinates": [4, 4], "properties": {"radius_m": 30}},
        "road": {"type": "LineString", "arcs": [0, 1], "properties": {"width_m": 30}},
    },
    # A border from (4, 0) up to (4, 4), and the two sides it divides a rectangle into.
    "arcs": [
        [[4, 0], [0, 4]],
        [[4, 4], [-4, 0], [0, -4], [4, 0]],
        [[4, 0], [4, 0], [0, 4], [-4, 0]],
    ],
}


def test_topojson_is_decoded_with_its_transform_and_shared_arcs() -> None:
    left, right, both, missing, null, odd, stop, road = drafts(TOPOLOGY)
    assert (left.id, left.name, left.where) == ("7", "left", "objects.zones.geometries[0]")
    assert shape(left).geometry.equals(shapely.box(10, 20, 12, 21))
    assert shape(right).geometry.equals(shapely.box(12, 20, 14, 21))
    assert shape(both).geometry.equals(shapely.box(10, 20, 14, 21))
    assert shape(stop).geometry.equals(shapely.Point(12, 21))
    assert shapely.get_coordinates(shape(road).geometry).tolist()[:2] == [[12, 20], [12, 21]]
    for draft in (missing, odd):
        assert "arcs or coordinates cannot be read" in str(draft.error)
    assert "no geometry" in str(null.error)


def test_topojson_without_a_transform_has_arcs_in_degrees() -> None:
    topology = {"type": "Topology", "objects": {"a": {"type": "Polygon", "arcs": [[0]]}}}
    (draft,) = drafts({**topology, "arcs": [RING]})
    assert shape(draft).geometry.equals(shapely.box(0, 0, 1, 1))
    for broken in ({"arcs": [[["x", 0]]]}, {"arcs": [RING], "transform": {}}, {}):
        with pytest.raises(FormatError):
            drafts({**topology, **broken})


PLACES = "0,0,5 1,0,5\n 1,1,5 0,1,5 0,0,5"


def test_kml_placemarks_of_every_geometry_are_read() -> None:
    ring = f"<LinearRing><coordinates>{PLACES}</coordinates></LinearRing>"
    hole = ring.replace("1", "0.5")
    polygon = (
        f"<Polygon><outerBoundaryIs>{ring}</outerBoundaryIs>"
        f"<innerBoundaryIs>{hole}</innerBoundaryIs></Polygon>"
    )
    data = (
        '<Placemark id="p1"><name>Yard &amp; shed</name><description>old</description>'
        "<ExtendedData><Data name='dwell_s'><value>60</value></Data>"
        "<Data name='none'/>"
        "<SchemaData><SimpleData name='owner'>us</SimpleData></SchemaData></ExtendedData>"
        f"<Folder/>{polygon}</Placemark>"
        f"<Folder><Placemark><MultiGeometry>{polygon}{ring}</MultiGeometry></Placemark></Folder>"
        "<Placemark><name>road</name><ExtendedData><Data name='width_m'><value>30</value></Data>"
        "</ExtendedData><LineString><coordinates>0,0 1,1</coordinates></LineString></Placemark>"
        "<Placemark><ExtendedData><Data name='radius_m'><value>30</value></Data></ExtendedData>"
        "<Point><coordinates>3,4,0</coordinates></Point></Placemark>"
        "<Placemark><name>nothing</name></Placemark>"
        "<Placemark><Point><coordinates>a,b</coordinates></Point></Placemark>"
    )
    yard, multi, road, stop, nothing, text = drafts(kml(data))
    assert (yard.id, yard.name, yard.where) == ("p1", "Yard & shed", "Placemark 1")
    assert yard.options == {"dwell_s": 60.0}
    assert yard.attrs == {"description": "old", "owner": "us", "none": ""}
    assert shape(yard).geometry.area == pytest.approx(0.75)
    assert shape(multi).geometry.area == pytest.approx(1.0)
    assert shape(road).radius_m == 15.0
    assert shape(stop) == Shape(Kind.CIRCLE, shapely.Point(3, 4), 30.0)
    assert str(nothing.error) == "Placemark 5: it has no geometry"
    assert "no numbers: 'a,b'" in str(text.error)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_kml_with_a_document_type_is_refused_in_any_encoding(encoding: str) -> None:
    bomb = '<!DOCTYPE kml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    text = kml("<Placemark><name>&b;</name></Placemark>", bomb)
    with pytest.raises(FormatError, match="document type"):
        drafts(text.replace('"1.0"', f'"1.0" encoding="{encoding}"').encode(encoding))


def test_kml_that_is_not_well_formed_is_refused() -> None:
    with pytest.raises(FormatError, match="not well-formed"):
        drafts("<kml><Placemark></kml>")


def test_kmz_is_its_document_and_other_zips_are_refused() -> None:
    point = "<Placemark><name>x</name><Point><coordinates>1,2</coordinates></Point></Placemark>"
    for member, good in (("doc.kml", True), ("a/b.KML", True), ("a.txt", False)):
        packed = BytesIO()
        with ZipFile(packed, "w") as archive:
            archive.writestr(member, kml(point))
        if good:
            assert drafts(packed.getvalue())[0].name == "x"
            with pytest.raises(FormatError, match="cannot be unzipped"):
                drafts(packed.getvalue()[:40])
        else:
            with pytest.raises(FormatError, match="without a KML document"):
                drafts(packed.getvalue())


def test_wkt_has_an_optional_id_name_and_srid_on_each_line() -> None:
    found = drafts(
        "# zones\n"
        "POLYGON((0 0, 1 0, 1 1, 0 1, 0 0))\n"
        "\n"
        "a1;POLYGON Z ((0 0 5, 1 0 5, 1 1 5, 0 1 5, 0 0 5))\n"
        "a2; North yard ;SRID=4326;MultiPolygonM(((0 0 1, 1 0 1, 1 1 1)), "
        "((2 2 1, 3 2 1, 3 3 1)))\n"
        "SRID=3857;POLYGON((0 0, 1 0, 1 1, 0 0))\n"
        "polygon((0 0, 1 0, 1 1, 0 0)\n"
        "CIRCLE(1 2, 3)\n"
        "POLYGON((0 0, 1 x, 1 1, 0 0))\n"
        "a;b;c;POLYGON((0 0, 1 0, 1 1, 0 0))\n"
        "POLYGON EMPTY\n"
        "POLYGON((0 0, 1 0, 1 1, 0 0)) 7)\n"
    )
    plain, a1, a2 = found[:3]
    assert (plain.id, plain.name, plain.where) == (None, "line 2", "line 2")
    assert (a1.id, a1.name) == ("a1", "a1")
    assert (a2.id, a2.name) == ("a2", "North yard")
    assert shape(plain).geometry.equals(shapely.box(0, 0, 1, 1))
    assert shape(a1).geometry.equals(shapely.box(0, 0, 1, 1))
    # Unclosed rings are mended like anywhere else.
    assert shape(a2).geometry.area == pytest.approx(1.0)
    assert [str(draft.error).split(": ", 1)[0] for draft in found[3:]] == [
        f"line {n}" for n in range(6, 13)
    ]
    for draft, message in zip(
        found[3:],
        ["SRID 3857", "brackets", "not WKT", "no coordinates", "more than", "not WKT", "brackets"],
        strict=True,
    ):
        assert message in str(draft.error)


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b'\xef\xbb\xbf {"type": "FeatureCollection"}', "a", "geojson"),
        (b'{"arcs": [], "type": "Topology"}', "a.json", "topojson"),
        (b"\xef\xbb\xbf<kml/>", "a", "kml"),
        ("<kml/>".encode("utf-16"), "a", "kml"),
        (b"PK\x03\x04...", "a", "kmz"),
        (b"# c\n7;SRID=4326;Polygon((0 0))", "a.txt", "wkt"),
        (b"LINESTRINGZ(0 0 0)", "a.txt", "wkt"),
        (b"CIRCLE(1 2, 3)", "a.wkt", "wkt"),
    ],
)
def test_a_files_format_is_told_by_its_content(data: bytes, name: str, expected: str) -> None:
    assert detect(data, name) == expected


@pytest.mark.parametrize(
    "data", [b"", b"  \n", b"lon,lat\n1,2\n", b"[1]", b'{"a', b"\x00\x01", b"\xff"]
)
def test_a_file_of_no_known_format_says_so(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"^fences\.csv "):
        list(read(data, name="fences.csv"))


def test_a_format_can_be_named_and_an_unknown_one_is_refused() -> None:
    assert list(read(b"", name="a", format_name="wkt")) == []
    with pytest.raises(FormatError, match="'shp' is none of geojson"):
        read(b"", name="a", format_name="shp")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FORMATS)), st.binary(max_size=60), st.integers(0, 200), st.data())
def test_a_damaged_file_is_refused_in_words_and_never_breaks(
    format_name: str, damage: bytes, at: int, data: st.DataObject
) -> None:
    square = "<Placemark><Point><coordinates>1,2</coordinates></Point></Placemark>"
    good = {
        "geojson": json.dumps(collection(feature(SQUARE, {"id": 1}))).encode(),
        "topojson": json.dumps(TOPOLOGY).encode(),
        "kml": kml(square).encode(),
        "kmz": b"PK\x03\x04" + bytes(40),
        "wkt": b"a;POLYGON((0 0, 1 0, 1 1, 0 1, 0 0))",
    }[format_name]
    end = data.draw(st.integers(at, at + 60))
    try:
        found = list(read(good[:at] + damage + good[end:], name="x", format_name=format_name))
    except FormatError:
        return
    for draft in found:
        assert (draft.definition is None) == (draft.error is not None)
        if draft.definition is not None:
            try:
                shape_of(draft.definition)
            except ShapeError as exc:
                assert str(exc)  # noqa: PT017  -- being refused is one of two good ends


@pytest.mark.parametrize(
    ("opening", "closing"), [('{"type":"GeometryCollection","geometries":[', "]}"), ("[", "]")]
)
def test_json_nested_too_deeply_is_refused(opening: str, closing: str) -> None:
    text = '{"type":"Feature","geometry":'
    with pytest.raises(FormatError, match="nested too deeply"):
        drafts(text + opening * 50_000 + closing * 50_000 + "}")
    (draft,) = drafts(text + opening * 300 + closing * 300 + "}")
    assert draft.error is not None


def test_the_real_zones_of_a_city_all_become_shapes(shared_data: Path) -> None:
    file = shared_data / "data" / "nyc_taxi_zones" / "taxi_zones.geojson.gz"
    found = drafts(gzip.decompress(file.read_bytes()), name=file.name)
    assert len(found) == 263
    for draft in found:
        assert draft.definition is not None
        made, notes = shape_of(draft.definition)
        assert made.geometry.is_valid
        # Its rings run clockwise, as shapefiles have them; nothing else is wrong.
        assert notes == ["coordinates: rings turned, outer counterclockwise"]


def test_the_real_counties_of_a_country_become_shapes_but_the_one_without_ground(
    shared_data: Path,
) -> None:
    file = shared_data / "data" / "us_counties" / "counties-10m.topojson.gz"
    found = drafts(gzip.decompress(file.read_bytes()), name=file.name)
    counties = [draft for draft in found if draft.where.startswith("objects.counties")]
    assert len(counties) == 3_231
    shapes: dict[str, Shape] = {}
    refused, mended, thinned = [], 0, 0
    for draft in counties:
        assert draft.id is not None
        assert draft.definition is not None
        try:
            shapes[draft.id], notes = shape_of(draft.definition)
        except ShapeError as exc:
            refused.append((draft.name, str(exc)))
            continue
        mended += any(note.endswith("mended") for note in notes)
        thinned += any("left out" in note for note in notes)
        assert shapes[draft.id].geometry.is_valid
    # Simplified to a line there and back.
    assert refused == [
        ("Falls Church", "coordinates[0]: a ring needs at least 3 distinct positions")
    ]
    assert (mended, thinned) == (22, 18)
    west, south, east, north = bounds(shapes["02016"])  # Aleutians West
    assert 172 < west < 180 < east < 196
    assert 51 < south < north < 58
