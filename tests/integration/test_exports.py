"""Histories as files: what is in them, read by others' readers, and how they end early."""

import asyncio
import csv
import gzip
import io
import json
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import psycopg
import pytest
from pyarrow import parquet

from api.exports.desk import AT_ONCE_PER_TENANT
from tests.integration.api_site import NOON, Rows, Site, later
from tests.services import wait_until
from tracking.store.keys import create_key

_GPX = "{http://www.topografix.com/GPX/1/1}"
_KML = "{http://www.opengis.net/kml/2.2}"
_GX = "{http://www.google.com/kml/ext/2.2}"
_FIXES = 4_500  # of one device: three pages


@pytest.fixture
def fleet(rows: Rows) -> None:
    """Two devices with history, one <without> in its name, and one that never sent."""
    rows.fixes(rows.device("a"), _FIXES)
    rows.fixes(rows.device("b"), 7)
    rows.fixes(rows.device("b2"), 5, quality=3, start=later(60))
    rows.device("c", lon=None)


async def told(site: Site) -> list[dict[str, Any]]:
    """All fixes of the fleet as the pages of the api tell them."""
    items: list[dict[str, Any]] = []
    for name in ("a", "b", "b2"):
        page = await site.get(f"/v1/devices/{name}/positions", limit=10_000)
        items += page.json()["items"]
    return items


async def export(site: Site, what: str = "positions", **params: str | list[str]) -> httpx.Response:
    response = await site.client.get(f"/v1/exports/{what}", params=params)
    assert response.status_code == 200, response.text
    return response


def parsed(document: bytes) -> ET.Element:
    return ET.fromstring(document)  # noqa: S314 -- made here


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.usefixtures("fleet")
async def test_lines_are_what_the_api_tells_by_device_and_in_order(site: Site) -> None:
    response = await export(site)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["content-disposition"] == 'attachment; filename="positions.ndjson"'
    assert [json.loads(line) for line in response.text.splitlines()] == await told(site)


