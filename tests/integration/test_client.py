"""The client against a real api: both of it, answers, refusals, writes and documents."""

import ast
import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api_site import NOON, Rows, Site, api_site, later
from tracking.feed import encode_event
from tracking.signing import new_secret, signed_headers
from tracking.store.keys import create_key
from waymark.client import (
    AsyncWaymark,
    ChangedMeanwhile,
    Conflict,
    Event,
    Forbidden,
    NotFound,
    Patience,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    Waymark,
    WaymarkError,
)

PLAN = {
    "id": "s-1",
    "order_ref": "o/77",
    "stops": [
        {"kind": "pickup", "place": {"lon": 5.1, "lat": 52.1}},
        {"kind": "delivery", "place": {"lon": 5.2, "lat": 52.1}},
    ],
}
CIRCLE = {"type": "Circle", "center": [5.1, 52.1], "radius_m": 150}
PAGE = Path(__file__).parents[2] / "docs" / "client.md"


@pytest.fixture
async def site(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "order service", "service")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


@pytest.fixture
async def waymark(site: Site) -> AsyncIterator[AsyncWaymark]:
    async with AsyncWaymark(site.url, key=site.key) as waymark:
        yield waymark


async def test_a_shipment_from_plan_to_end(waymark: AsyncWaymark, rows: Rows) -> None:
    rows.fixes(rows.device("van-7"), 10)
    made = await waymark.shipments.create(PLAN)
    assert (made.id, made.status, made.version) == ("s-1", "planned", 1)
    ride = await waymark.attachments.attach(("shipment", "s-1"), ("device", "van-7"), start=NOON)
    assert (ride.load.id, ride.carrier.id, ride.start) == ("s-1", "van-7", NOON)
    tracking = await waymark.orders.tracking("o/77")
    [seen] = [one.last_seen for one in tracking.items]
    assert seen is not None
    assert seen.carried_by is not None
    assert (seen.position and seen.position.device, seen.carried_by.start) == ("van-7", NOON)
    ended = await waymark.attachments.end(ride.id, later(60))
    assert ended.end == later(60)
    said = await waymark.shipments.override("s-1", {"act": "delivered", "stop": 1})
    assert said.stops[1].done
    [override] = [one async for one in waymark.shipments.overrides("s-1")]
    assert not (await waymark.shipments.withdraw("s-1", override.id)).stops[1].done
    link = await waymark.shipments.share("s-1", stops_away=0)
    assert link.path == f"/track/{link.token}"
    await waymark.shipments.unshare("s-1", link.id)
    assert [one.revoked_at is None async for one in waymark.shipments.links("s-1")] == [False]
    assert (await waymark.shipments.cancel("s-1")).final


async def test_pickups_assets_and_fences(waymark: AsyncWaymark) -> None:
    pickup = await waymark.pickups.create({"id": "p-1", "place": {"lon": 5.1, "lat": 52.1}})
    assert pickup.status == "scheduled"
    tried = await waymark.pickups.attempt("p-1", {"reason": "nobody there"})
    assert [one.reason for one in tried.attempts] == ["nobody there"]
    again = await waymark.pickups.reschedule("p-1", {"from": later(0), "to": later(60)})
    assert again.planned_until == later(60)
    assert (await waymark.pickups.cancel("p-1")).status == "cancelled"
    asset = await waymark.assets.create({"kind": "vehicle", "id": "truck"})
    assert (await waymark.assets.edit("truck", {"name": "T"}, only_over=asset.version)).name == "T"
    await waymark.assets.delete("truck")
    fence = await waymark.fences.put("depot", {"shape": CIRCLE})
    assert fence.shape["radius_m"] == 150
    await waymark.fences.delete("depot", only_over=fence.version)
    assert [one.id async for one in waymark.fences.list(deleted=True)] == ["depot"]


async def test_lists_turn_their_pages(site: Site, rows: Rows) -> None:
    rows.fixes(rows.device("t1"), 2_500)
    async with AsyncWaymark(site.url, key=site.key) as waymark:
        lons = [fix.lon async for fix in waymark.devices.positions("t1")]

    def blocking() -> list[float]:
        with Waymark(site.url, key=site.key) as waymark:
            return [fix.lon for fix in waymark.devices.positions("t1")]

    assert lons == await asyncio.to_thread(blocking)
    assert len(lons) == 2_500
    assert lons == sorted(set(lons))


