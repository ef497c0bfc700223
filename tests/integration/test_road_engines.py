"""The engines themselves, on a town made for it; skipped where they are not installed.

`pip install pyvalhalla osrm-bindings osmium`, on Python 3.12 or later, brings all of them.
"""

import asyncio
import importlib
import importlib.util
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.forecasts import Forecaster
from ingest.roads import RoadBook, open_roads
from tests.integration.hooks_rig import eventually
from tests.integration.ingest_rig import START_US, pos
from tests.integration.test_shipments import Office
from tests.services import accepts, free_port, wait_until
from tracking.errors import RoadsUnavailable, SettingsError
from tracking.roads import RoadsKind, RoadSource
from tracking.shipments import Place, Plan, Stop
from tracking.times import from_us

# A grid of streets, 206 m apart from west to east and 200 m from south to north.
LON, LAT, SIDE, EAST, NORTH = 5.10, 52.05, 12, 0.003, 0.0018
HERE, THERE = (5.1001, 52.0501), (5.1305, 52.068)
# A street of its own, 11 km away, without a bridge; and a place without any road.
ISLAND, SEA = (5.3, 52.051), (5.3, 52.3)


def bin_of(package: str) -> Path:
    """Where a wheel keeps its programs."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None or importlib.util.find_spec("osmium") is None:
        pytest.skip(f"no {package} on this machine; see above")
    return Path(spec.origin).parent / "bin"


def write_town(file: Path) -> None:
    """The town, as OpenStreetMap would have it."""
    osmium = importlib.import_module("osmium")
    mutable = importlib.import_module("osmium.osm.mutable")
    nodes = {
        1 + i * SIDE + j: (LON + j * EAST, LAT + i * NORTH)
        for i in range(SIDE)
        for j in range(SIDE)
    }
    nodes |= {1_000: ISLAND, 1_001: (ISLAND[0], ISLAND[1] + 0.003)}
    rows = [[1 + i * SIDE + j for j in range(SIDE)] for i in range(SIDE)]
    ways = [*rows, *(list(column) for column in zip(*rows, strict=True)), [1_000, 1_001]]
    with osmium.SimpleWriter(str(file)) as writer:
        for id_, place in nodes.items():
            writer.add_node(mutable.Node(id=id_, version=1, location=place))
        for id_, way in enumerate(ways, start=1):
            tags = {"highway": "residential", "maxspeed": "50"}
            writer.add_way(mutable.Way(id=id_, version=1, nodes=way, tags=tags))


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=60)


@contextmanager
def running(port: int, *command: object) -> Iterator[str]:
    """A server, on loopback."""
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: accepts(port), "the engine answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The town as Valhalla's tiles, with `valhalla.json` beside them."""
    programs = bin_of("valhalla")
    folder = tmp_path_factory.mktemp("valhalla")
    write_town(folder / "town.osm.pbf")
    (folder / "tiles").mkdir()
    valhalla = importlib.import_module("valhalla")
    config = valhalla.get_config(tile_extract="", tile_dir=str(folder / "tiles"))
    config["mjolnir"]["concurrency"] = 1
    port = free_port()
    config["httpd"]["service"] |= {
        "listen": f"tcp://127.0.0.1:{port}",
        "loopback": f"ipc://{folder}/loopback",
        "interrupt": f"ipc://{folder}/interrupt",
    }
    for name in ("loki", "thor", "odin", "meili"):
        config[name]["service"]["proxy"] = f"ipc://{folder}/{name}"
    (folder / "port").write_text(str(port))
    (folder / "valhalla.json").write_text(json.dumps(config))
    run(programs / "valhalla_build_tiles", "-c", folder / "valhalla.json", folder / "town.osm.pbf")
    return folder


