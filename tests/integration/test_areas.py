"""Who was in an area drawn afterwards, over the wire, from stored positions."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from geofence.geodesy import chords_m, ecef
from tests.integration.api_site import Site, client_of
from tests.integration.ingest_rig import Rig, moment, pos
from tests.integration.test_fences_live import at, yard
from tracking.store.keys import create_key

if TYPE_CHECKING:
    from ingest.mqtt import Message

# From the tests' start, 22:13:20, to midnight.
MIDNIGHT_S = 6_400


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with Rig(database_url) as rig:
        yield rig


def area(**members: Any) -> dict[str, Any]:  # noqa: ANN401 -- JSON
    return {"shape": yard(), "start": moment(0), "end": moment(86_400), **members}


async def asked(site: Site, **members: Any) -> list[dict[str, Any]]:  # noqa: ANN401 -- JSON
    response = await site.client.post("/v1/areas/devices", json=area(**members))
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


def stays(found: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(s["first"], s["last"], s["fixes"]) for one in found for s in one["stays"]]


async def test_devices_are_told_with_their_stays(rig: Rig, site: Site) -> None:
    await rig.feed(
        [at("b", 60 * i, 1_500) for i in range(5)],
        [at("a", 30, 1_600), at("a", 90, 5_000), at("c", 30, 5_000)],
    )
    assert await asked(site) == [
        {
            "device": "a",
            "first_seen": moment(30),
            "last_seen": moment(30),
            "fixes": 1,
            "inside_s": 0.0,
            "stays": [{"first": moment(30), "last": moment(30), "fixes": 1}],
        },
        {
            "device": "b",
            "first_seen": moment(0),
            "last_seen": moment(240),
            "fixes": 5,
            "inside_s": 240.0,
            "stays": [{"first": moment(0), "last": moment(240), "fixes": 5}],
        },
    ]


async def test_a_stay_ends_with_a_gap_or_with_a_fix_elsewhere(rig: Rig, site: Site) -> None:
    places = [(0, 1_500), (60, 1_500), (120, 5_000), (180, 1_500), (2_000, 1_500)]
    await rig.feed([at("truck", t_s, east_m) for t_s, east_m in places])
    first, second, third = (
        (moment(0), moment(60), 2),
        (moment(180), moment(180), 1),
        (moment(2_000), moment(2_000), 1),
    )
    assert stays(await asked(site)) == [first, second, third]
    longer = [first, (moment(180), moment(2_000), 2)]
    assert stays(await asked(site, gap_s=3_600)) == longer


async def test_a_stay_goes_on_over_midnight(rig: Rig, site: Site) -> None:
    times = range(MIDNIGHT_S - 600, MIDNIGHT_S + 900, 300)
    await rig.feed([at("truck", t_s, 1_500) for t_s in times])
    await rig.feed([at("van", t_s, 1_500) for t_s in (MIDNIGHT_S - 300, MIDNIGHT_S + 300)])
    await rig.feed([at("van", MIDNIGHT_S - 10, 50_000), at("van", MIDNIGHT_S + 10, 50_000)])
    await rig.repair()
    truck, van = await asked(site)
    assert stays([truck]) == [(moment(MIDNIGHT_S - 600), moment(MIDNIGHT_S + 600), 5)]
    # Impossible jumps are no fixes elsewhere.
    assert stays([van]) == [(moment(MIDNIGHT_S - 300), moment(MIDNIGHT_S + 300), 2)]
    await rig.feed([at("van", MIDNIGHT_S - 200, 5_000), at("van", MIDNIGHT_S - 100, 5_000)])
    await rig.repair()
    assert len(stays(await asked(site))) == 3


async def test_only_the_time_asked_for_counts(rig: Rig, site: Site) -> None:
    await rig.feed([at("truck", 100 * i, 1_500) for i in range(10)])
    found = await asked(site, start=moment(200), end=moment(500))
    assert stays(found) == [(moment(200), moment(400), 3)]
    assert await asked(site, start=moment(5_000)) == []


@pytest.mark.parametrize(
    ("lon", "lat", "radius_m"),
    [(13.0, 52.0, 700), (179.999, -17.0, 900), (-70.0, 89.99, 2_000)],
    ids=["plain", "antimeridian", "pole"],
)
async def test_the_answer_is_exact(
    rig: Rig, site: Site, lon: float, lat: float, radius_m: float
) -> None:
    rng = np.random.default_rng(7)
    n = 400
    wide = min(180.0, 2 * radius_m / (111_000 * np.cos(np.radians(lat))))
    lons = (lon + rng.uniform(-wide, wide, n) + 180) % 360 - 180
    lats = np.clip(lat + rng.uniform(-2, 2, n) * radius_m / 111_000, -90, 90)
    messages: list[Message] = [pos(f"d{i}", 0, float(lons[i]), float(lats[i])) for i in range(n)]
    await rig.feed(messages)
    circle = {"type": "Circle", "center": [lon, lat], "radius_m": radius_m}
    found = await asked(site, shape=circle)
    centre = ecef(np.full(n, lon), np.full(n, lat))
    far_m = chords_m(*ecef(lons, lats), *centre)
    expected = {f"d{i}" for i in np.flatnonzero(far_m <= radius_m).tolist()}
    assert 50 < len(expected) < n
    assert {one["device"] for one in found} == expected


@pytest.mark.parametrize(
    ("members", "field"),
    [
        pytest.param({"start": moment(9), "end": moment(9)}, "start", id="no time at all"),
        pytest.param({"end": moment(32 * 86_400)}, "end", id="too long"),
        pytest.param({"start": "2023-11-14T22:13:20"}, "start", id="no zone"),
        pytest.param({"start": "1960-01-01T00:00:00Z"}, "start", id="too early"),
        pytest.param({"end": "noon"}, "end", id="no time"),
        pytest.param({"gap_s": 0}, "gap_s", id="no gap"),
        pytest.param({"colour": "red"}, "colour", id="unknown member"),
        pytest.param({"shape": {"type": "Blob"}}, "shape.type", id="no shape"),
        pytest.param(
            {"shape": {"type": "Circle", "center": [0, 95], "radius_m": 5}},
            "shape.center",
            id="no place",
        ),
    ],
)
async def test_what_is_wrong_is_named(site: Site, members: dict[str, Any], field: str) -> None:
    response = await site.client.post("/v1/areas/devices", json=area(**members))
    assert response.status_code == 422, response.text
    assert response.json()["field"].startswith(field)


async def test_too_much_is_refused(rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.feed([at(f"t{i}", t_s, 1_500) for i in range(3) for t_s in (0, 10_000)])
    monkeypatch.setattr("api.routers.areas._DEVICES_MAX", 2)
    response = await site.client.post("/v1/areas/devices", json=area())
    assert (response.status_code, response.json()["field"]) == (422, "end")
    monkeypatch.setattr("tracking.store.areas.MAX_INSIDE", 2)
    response = await site.client.post("/v1/areas/devices", json=area())
    assert (response.status_code, response.json()["field"]) == (422, "shape")


async def test_another_tenant_finds_nobody(rig: Rig, site: Site, database_url: str) -> None:
    await rig.feed([at("truck", 0, 1_500)])
    await rig.rows("INSERT INTO tenant (name) VALUES ('theirs') RETURNING id")
    key = create_key(database_url, "theirs", "test", "admin")
    async with client_of(site.url, key) as client:
        response = await client.post("/v1/areas/devices", json=area())
        assert response.json()["items"] == []
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as stranger:
        assert (await stranger.post("/v1/areas/devices", json=area())).status_code == 401
    assert len(await asked(site)) == 1
