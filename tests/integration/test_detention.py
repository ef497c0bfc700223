"""Waiting at stops: by fixes on a real database, and as the api tells it."""

import csv
import io
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec
import pytest

from ingest.shipments import turn
from tests.integration.api_site import Site, api_site, client_of
from tests.integration.ingest_rig import START_US, pos
from tests.integration.test_api_shipments import STOPS, plan
from tests.integration.test_api_shipments import site as site  # noqa: PLC0414 -- a fixture
from tests.integration.test_shipments import PLAN, STEP_S, Office, drive
from tests.integration.test_shipments import office as office  # noqa: PLC0414 -- a fixture
from tracking.fences import Schedule, Window
from tracking.shipments import Override, Parties, Plan
from tracking.store.keys import create_key
from tracking.store.shipment_edits import edit_shipment, say
from tracking.times import from_us, iso, to_us

# The drive stands at the shop from its fix 132 to 143, and is seen outside by 146.
LEFT_S = 1_440
PLANNED = cast("list[dict[str, Any]]", STOPS)
START = from_us(START_US)


def at(second: float) -> str:
    return iso(START_US + round(second * 1e6))


def detaining(free_s: float | None = 60, **members: Any) -> Plan:  # noqa: ANN401 -- Stop
    """The plan, with free time at the shop."""
    shop = msgspec.structs.replace(PLAN.stops[1], free_time_s=free_s, **members)
    return msgspec.structs.replace(
        PLAN, stops=(PLAN.stops[0], shop), parties=Parties(carrier="fast")
    )


async def starts(office: Office, status: str = "active") -> list[tuple[Any, ...]]:
    return await office.rows(
        "SELECT time, data ->> 'device', late FROM event "
        "WHERE type = 'stop.detention_started' AND status = %s ORDER BY cursor",
        [status],
    )


async def arrived_at(office: Office) -> Any:  # noqa: ANN401 -- datetime
    (first, *_) = (await office.shipment()).record.stops[1].stays
    return first.arrived_at


async def test_detention_starts_once_when_the_free_time_is_used_up(office: Office) -> None:
    await office.plan(detaining())
    await office.attach("shipment/s1", "device/gps")
    await office.settle()
    for end in (136, 138, 150, 180):
        await office.feed(drive("gps", end - 136 and 136, end))
        await office.settle()
    began = await arrived_at(office) + timedelta(seconds=60)
    assert [row[:2] for row in await starts(office)] == [(began, "gps")]
    assert await starts(office, "retracted") == []
    assert await office.rows("SELECT due_at FROM shipment") == [(None,)]


async def test_who_was_gone_before_was_not_detained_whenever_it_becomes_known(
    office: Office,
) -> None:
    await office.plan(detaining(300))
    await office.attach("shipment/s1", "device/gps")
    await office.feed(drive("gps", end=140))
    # It is seen there again; that it was away meanwhile is told later.
    back = [pos("gps", LEFT_S + 300 + 10 * i, 5.1, 0.0, speed_mps=0.0) for i in range(12)]
    await office.feed(back)
    await office.settle()
    began = await arrived_at(office) + timedelta(seconds=300)
    assert [row[0] for row in await starts(office)] == [began]
    await office.feed(drive("gps", 140, 168))
    await office.settle()
    assert await starts(office) == []
    assert [row[0] for row in await starts(office, "retracted")] == [began]


async def test_the_monitor_finds_that_the_free_time_is_used_up(office: Office) -> None:
    await office.plan(detaining(1_000))
    await office.attach("shipment/s1", "device/gps")
    await office.settle()
    [(now,)] = await office.rows("SELECT clock_timestamp()")
    arrived = now - timedelta(seconds=999.6)
    said = Override(0, "arrived", arrived, 1, made_by="ann")
    assert await say(office.conn, office.tenant, "s1", said)
    while await turn(office.conn):
        pass
    due = arrived + timedelta(seconds=1_000)
    assert await office.rows("SELECT due_at FROM shipment") == [(due,)]
    done = None
    while done is None or not done.records:
        done = await turn(office.conn)
    assert [record.type for record in done.records] == ["stop.detention_started"]
    assert await office.rows("SELECT due_at FROM shipment") == [(None,)]

    def generous(_: Plan) -> Plan:
        return detaining(5_000)

    await edit_shipment(office.conn, office.tenant, "s1", generous, author="ann")
    await office.settle()
    assert await starts(office) == []
    assert len(await starts(office, "retracted")) == 1