@pytest.fixture(params=["valhalla", "valhalla-tiles", "osrm"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RoadSource]:
    """Each provider, ready to be asked."""
    kind: RoadsKind = request.param
    if kind == "osrm":
        programs = bin_of("osrm")
        write_town(tmp_path / "town.osm.pbf")
        profile = programs.parent / "share/profiles/car.lua"
        run(programs / "osrm-extract", "-t", 1, "-p", profile, tmp_path / "town.osm.pbf")
        run(programs / "osrm-contract", "-t", 1, tmp_path / "town.osrm")
        port = free_port()
        server = (programs / "osrm-routed", "-i", "127.0.0.1", "-p", port, tmp_path / "town.osrm")
        with running(port, *server) as url:
            yield RoadSource(kind, url)
        return
    folder: Path = request.getfixturevalue("tiles")
    if kind == "valhalla-tiles":
        yield RoadSource(kind, str(folder / "tiles"))
        return
    program = bin_of("valhalla") / "valhalla_service"
    with running(int((folder / "port").read_text()), program, folder / "valhalla.json", 1) as url:
        yield RoadSource(kind, url)


async def test_an_engine_tells_ways_that_there_are_and_those_that_there_are_not(
    source: RoadSource,
) -> None:
    async with open_roads(source, "truck") as roads:
        assert (await roads.introduce()).startswith(("Valhalla 3.", "OSRM"))
        path = await roads.path([HERE, THERE])
        assert path is not None
        assert path.points[0] == pytest.approx(HERE, abs=2e-4)
        assert path.points[-1] == pytest.approx(THERE, abs=2e-4)
        # By a grid: as far east and as far north as the places are apart, or with fewer turns.
        assert 4_050 < path.metres < 4_600
        assert path.metres / 14 < path.seconds < path.metres / 5
        via = await roads.path([HERE, (5.112, 52.0608), THERE])
        assert via is not None
        assert 4_050 < via.metres < 4_600
        assert await roads.path([HERE, ISLAND]) is None
        assert await roads.path([HERE, SEA]) is None


async def test_an_engine_says_what_it_does_not_understand(source: RoadSource) -> None:
    async with open_roads(source, "auto") as roads:
        with pytest.raises(RoadsUnavailable, match=r"nvalid|nsufficient|locations"):
            await roads.path([HERE])


async def test_a_forecast_goes_by_the_way_that_an_engine_tells(
    source: RoadSource, database_url: str
) -> None:
    stops = (Stop("pickup", "Corner", Place(*HERE)), Stop("delivery", "Shop", Place(*THERE)))
    async with (
        Office(database_url) as office,
        open_roads(source, "auto") as roads,
        asyncio.TaskGroup() as tasks,
    ):
        book = RoadBook(roads, database_url, per_s=100)
        keeping = tasks.create_task(book.keep())
        await office.feed([pos("gps", -600, *HERE)])
        await office.plan(Plan("s1", stops))
        await office.attach("shipment/s1", "device/gps")
        # Off along the southernmost street.
        street = [pos("gps", 10 * i, LON + 0.001 * i, LAT) for i in range(20)]
        await office.feed(street[:10])
        await office.settle()
        forecaster = Forecaster(900.0, roads=book)
        await forecaster.turn(office.conn, from_us(START_US + 90_000_000))
        way = "SELECT count(*) FROM road_path WHERE points IS NOT NULL AND shipment_number > 0"
        await eventually(lambda: office.rows(way), lambda rows: rows == [(1,)], "the way")
        await forecaster.turn(office.conn, from_us(START_US + 91_000_000))
        found = await office.rows(
            "SELECT estimate ->> 'path', (estimate ->> 'remaining_m')::float8 FROM shipment_eta"
        )
        keeping.cancel()
    [(path, remaining_m)] = found
    assert path == "roads"
    # 9 thousandths of a degree have been driven eastwards; the shop begins before its place.
    shortest_m = 1_472 + 1_992 - 150
    assert shortest_m - 20 < remaining_m < shortest_m + 500


async def test_a_folder_without_tiles_is_refused(tmp_path: Path) -> None:
    bin_of("valhalla")
    with pytest.raises(SettingsError, match=r"no tiles at"):
        async with open_roads(RoadSource("valhalla-tiles", str(tmp_path / "none")), "auto"):
            pass
