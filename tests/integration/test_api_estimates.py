"""What is expected of shipments over the api: told while it is known, and not a moment longer."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.forecasts import Forecaster
from ingest.shipments import turn
from tests.integration.api_site import Rows, Site, api_site
from tracking.store.connection import connect
from tracking.store.custody import last_positions
from tracking.store.keys import create_key

QUIET_S = 900.0


class Road:
    """A shipment on a device that is somewhere on the way, and the monitor that looks at it."""

    def __init__(self, site: Site, rows: Rows, database_url: str) -> None:
        self.site, self.rows = site, rows
        self._database_url = database_url
        self.now = datetime.now(UTC)

    async def plan(self, id_: str, until: timedelta | None = None, **members: Any) -> None:  # noqa: ANN401
        shop: dict[str, Any] = {"kind": "delivery", "place": {"lon": 5.1, "lat": 52.0}}
        if until is not None:
            shop["window"] = {"to": (self.now + until).isoformat()}
        depot = {"kind": "pickup", "place": {"lon": 4.5, "lat": 52.0}}
        made = await self.site.client.post(
            "/v1/shipments", json={"id": id_, "stops": [depot, shop], **members}
        )
        assert made.status_code == 201, made.text

    async def carry(self, id_: str) -> None:
        body = {
            "load": {"kind": "shipment", "id": id_},
            "carrier": {"kind": "device", "id": "gps"},
            "from": (self.now - timedelta(hours=1)).isoformat(),
        }
        attached = await self.site.client.post("/v1/attachments", json=body)
        assert attached.status_code == 201, attached.text
        await self.say(id_, "departed", 0)

    async def say(self, id_: str, act: str, stop: int) -> None:
        at = (self.now - timedelta(minutes=5)).isoformat()
        said = await self.site.client.post(
            f"/v1/shipments/{id_}/overrides", json={"act": act, "stop": stop, "at": at}
        )
        assert said.status_code == 201, said.text

    async def seen(self, lon: float, at: datetime | None = None) -> None:
        at = at or self.now
        self.rows.move("gps", lon, 52.0, at)
        async with await connect(self._database_url, name="monitor") as conn:
            while await turn(conn):
                pass
            forecaster = Forecaster(QUIET_S)
            while await forecaster.turn(conn, at) is not None:
                pass

    async def shipment(self, id_: str) -> Any:  # noqa: ANN401 -- JSON
        return (await self.site.get(f"/v1/shipments/{id_}")).json()


@pytest.fixture
async def road(database_url: str, valkey_url: str) -> AsyncIterator[Road]:
    key = create_key(database_url, "default", "dispatch", "dispatcher")
    with Rows(database_url) as rows:
        async with api_site(database_url, valkey_url, key=key) as site:
            road = Road(site, rows, database_url)
            rows.fixes(rows.device("gps", 4.9, 52.0), 2, start=road.now - timedelta(minutes=1))
            yield road


async def test_an_estimate_is_told_with_its_reason_in_every_view(road: Road) -> None:
    await road.plan("s1", order_ref="o1")
    assert (await road.shipment("s1"))["eta"]["state"] == "unknown"
    await road.carry("s1")
    await road.seen(4.9)
    found = await road.shipment("s1")
    eta = found["eta"]
    assert (eta["state"], eta["reason"], eta["path"], eta["model"]) == (
        "expected", "first", "detour", 0,
    )  # fmt: skip
    assert eta["remaining_m"] == pytest.approx(13_550, abs=50)
    assert eta["because"] == "13.5 km as the crow flies, 18 min to drive, at the usual pace"
    [shop] = eta["stops"]
    assert shop["stop"] == 1
    assert shop["early"] < shop["arrive"] < min(shop["late"], shop["depart"])
    assert shop["p10"] < shop["p50"] < shop["p90"]
    depot_times, shop_times = ((one["arrive"], one["depart"]) for one in found["stops"])
    assert depot_times[0]["estimated"] is None
    assert [one["estimated"] for one in shop_times] == [shop["arrive"], shop["depart"]]
    [listed] = (await road.site.get("/v1/shipments")).json()["items"]
    [tracked] = (await road.site.get("/v1/orders/o1/tracking")).json()["items"]
    assert listed["eta"] == tracked["eta"] == eta
    [event] = [
        one for one in (await road.site.get("/v1/shipments/s1/events")).json()["items"]
        if one["type"] == "shipment.eta_changed"
    ]  # fmt: skip
    assert (event["data"]["new"], event["data"]["because"]) == (shop["arrive"], eta["because"])


async def test_what_is_not_heard_of_for_long_has_no_times_but_was_last_seen(road: Road) -> None:
    await road.plan("s1")
    await road.carry("s1")
    long_ago = road.now - timedelta(seconds=QUIET_S + 60)
    await road.seen(4.9, long_ago)
    found = await road.shipment("s1")
    assert found["eta"]["state"] == "last_seen"
    assert datetime.fromisoformat(found["eta"]["as_of"]) == long_ago
    assert found["eta"]["stops"] == []
    assert [stop["arrive"]["estimated"] for stop in found["stops"]] == [None, None]
    # It is heard of again.
    await road.seen(4.95)
    assert (await road.shipment("s1"))["eta"]["state"] == "expected"


async def test_a_window_at_risk_is_an_exception_and_can_be_asked_for(road: Road) -> None:
    for id_, until in (("late", timedelta(minutes=3)), ("fine", timedelta(hours=9))):
        await road.plan(id_, until)
        await road.carry(id_)
    await road.seen(4.6)
    assert (await road.shipment("late"))["exceptions"] == ["at_risk"]
    assert (await road.shipment("late"))["eta"]["at_risk"] == [1]
    assert (await road.shipment("fine"))["exceptions"] == []
    for exception, ids in (("at_risk", ["late"]), ("delayed", [])):
        listed = (await road.site.get("/v1/shipments", exception=exception)).json()["items"]
        assert [one["id"] for one in listed] == ids


async def test_a_plan_that_changed_is_not_answered_with_the_old_times(road: Road) -> None:
    await road.plan("s1")
    await road.carry("s1")
    await road.seen(4.9)
    path = "/v1/shipments/s1"
    changed = await road.site.client.patch(path, json={"kind": "return"})
    assert changed.json()["eta"]["state"] == "unknown"
    await road.seen(4.9)
    assert (await road.shipment("s1"))["eta"]["state"] == "expected"
    await road.say("s1", "delivered", 1)
    over = await road.shipment("s1")
    assert (over["eta"]["state"], over["eta"]["stops"]) == ("over", [])


async def test_many_shipments_are_told_in_as_many_questions_as_one(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(8):
        await road.plan(f"s{n}", order_ref="o1")
        await road.carry(f"s{n}")
    asked: list[int] = []

    async def counted(conn: Any, tenant_id: int, things: Any) -> Any:  # noqa: ANN401
        asked.append(len(things))
        return await last_positions(conn, tenant_id, things)

    monkeypatch.setattr("api.routers.shipments.last_positions", counted)
    items = (await road.site.get("/v1/orders/o1/tracking")).json()["items"]
    assert asked == [8]
    assert {item["last_seen"]["position"]["device"] for item in items} == {"gps"}