async def test_the_api_tells_what_is_to_be_paid_and_the_fixes_that_tell_so(
    office: Office, database_url: str, valkey_url: str
) -> None:
    always = Schedule("Asia/Kathmandu", (Window("00:00", "24:00"),))
    await office.plan(detaining(hours=always))
    await office.attach("shipment/s1", "device/gps")
    # A minute of fixes at the shop is missing.
    await office.feed([*drive("gps", end=134), *drive("gps", 140, 180)])
    await office.settle()
    key = create_key(database_url, "default", "fast", "viewer", party="fast")
    async with api_site(database_url, valkey_url, key=key) as site:
        path = "/v1/shipments/s1"
        answer = await site.get(f"{path}/detention", gap_min=1)
        assert answer.status_code == 200, answer.text
        depot, shop = answer.json()["items"]
        view = (await site.get(path)).json()["stops"][1]
        assert [gap["because"] for gap in (await _shop(site))["unseen"]] == []
        other = create_key(database_url, "default", "slow", "viewer", party="slow")
        async with client_of(site.url, other) as client:
            assert (await client.get(f"{path}/detention")).status_code == 404
        assert (await site.get("/v1/shipments/none/detention")).status_code == 404
        assert (await site.get(f"{path}/detention", gap_min=0)).status_code == 422
    assert (depot["stop"], shop["stop"], shop["time_zone"]) == (0, 1, "Asia/Kathmandu")
    assert depot["dwell"]["free_s"] is None
    assert depot["dwell"]["billable_min"] == 0
    [stay] = shop["stays"]
    record = (await office.shipment()).record.stops[1]
    arrived, left = record.arrived_at, record.departed_at
    assert arrived
    assert left
    there_s = (left - arrived).total_seconds()
    assert shop["dwell"] == {
        "there_s": there_s, "waited_s": there_s, "free_s": 60.0, "billable_s": there_s - 60,
        "billable_min": int(there_s - 60) // 60, "still_there": False,
    }  # fmt: skip
    assert view["dwell"] == shop["dwell"]
    assert view["hours"]["time_zone"] == "Asia/Kathmandu"
    assert shop["billable"] == [{"from": shop["started_at"], "to": stay["left_at"]}]
    # The first fix inside, and those that confirmed it; the first outside, and so on.
    for evidence, since in ((stay["arrival"], arrived), (stay["leaving"], left)):
        assert evidence["event"]
        fixes = evidence["fixes"]
        assert fixes[0]["fix_time"] == iso(round(since.timestamp() * 1e6))
        assert {fix["device"] for fix in fixes} == {"gps"}
        assert 1 <= len(fixes) <= 20
    # Nepal is 5:45 ahead.
    [gap] = shop["unseen"]
    assert (gap["from"], gap["to"]) == (at(133 * STEP_S), at(140 * STEP_S))
    begin, end = (START + timedelta(seconds=s, hours=5, minutes=45) for s in (1_330, 1_400))
    assert gap["because"] == f"not seen {begin:%H:%M}-{end:%H:%M}"


