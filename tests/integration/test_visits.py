"""Visits and areas over the wire, from what a pipeline really stored."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from ingest.mqtt import Message
from tests.integration.api_site import Site, client_of
from tests.integration.ingest_rig import START_US, Rig, draft, moment
from tests.integration.test_fences_live import at, yard
from tracking.fences import Schedule, Window
from tracking.store.keys import create_key
from tracking.times import from_us


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with Rig(database_url) as rig:
        yield rig


def stay(device: str, t_s: float, *, n: int = 4, until: bool = True) -> list[Message]:
    """Into the yard at `t_s`, `n` fixes a minute apart, and out again `until` wanted otherwise."""
    inside = [at(device, t_s + 60 * i, 1_500) for i in range(n)]
    gone = [at(device, t_s + 60 * n, 5_000)] if until else []
    return [at(device, t_s - 60, 0), *inside, *gone]


async def visits(site: Site, **params: str | int) -> list[dict[str, Any]]:
    response = await site.get("/v1/visits", **params)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


def brief(items: list[dict[str, Any]]) -> list[tuple[str, str, float, bool]]:
    """Device, fence, second of entering, whether open."""
    start = from_us(START_US)
    return [
        (
            v["device"],
            v["fence"],
            (datetime.fromisoformat(v["entered_at"]) - start).total_seconds(),
            v["open"],
        )
        for v in items
    ]


async def test_a_visit_tells_who_was_where_from_when_to_when(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(), dwell_s=120.0, layer="sites"))
    await rig.feed(stay("truck", 600))
    [visit] = await visits(site)
    events = dict(await rig.rows("SELECT type, id::text FROM event WHERE type LIKE 'fence.%%'"))
    assert visit == {
        "device": "truck",
        "fence": "yard",
        "fence_name": "yard",
        "layer": "sites",
        "entered_at": moment(600),
        "left_at": moment(840),
        "open": False,
        "inside_s": 240.0,
        "as_of": None,
        "dwelled": True,
        "initial": False,
        "reason": "left",
        "entered_event": events["fence.entered"],
        "left_event": events["fence.exited"],
        "late": False,
        "amended": False,
    }


async def test_an_open_visit_counts_up_to_the_latest_fix(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(), dwell_s=3_600.0))
    await rig.feed(stay("truck", 600, until=False))
    [visit] = await visits(site)
    assert (visit["open"], visit["left_at"], visit["reason"]) == (True, None, None)
    assert (visit["inside_s"], visit["as_of"]) == (180.0, moment(780))
    assert visit["dwelled"] is False


async def test_filters_narrow_the_list(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(), layer="sites"), draft("far", yard(20_000)))
    await rig.feed(stay("a", 600), stay("b", 1_200, until=False))
    await rig.feed([at("b", 2_000, 20_000)])
    everything = [
        ("a", "yard", 600, False),
        ("b", "yard", 1_200, False),
        ("b", "far", 2_000, True),
    ]
    assert brief(await visits(site)) == everything
    assert brief(await visits(site, fence="far")) == everything[2:]
    assert brief(await visits(site, device="a")) == everything[:1]
    assert brief(await visits(site, layer="sites")) == everything[:2]
    assert brief(await visits(site, open="true")) == everything[2:]
    assert brief(await visits(site, open="false")) == everything[:2]
    assert brief(await visits(site, open="true", fence="yard")) == []
    assert await visits(site, fence="none") == []


async def test_a_visit_that_began_before_and_reaches_in_is_told(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(
        stay("over", 600),  # 600 to 840
        stay("before", 300),  # 300 to 540
        stay("at-start", 460),  # 460 to 700
        stay("within", 720, n=1),
        stay("open", 500, until=False),
        stay("behind", 900),
    )
    found = await visits(site, **{"from": moment(700), "to": moment(800)})
    assert brief(found) == [
        ("open", "yard", 500, True),
        ("over", "yard", 600, False),
        ("within", "yard", 720, False),
    ]
    found = await visits(site, **{"from": moment(700), "to": moment(800), "open": "true"})
    assert brief(found) == [("open", "yard", 500, True)]
    found = await visits(site, **{"from": moment(700), "to": moment(800), "open": "false"})
    assert [v["device"] for v in found] == ["over", "within"]


@pytest.mark.parametrize("limit", [1, 3, 7])
@pytest.mark.parametrize("start_s", [None, 2_000])
async def test_pages_walk_over_every_visit_once(
    rig: Rig, site: Site, limit: int, start_s: int | None
) -> None:
    await rig.save(draft("yard", yard()), draft("twin", yard()))
    await rig.feed(*[stay(f"t{i}", 600 + 400 * (i // 2), n=15) for i in range(10)])
    more = {} if start_s is None else {"from": moment(start_s)}
    expected = brief(await visits(site, **more))
    assert len(expected) == (20 if start_s is None else 12)
    assert expected == sorted(expected, key=lambda v: (v[2], v[0], v[1]))
    walked: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await site.get("/v1/visits", limit=limit, **more, **cursor)).json()
        assert 0 < len(page["items"]) <= limit
        walked += page["items"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert brief(walked) == expected


async def test_a_repair_shows_in_the_visit(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(), dwell_s=600.0))
    await rig.feed([at("truck", 0, 0), at("truck", 100, 1_500), at("truck", 1_000, 1_500)])
    await rig.feed([at("truck", 1_100, 4_000)])
    [visit] = await visits(site)
    assert (visit["inside_s"], visit["dwelled"], visit["late"]) == (1_000, True, False)
    await rig.feed([at("truck", 400, 4_000), at("truck", 700, 4_000)])
    await rig.repair()
    first, second = await visits(site)
    assert (first["inside_s"], first["dwelled"], first["late"]) == (300, False, True)
    assert (second["inside_s"], second["amended"]) == (100, True)


async def test_a_fence_deleted_under_a_device_ends_its_visit(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(stay("truck", 600, until=False))
    await rig.delete("yard")
    await rig.repair()
    [visit] = await visits(site)
    assert (visit["open"], visit["reason"]) == (False, "deleted")
    assert visit["left_at"] is not None


async def test_a_leaving_that_a_schedule_kept_silent_leaves_the_visit_without_an_end(
    rig: Rig, site: Site
) -> None:
    # 22:13 to 22:16 on a Tuesday; the leaving is at 22:17:20.
    schedule = Schedule("UTC", (Window("22:00", "22:17"),))
    await rig.save(draft("yard", yard(), schedule=schedule))
    await rig.feed(stay("truck", 60, n=3))
    [visit] = await visits(site)
    assert (visit["open"], visit["left_at"], visit["inside_s"]) == (False, None, None)
    assert await visits(site, open="true") == []


async def test_the_table_has_what_the_list_has(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(stay("a", 600), stay("b, the second", 700, until=False))
    listed = await visits(site)
    for response in (
        await site.get("/v1/visits", format="csv"),
        await site.client.get("/v1/visits", headers={"Accept": "text/csv"}),
    ):
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(response.text)))
        assert [list(row) for row in rows] == [list(visit) for visit in listed]
        for row, visit in zip(rows, listed, strict=True):
            for name, value in visit.items():
                told = {None: "", True: "true", False: "false"}.get(value, str(value))
                assert row[name] == told


async def test_a_long_table_comes_in_steps(
    rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routers.visits._STEP", 3)
    await rig.save(draft("yard", yard()))
    await rig.feed(*[stay(f"t{i}", 600 + 400 * i) for i in range(9)])
    response = await site.get("/v1/visits", format="csv")
    assert len(response.text.splitlines()) == 10
    monkeypatch.setattr("api.routers.visits._MAX_COUNTED", 5)
    response = await site.get("/v1/visits", group_by="fence")
    assert (response.status_code, response.json()["field"]) == (422, "from")


async def test_sums_tell_what_visits_come_to(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(), dwell_s=300.0), draft("far", yard(20_000)))
    for i in range(5):
        await rig.feed(stay("a", 600 + 2_000 * i, n=i + 1))  # 60, 120, ... 300 s
    await rig.feed(stay("b", 600, n=2, until=False), [at("b", 2_000, 20_000)])
    answer = (await site.get("/v1/visits", group_by="fence")).json()
    far, near = answer["items"]
    assert (far["key"], far["visits"], far["open"], far["total_s"]) == ("far", 1, 1, 0)
    assert near == {
        "key": "yard",
        "name": "yard",
        "visits": 6,
        "open": 0,
        "dwelled": 2,
        "devices": 2,
        "fences": 1,
        "total_s": 900 + 1_400,
        "mean_s": round(2_300 / 6, 3),
        "p50_s": 210,
        "p95_s": 1_125,
        "max_s": 1_400,
    }
    assert answer["total"]["visits"] == 7
    by_device = (await site.get("/v1/visits", group_by="device", fence="yard")).json()["items"]
    assert [(g["key"], g["visits"], g["mean_s"]) for g in by_device] == [
        ("a", 5, 180),
        ("b", 1, 1_400),
    ]


async def test_days_are_those_of_the_time_zone(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    # 22:23:20 UTC, which is the next morning in Tokyo; and 100 minutes later.
    await rig.feed(stay("a", 600), stay("a", 600 + 6_000))
    utc = (await site.get("/v1/visits", group_by="day")).json()["items"]
    assert [(g["key"], g["visits"]) for g in utc] == [("2023-11-14", 1), ("2023-11-15", 1)]
    tokyo = await site.get("/v1/visits", group_by="day", time_zone="Asia/Tokyo")
    assert [(g["key"], g["visits"]) for g in tokyo.json()["items"]] == [("2023-11-15", 2)]


@pytest.mark.parametrize(
    ("params", "status", "field"),
    [
        pytest.param({"time_zone": "Mars/Olympus", "group_by": "day"}, 422, "time_zone", id="zone"),
        pytest.param({"group_by": "week"}, 422, "group_by", id="group"),
        pytest.param({"from": "yesterday"}, 422, "from", id="time"),
        pytest.param({"from": moment(9), "to": moment(1)}, 422, "from", id="reversed"),
        pytest.param({"cursor": "WyJpIiwxXQ"}, 400, "cursor", id="cursor of another list"),
        pytest.param({"open": "perhaps"}, 422, "open", id="open perhaps"),
    ],
)
async def test_what_is_wrong_is_named(
    site: Site, params: dict[str, str], status: int, field: str
) -> None:
    response = await site.client.get("/v1/visits", params=params)
    assert (response.status_code, response.json()["field"]) == (status, field)


async def test_another_tenant_sees_no_visit(rig: Rig, site: Site, database_url: str) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(stay("truck", 600), stay("van", 600, until=False))
    await rig.rows("INSERT INTO tenant (name) VALUES ('theirs') RETURNING id")
    theirs = create_key(database_url, "theirs", "test", "viewer")
    async with client_of(site.url, theirs) as client:
        for params in ({}, {"open": "true"}, {"from": moment(700)}, {"fence": "yard"}):
            assert (await client.get("/v1/visits", params=params)).json()["items"] == []
        response = await client.get("/v1/visits", params={"format": "csv"})
        assert len(response.text.splitlines()) == 1
        response = await client.get("/v1/visits", params={"group_by": "device"})
        assert response.json()["items"] == []
    assert len(await visits(site)) == 2