@pytest.mark.usefixtures("fleet")
async def test_csv_has_a_header_and_each_fix(site: Site) -> None:
    response = await export(site, format="csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(response.text)))
    expected = await told(site)
    assert list(found[0]) == list(expected[0])
    assert len(found) == len(expected) == _FIXES + 12
    for row, one in zip(found, expected, strict=True):
        assert (row["device"], row["quality"], row["h3"]) == (
            one["device"], one["quality"], one["h3"],
        )  # fmt: skip
        assert moment(row["fix_time"]) == moment(one["fix_time"])
        assert (float(row["lon"]), float(row["alt_m"])) == (one["lon"], one["alt_m"])
        assert json.loads(row["attrs"]) == one["attrs"]
        assert row["speed_mps"] == ""


@pytest.mark.usefixtures("fleet")
async def test_parquet_is_typed(site: Site) -> None:
    response = await export(site, format="parquet")
    table = parquet.read_table(io.BytesIO(response.content))
    expected = await told(site)
    found = table.to_pylist()
    assert [str(kind) for kind in table.schema.types[:4]] == [
        "string", "timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]", "double",
    ]  # fmt: skip
    for row, one in zip(found, expected, strict=True):
        assert row["fix_time"] == moment(one["fix_time"])
        assert (row["device"], row["lon"], row["speed_mps"]) == (one["device"], one["lon"], None)


@pytest.mark.usefixtures("fleet")
async def test_geojson_is_one_collection(site: Site) -> None:
    document = (await export(site, format="geojson")).json()
    expected = await told(site)
    assert document["type"] == "FeatureCollection"
    assert len(document["features"]) == len(expected)
    for feature, one in zip(document["features"], expected, strict=True):
        assert feature["geometry"]["coordinates"] == [one["lon"], one["lat"], one["alt_m"]]
        assert feature["properties"]["fix_time"] == one["fix_time"]


@pytest.mark.usefixtures("fleet")
async def test_gpx_has_a_track_for_each_device_of_its_ok_fixes(site: Site) -> None:
    root = parsed((await export(site, format="gpx")).content)
    assert (root.tag, root.get("version")) == (_GPX + "gpx", "1.1")
    tracks = root.findall(_GPX + "trk")
    assert [track.findtext(_GPX + "name") for track in tracks] == ["a", "b"]
    points = root.findall(f"{_GPX}trk/{_GPX}trkseg/{_GPX}trkpt")
    expected = [one for one in await told(site) if one["quality"] == "ok"]
    for point, one in zip(points, expected, strict=True):
        # In the order the schema has them.
        assert [child.tag for child in point] == [_GPX + "ele", _GPX + "time"]
        assert (float(point.get("lon", "")), float(point.get("lat", ""))) == (
            one["lon"], one["lat"],
        )  # fmt: skip
        assert moment(point.findtext(_GPX + "time") or "") == moment(one["fix_time"])


@pytest.mark.usefixtures("fleet")
async def test_kml_has_a_placemark_for_each_device(site: Site) -> None:
    root = parsed((await export(site, format="kml")).content)
    placemarks = root.findall(f"{_KML}Document/{_KML}Placemark")
    assert [one.findtext(_KML + "name") for one in placemarks] == ["a", "b"]
    for track in root.iter(_GX + "Track"):
        assert len(track.findall(_KML + "when")) == len(track.findall(_GX + "coord"))
    places = [(one.text or "").split() for one in root.iter(_GX + "coord")]
    expected = [one for one in await told(site) if one["quality"] == "ok"]
    assert [(float(lon), float(lat)) for lon, lat, _ in places] == [
        (one["lon"], one["lat"]) for one in expected
    ]


@pytest.mark.parametrize("name", ["ndjson", "csv", "parquet", "geojson", "gpx", "kml"])
async def test_a_file_of_nothing_is_whole(site: Site, rows: Rows, name: str) -> None:
    rows.device("c", lon=None)
    content = (await export(site, format=name)).content
    if name == "parquet":
        assert parquet.read_table(io.BytesIO(content)).num_rows == 0
    elif name in {"gpx", "kml"}:
        assert len(parsed(content)) == (0 if name == "gpx" else 1)
    elif name == "geojson":
        assert json.loads(content)["features"] == []
    else:
        assert content.decode().count("\n") == (1 if name == "csv" else 0)


@pytest.mark.usefixtures("fleet")
async def test_filters_leave_what_they_say(site: Site) -> None:
    async def count(**params: str | list[str]) -> int:
        response = await site.client.get("/v1/exports/positions", params=params)
        return len(response.text.splitlines())

    assert await count(device=["b", "b2"]) == 12
    assert await count(quality="future") == 5
    assert (
        await count(device="a", **{"from": "2026-03-08T12:00:10Z", "to": "2026-03-08T12:01Z"})
        == 100
    )
    # Of `a` the fixes 10 to 20; those of the others lie west of the box.
    assert await count(bbox="5.00095,51,5.00205,53") == 11
    assert await count(bbox="170,51,5.00005,53") == 3


@pytest.mark.usefixtures("fleet")
async def test_one_device_is_told_in_every_format(site: Site) -> None:
    path = "/v1/devices/b/positions"
    lines = await site.get(path, format="ndjson")
    assert lines.headers["content-disposition"] == 'attachment; filename="positions-b.ndjson"'
    page = (await site.get(path)).json()["items"]
    assert [json.loads(line) for line in lines.text.splitlines()] == page
    for media_type in ("text/csv", "application/gpx+xml", "application/vnd.apache.parquet"):
        response = await site.client.get(path, headers={"Accept": media_type})
        assert response.headers["content-type"].startswith(media_type)
    refused = await site.get(path, format="csv", limit=5)
    assert (refused.status_code, refused.json()["field"]) == (422, "limit")
    assert (await site.get("/v1/devices/none/positions", format="csv")).status_code == 404


@pytest.mark.usefixtures("fleet")
async def test_gzip_comes_when_asked_for(site: Site) -> None:
    plain = await site.client.get("/v1/exports/positions", headers={"Accept-Encoding": "identity"})
    async with site.client.stream(
        "GET", "/v1/exports/positions", headers={"Accept-Encoding": "gzip"}
    ) as response:
        assert response.headers["content-encoding"] == "gzip"
        raw = b"".join([part async for part in response.aiter_raw()])
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content


@pytest.mark.usefixtures("fleet")
async def test_another_tenants_rows_are_in_no_file(site: Site, database_url: str) -> None:
    with Rows(database_url, "other") as others:
        others.fixes(others.device("theirs"), 3)
        others.event("theirs")
    for what in ("positions", "events", "measurements", "trips"):
        assert "theirs" not in (await export(site, what)).text
    response = await site.get("/v1/exports/positions", device="theirs")
    assert response.status_code == 404


async def test_events_come_in_lines_and_tables(site: Site, rows: Rows) -> None:
    for i in range(5):
        rows.event("a", "trip.started", time=later(i), data={"lon": 1.5, "lat": 2})
    listed = (await site.get("/v1/events")).json()["items"]
    lines = (await export(site, "events")).text.splitlines()
    assert [json.loads(line) for line in lines] == listed
    table = parquet.read_table(io.BytesIO((await export(site, "events", format="parquet")).content))
    assert table.column("cursor").to_pylist() == [1, 2, 3, 4, 5]
    assert json.loads(table.column("data")[0].as_py()) == {"lon": 1.5, "lat": 2}
    found = list(csv.DictReader(io.StringIO((await export(site, "events", format="csv")).text)))
    assert [row["late"] for row in found] == ["false"] * 5
    assert moment(found[4]["time"]) == later(4)


async def test_measurements_come_by_device_and_in_order(
    site: Site, rows: Rows, database_url: str
) -> None:
    ids = [rows.device(name) for name in ("m1", "m2")]
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO measurement (device_id, fix_time, metric, tenant_id, received_at, value) "
            "SELECT d, %s::timestamptz + i * interval '1 second', m, %s, now(), i + 0.25 "
            "FROM unnest(%s::bigint[]) d, generate_series(0, 1499) i, unnest('{b,a}'::text[]) m",
            (NOON, rows.tenant_id, ids),
        )
    found = [json.loads(line) for line in (await export(site, "measurements")).text.splitlines()]
    assert len(found) == 6_000
    keys = [(one["device"], one["fix_time"], one["metric"]) for one in found]
    assert keys == sorted(keys)
    assert found[2] | {"received_at": ""} == {
        "device": "m1", "metric": "a", "fix_time": "2026-03-08T12:00:01Z", "received_at": "",
        "value": 1.25,
    }  # fmt: skip
    chosen = await export(
        site, "measurements", device="m2", metric="b", format="csv", to=later(3).isoformat()
    )
    assert [row["value"] for row in csv.DictReader(io.StringIO(chosen.text))] == [
        "0.25", "1.25", "2.25",
    ]  # fmt: skip


