"""Trips out of the events the fold raised."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.api_site import Rows, Site
from tests.integration.ingest_rig import Rig, moment, pos

_STEP, _STEPS = 0.001, 20  # 111 m of latitude each
_THERE = 52.019


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with Rig(database_url) as rig:
        yield rig


def drive(device: str, start_s: float, *, lat: float = 52.0, rests: bool = True) -> list[Any]:
    """Half an hour's rest, a drive to the north, and an hour's rest."""
    told = [pos(device, start_s + 60 * i, 5, lat) for i in range(-30, 0)]
    told += [
        pos(device, start_s + 30 * i, 5, lat + i * _STEP, speed_mps=3 + i % 5)
        for i in range(_STEPS)
    ]
    end_s = start_s + 30 * (_STEPS - 1)
    if rests:
        place = lat + (_STEPS - 1) * _STEP
        told += [pos(device, end_s + 60 * i, 5, place) for i in range(1, 60)]
    return told


async def trips(site: Site, **params: str | int) -> list[dict[str, Any]]:
    response = await site.get("/v1/trips", **params)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def test_a_trip_has_its_ends_its_length_and_its_speed(site: Site, rig: Rig) -> None:
    await rig.feed(drive("a", 3_600))
    [trip] = await trips(site)
    assert (trip["device"], trip["open"], trip["reason"]) == ("a", False, "stay")
    assert (trip["start_lat"], trip["end_lat"]) == (52, pytest.approx(52.019, abs=0.0015))
    assert trip["distance_m"] == pytest.approx(19 * 111.2, rel=0.1)
    assert trip["max_speed_mps"] == 7
    started, ended = map(datetime.fromisoformat, (trip["started_at"], trip["ended_at"]))
    assert trip["duration_s"] == (ended - started) / timedelta(seconds=1)
    assert (await site.get(f"/v1/trips/{trip['id']}")).json() == trip
    assert (await site.get(f"/v1/events/{trip['id']}")).json()["type"] == "trip.started"
    track = (await site.client.get(trip["track"])).json()["items"]
    assert [track[0]["fix_time"], track[-1]["fix_time"]] == [trip["started_at"], trip["ended_at"]]


async def test_an_open_trip_is_told_so_far(site: Site, rig: Rig) -> None:
    await rig.feed(drive("a", 3_600, rests=False))
    [trip] = await trips(site, open="true")
    assert (trip["open"], trip["ended_at"], trip["reason"]) == (True, None, None)
    assert trip["distance_m"] == pytest.approx(19 * 111.2, rel=0.15)
    assert trip["end_lat"] == pytest.approx(52.019)
    assert await trips(site, open="false") == []
    track = (await site.client.get(trip["track"])).json()["items"]
    assert track[-1]["lat"] == pytest.approx(52.019)


async def test_trips_are_found_by_device_and_by_any_moment_of_theirs(site: Site, rig: Rig) -> None:
    await rig.feed(drive("a", 3_600), drive("a", 20_000, lat=_THERE), drive("b", 4_000))
    await rig.repair()
    every = await trips(site)
    assert [trip["device"] for trip in every] == ["a", "b", "a"]
    assert [trip["device"] for trip in await trips(site, device="a")] == ["a", "a"]
    # From the middle of the first two.
    found = await trips(site, **{"from": moment(4_050), "to": moment(4_060)})
    assert [trip["id"] for trip in found] == [trip["id"] for trip in every[:2]]
    assert await trips(site, **{"from": moment(10_000), "to": moment(15_000)}) == []
    assert len(await trips(site, **{"from": moment(15_000)})) == 1


async def test_pages_tell_each_trip_once(site: Site, rig: Rig) -> None:
    for n in range(6):
        await rig.feed(drive(f"d{n}", 3_600), drive(f"d{n}", 30_000, lat=_THERE))
    await rig.repair()
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        more = {"cursor": cursor} if cursor else {}
        page = (await site.get("/v1/trips", limit=5, **{"from": moment(3_700)}, **more)).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert len(found) == len(set(found)) == 12


async def test_a_late_fix_amends_a_trip(site: Site, rig: Rig) -> None:
    whole = drive("a", 3_600)
    missing = [message for message in whole if json.loads(message.payload)["lat"] > 52.01][:9]
    await rig.feed([message for message in whole if message not in missing], missing)
    await rig.repair()
    [trip] = await trips(site)
    assert trip["distance_m"] == pytest.approx(19 * 111.2, rel=0.1)


async def test_others_trips_are_not_there(site: Site, rig: Rig, database_url: str) -> None:
    with Rows(database_url, "other") as others:
        event = others.event("x", data={"lon": 5, "lat": 52})
    assert await trips(site) == []
    assert (await site.get(f"/v1/trips/{event.id}")).status_code == 404
    assert (await site.get("/v1/trips/none")).status_code == 422
    assert rig.conn is not None
