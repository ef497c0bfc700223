"""The shipment of the demonstration: what the simulator will do is what is planned."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from firmware_sim import Options, plan
from tests.integration.api_site import api_site
from tracking.store.keys import create_key
from waymark.demo_shipment import PLANNED_S, VEHICLE, Fix, planned, send

START = datetime(2026, 3, 8, 12, tzinfo=UTC)


def fixes(seed: int) -> list[Fix]:
    """What the vehicle says in a demonstration with this seed."""
    options = Options(seed=seed, devices=1, readers=0, sensors=0, duration_s=PLANNED_S)
    return [
        Fix(
            made.made_ms / 1_000,
            made.body["lon"],
            made.body["lat"],
            not made.body["attrs"]["ignition"],
        )
        for made in plan(options).devices[VEHICLE].readings
    ]


@pytest.mark.parametrize("seed", range(1, 5))
def test_the_vehicle_keeps_the_plan(seed: int) -> None:
    seen = fixes(seed)
    made = planned(seen, START)
    assert made is not None
    assert [stop["kind"] for stop in made["stops"]] == ["pickup", *["delivery"] * 3]
    for stop in made["stops"]:
        window, place = stop["window"], stop["place"]
        due = datetime.fromisoformat(window["from"]) + timedelta(minutes=1)
        [there] = [fix for fix in seen if START + timedelta(seconds=fix.at_s) == due]
        assert (there.lon, there.lat, there.parked) == (place["lon"], place["lat"], True)
    first, last = (made["stops"][i]["place"] for i in (0, -1))
    line = made["route"]["line"]["coordinates"]
    assert (line[0], line[-1]) == ([first["lon"], first["lat"]], [last["lon"], last["lat"]])


def test_a_vehicle_that_never_stops_brings_nothing() -> None:
    moving = [Fix(second, 5.0, 52.0 + second / 1e4, parked=second < 9) for second in range(99)]
    assert planned(moving, START) is None


async def test_it_is_on_the_vehicle_and_its_page_opens(database_url: str, valkey_url: str) -> None:
    key = create_key(database_url, "default", "waymark up", "admin")
    made = planned(fixes(1), START)
    assert made is not None
    async with api_site(database_url, valkey_url, key=key) as site:
        for later in (timedelta(), timedelta(hours=2)):
            again = {**made, "id": f"{made['id']}-{later.seconds}"}
            sent = await asyncio.to_thread(send, site.url, key, again, START + later)
            shipment = (await site.get(f"/v1/shipments/{sent.id}")).json()
            assert (shipment["order_ref"], shipment["status"]) == (sent.order_ref, "planned")
            [on] = (await site.get("/v1/attachments", shipment=sent.id)).json()["items"]
            assert (on["carrier"]["id"], on["to"] is None) == (VEHICLE, False)
            assert (await site.client.get(sent.page)).status_code == 200
            token = sent.page.rpartition("/")[2]
            shown = (await site.get(f"/v1/share/{token}")).json()
            assert (shown["shipment"], shown["for_stop"]) == (sent.id, 3)