@pytest.mark.usefixtures("fleet")
async def test_every_export_is_in_the_audit_log(site: Site, database_url: str) -> None:
    await export(site, device="b", format="csv")
    await site.get("/v1/devices/b/positions", format="gpx")
    with psycopg.connect(database_url) as conn:
        lines = conn.execute(
            "SELECT action, noun, key, after FROM audit_log WHERE action = 'export' ORDER BY id"
        ).fetchall()
    assert [line[:3] for line in lines] == [
        ("export", "positions", "*"), ("export", "positions", "b"),
    ]  # fmt: skip
    assert lines[0][3] == {"device": ["b"], "format": "csv"}


class Running:
    """Exports that have begun and whose client reads no further."""

    def __init__(self, site: Site) -> None:
        self._address = httpx.URL(site.url)
        self._key = site.key
        self.sockets: list[socket.socket] = []

    def begin(self) -> None:
        """Ask, and read the beginning of the answer."""
        sock = socket.create_connection((self._address.host, self._address.port or 80))
        # A small window: the kernel must not take the file off the server's hands.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.sendall(
            b"GET /v1/exports/positions HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n"
            b"Authorization: Bearer " + self._key.encode() + b"\r\n\r\n"
        )
        self.sockets.append(sock)

    def read(self, n: int = 15) -> bytes:
        return self.sockets[-1].recv(n)

    def leave(self) -> None:
        for sock in self.sockets:
            sock.close()