async def test_what_was_waited_anywhere_is_a_file(
    office: Office, database_url: str, valkey_url: str
) -> None:
    await office.plan(detaining())
    await office.attach("shipment/s1", "device/gps")
    await office.feed(drive("gps", end=180))
    await office.settle()
    depot, shop = (await office.shipment()).record.stops
    assert shop.arrived_at
    key = create_key(database_url, "default", "billing", "viewer")

    async def lines(site: Site, **asked: str) -> list[dict[str, str]]:
        answer = await site.get("/v1/exports/detention", format="csv", **asked)
        assert answer.status_code == 200, answer.text
        return list(csv.DictReader(io.StringIO(answer.text)))

    async with api_site(database_url, valkey_url, key=key) as site:
        both = await lines(site)
        late = await lines(site, **{"from": iso(to_us(shop.arrived_at)), "party": "fast"})
        assert await lines(site, to=iso(to_us(depot.arrived_at or shop.arrived_at))) == []
        assert await lines(site, party="slow") == []
        parquet = await site.get("/v1/exports/detention", format="parquet")
        assert parquet.content[:4] == b"PAR1"
        told = (await site.get("/v1/shipments/s1")).json()["stops"][1]["dwell"]
    assert [(line["stop"], line["free_s"]) for line in both] == [("0", ""), ("1", "60")]
    assert late == both[1:]
    assert int(both[1]["billable_min"]) == told["billable_min"] > 0
    assert float(both[1]["billable_s"]) == told["billable_s"]
    assert datetime.fromisoformat(both[1]["started_at"]) == shop.arrived_at + timedelta(minutes=1)


async def _shop(site: Site) -> Any:  # noqa: ANN401 -- JSON
    return (await site.get("/v1/shipments/s1/detention")).json()["items"][1]


async def test_what_is_there_now_has_waited_so_far(site: Site) -> None:
    depot, shop = PLANNED
    await plan(site, stops=[{**depot, "window": None, "free_time_s": 0}, shop])
    path = "/v1/shipments/s1"
    assert (await site.get(path)).json()["stops"][0]["dwell"] is None
    assert (await site.get(f"{path}/detention")).json() == {"items": [], "next": None}
    said = {"act": "arrived", "stop": 0}
    assert (await site.client.post(f"{path}/overrides", json=said)).status_code == 201
    [waiting] = (await site.get(f"{path}/detention")).json()["items"]
    dwell = waiting["dwell"]
    assert dwell["still_there"]
    assert 0 < dwell["billable_s"] == dwell["waited_s"] == dwell["there_s"] < 60
    [stay] = waiting["stays"]
    assert stay["arrival"] == {"event": None, "fixes": []}
    assert (stay["left_at"], stay["leaving"]) == (None, None)


@pytest.mark.parametrize(
    ("member", "value", "field"),
    [
        ("free_time_s", -1, "stops[1].free_time_s"),
        ("hours", {"time_zone": "Mars", "windows": [{"start": "08:00", "end": "17:00"}]},
         "stops[1].hours.time_zone"),
        ("hours", {"time_zone": "UTC", "windows": [{"start": "8", "end": "17:00"}]},
         "stops[1].hours.windows[0].start"),
        ("hours", {"time_zone": "UTC", "windows": []}, "stops[1].hours.windows"),
    ],
)  # fmt: skip
async def test_hours_and_free_time_that_mean_nothing_are_refused(
    site: Site, member: str, value: object, field: str
) -> None:
    stops = [PLANNED[0], {**PLANNED[1], member: value}]
    refused = await site.client.post("/v1/shipments", json={"id": "s2", "stops": stops})
    assert (refused.status_code, refused.json()["field"]) == (422, field)
    pickup = {"id": "p1", "place": PLANNED[0]["place"], member: value}
    refused = await site.client.post("/v1/pickups", json=pickup)
    field = field.removeprefix("stops[1].")
    assert (refused.status_code, refused.json()["field"]) == (422, field)


async def test_a_pickup_has_hours_and_free_time_as_its_stop_does(site: Site) -> None:
    hours = {"time_zone": "Europe/Amsterdam", "windows": [{"start": "08:00", "end": "17:00"}]}
    pickup = {"id": "p1", "place": PLANNED[0]["place"], "hours": hours, "free_time_s": 900}
    made = await site.client.post("/v1/pickups", json=pickup)
    assert made.status_code == 201, made.text
    [stop] = (await site.get("/v1/shipments/p1")).json()["stops"]
    assert stop["free_time_s"] == 900
    assert stop["hours"]["windows"][0]["end"] == "17:00"
    again = {"id": "p2", "shipment": "p1", "free_time_s": 900}
    refused = await site.client.post("/v1/pickups", json=again)
    assert (refused.status_code, refused.json()["field"]) == (422, "free_time_s")