async def test_each_refusal_is_an_error_of_its_own(
    site: Site, waymark: AsyncWaymark, database_url: str
) -> None:
    await waymark.shipments.create(PLAN)
    viewer = create_key(database_url, "default", "reader", "viewer")

    async def refused(asked: Any) -> WaymarkError:  # noqa: ANN401 -- any call
        with pytest.raises(WaymarkError) as caught:
            await asked
        return caught.value

    async with (
        AsyncWaymark(site.url, key=viewer) as reader,
        AsyncWaymark(site.url, key="wmk_none") as nobody,
    ):
        wrong = {**PLAN, "stops": [{"kind": "pickup", "place": {"lon": 500, "lat": 1}}]}
        errors = [
            await refused(waymark.shipments.get("s-2")),
            await refused(waymark.shipments.create(PLAN)),
            await refused(waymark.shipments.create({**wrong, "id": "s-3"})),
            await refused(waymark.shipments.edit("s-1", {"attrs": {}}, only_over=7)),
            await refused(reader.shipments.cancel("s-1")),
            await refused(nobody.shipments.get("s-1")),
        ]
    kinds = [NotFound, Conflict, Refused, ChangedMeanwhile, Forbidden, Unauthorized]
    assert [type(error) for error in errors] == kinds
    assert errors[1].field == "id"
    assert errors[2].field == "stops[0].place.lon"
    assert all(error.request_id for error in errors)
    assert errors[0].type == "urn:waymark:problem:not-found"


async def test_too_often_and_away_are_told_when_no_try_is_left(
    database_url: str, valkey_url: str
) -> None:
    patience = Patience(tries=1)
    async with (
        api_site(database_url, valkey_url, rate_credential_per_min=1) as site,
        AsyncWaymark(site.url, key=site.key, patience=patience) as waymark,
    ):
        asked = [waymark.devices.get("t1") for _ in range(3)]
        errors = await asyncio.gather(*asked, return_exceptions=True)
        often = [error for error in errors if isinstance(error, RateLimited)]
        assert {type(error) for error in errors} == {NotFound, RateLimited}
        assert often[0].retry_after_s is not None
    nowhere = "postgresql://postgres@/none?host=/nowhere"
    async with (
        api_site(nowhere, valkey_url, key="wmk_any") as site,
        AsyncWaymark(site.url, key=site.key, patience=patience) as waymark,
    ):
        with pytest.raises(Unavailable) as away:
            await waymark.devices.get("t1")
        assert away.value.status == 503


async def test_the_feed_refuses_by_name(site: Site, database_url: str) -> None:
    narrow = create_key(database_url, "default", "narrow", "service", scopes=["events:read"])
    async with (
        AsyncWaymark(site.url, key=site.key) as waymark,
        AsyncWaymark(site.url, key=narrow) as stranger,
    ):
        with pytest.raises(Refused) as refused:
            await anext(waymark.feed.events(bbox=(5.0, 53.0, 6.0, 52.0)))
        assert refused.value.field == "bbox"
        with pytest.raises(Forbidden):
            await anext(stranger.feed.events())


class Enough(Exception):  # noqa: N818 -- no error
    """The document's program did what it shows."""


@pytest.mark.parametrize("n", range(len(re.findall(r"```python\n", PAGE.read_text()))))
async def test_what_the_page_shows_runs(site: Site, rows: Rows, n: int) -> None:
    program = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[n]
    program = program.replace("http://127.0.0.1:8080", site.url).replace("wmk_...", site.key)
    rows.device("van-7")
    async with AsyncWaymark(site.url, key=site.key) as waymark:
        if ".create(" not in program:
            await waymark.shipments.create(PLAN)
            await waymark.shipments.override("s-1", {"act": "delivered"})

    async def handle(event: Event) -> None:
        raise Enough(event.id)

    code = compile(program, str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    body = encode_event(rows.event("van-7", "fence.entered"))
    secret = new_secret()
    names: dict[str, Any] = {"handle": handle, "cursor": 0, "secret": secret, "body": body}
    names["headers"] = signed_headers([secret], "e_1", int(time.time()), body)
    try:
        if code.co_flags & 0x80:  # a coroutine
            await eval(code, names)  # noqa: S307 -- our own page
        else:
            await asyncio.to_thread(exec, code, names)
    except Enough:
        assert "handle(" in program