def exporting(database_url: str) -> int:
    """Connections that exports hold."""
    with psycopg.connect(database_url) as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'waymark-export' "
            "AND datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


async def test_too_many_are_refused_and_one_that_ends_makes_room(
    site: Site, rows: Rows, database_url: str
) -> None:
    device = rows.device("big")
    rows.fixes(device, 100_000)
    running = Running(site)
    for _ in range(AT_ONCE_PER_TENANT):
        await asyncio.to_thread(running.begin)
        assert await asyncio.to_thread(running.read) == b"HTTP/1.1 200 OK"
    refused = await site.get("/v1/exports/positions")
    assert refused.status_code == 429
    assert refused.headers["retry-after"]
    # Requests are served as ever, and another tenant's export too.
    assert (await site.get("/v1/devices/big")).status_code == 200
    with Rows(database_url, "other"):
        key = create_key(database_url, "other", "x", "viewer")
    theirs = await site.client.get(
        "/v1/exports/positions", headers={"Authorization": f"Bearer {key}"}
    )
    assert theirs.status_code == 200
    # A client that does not read holds two pages in memory and its connection, until it leaves.
    assert exporting(database_url) == AT_ONCE_PER_TENANT
    running.leave()
    await asyncio.to_thread(wait_until, lambda: exporting(database_url) == 0, "the exports end")
    assert (await site.get("/v1/exports/positions", device="big")).status_code == 200


async def test_a_client_that_leaves_ends_the_query_that_is_running(
    site: Site, rows: Rows, database_url: str
) -> None:
    rows.fixes(rows.device("big"), 20)
    with psycopg.connect(database_url) as lock:
        # The query waits for this lock, so it is running when the client leaves.
        lock.execute("LOCK TABLE position IN ACCESS EXCLUSIVE MODE")
        asking = asyncio.create_task(site.get("/v1/exports/positions"))
        await asyncio.to_thread(wait_until, lambda: exporting(database_url) == 1, "an export")
        await asyncio.to_thread(wait_until, lambda: waiting(database_url), "a query")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.to_thread(wait_until, lambda: exporting(database_url) == 0, "the exports end")


def waiting(database_url: str) -> bool:
    with psycopg.connect(database_url) as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'waymark-export' "
            "AND wait_event_type = 'Lock'"
        ).fetchone()
    return bool(row and row[0])


def end_exports(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'waymark-export' AND datname = current_database()"
        )


async def read_until_broken(site: Site, got: bytearray, begun: Callable[[], None]) -> None:
    """Read lines of positions; `begun` is called with the first."""
    headers = {"Accept-Encoding": "identity"}
    async with site.client.stream("GET", "/v1/exports/positions", headers=headers) as response:
        assert response.status_code == 200
        async for part in response.aiter_raw():
            if not got:
                begun()
            got += part


async def test_a_database_that_goes_away_breaks_the_transfer_off_and_lines_say_why(
    site: Site, rows: Rows, database_url: str
) -> None:
    rows.fixes(rows.device("big"), 60_000)
    got = bytearray()
    with pytest.raises(httpx.RemoteProtocolError):
        await read_until_broken(site, got, lambda: end_exports(database_url))
    *lines, last = bytes(got).splitlines()
    assert 0 < len(lines) < 60_000
    assert json.loads(lines[-1])["device"] == "big"
    assert json.loads(last)["error"]["type"] == "urn:waymark:problem:unavailable"


async def test_what_is_written_meanwhile_is_not_in_the_file(site: Site, rows: Rows) -> None:
    device = rows.device("big")
    rows.fixes(device, 60_000)
    lines = 0
    async with site.client.stream("GET", "/v1/exports/positions") as response:
        async for line in response.aiter_lines():
            if lines == 0:
                assert json.loads(line)["device"] == "big"
                rows.fixes(device, 10, start=NOON + timedelta(days=1))
                rows.fixes(rows.device("later"), 10)
            lines += 1
    assert lines == 60_000
