"""Why there was no event, over the wire, from what a pipeline really stored."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from tests.integration.api_site import Rows, Site, client_of
from tests.integration.ingest_rig import START_US, Rig, draft, moment, pos
from tests.integration.test_fences_live import EAST, LAT, LON, at, box, drive, yard
from tracking.fences import Audience, Buffers, Schedule, Window
from tracking.store.keys import create_key


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with Rig(database_url) as rig:
        yield rig


async def why_not(site: Site, t_s: float, **params: str | int) -> dict[str, Any]:
    query = {"device": "truck", "fence": "yard", "at": moment(t_s), **params}
    response = await site.get("/v1/events/why-not", **query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def codes(found: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in found["reasons"]]


def decisions(found: dict[str, Any]) -> list[str]:
    return [fix["decision"] for fix in found["fixes"]]


async def test_an_event_that_exists_is_named(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(drive("truck", 0, 0, n=40))
    found = await why_not(site, 100, within_s=30)
    assert codes(found) == ["event_exists"]
    ((id_,),) = await rig.rows("SELECT id::text FROM event WHERE type = 'fence.entered'")
    assert found["reasons"][0]["events"] == [id_]
    assert (found["start"], found["end"]) == (moment(70), moment(130))
    assert found["before"] == {"inside": None, "since": None, "widened": 0, "run_n": 0}
    assert decisions(found) == ["none", "none", "none", "run", "fast", "none", "none"]


async def test_an_event_that_was_taken_back_is_named(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed([at("truck", 0, 0), at("truck", 100, 1_500), at("truck", 1_000, 1_500)])
    await rig.feed([at("truck", 90, 5_000), at("truck", 95, 5_000), at("truck", 99, 5_000)])
    await rig.feed([at("truck", 101, 5_000), at("truck", 102, 5_000), at("truck", 104, 5_000)])
    await rig.repair()
    found = await why_not(site, 100, within_s=20)
    assert codes(found)[0] == "event_retracted"
    assert "fix_not_used" in codes(found)


async def test_a_time_without_fixes_names_the_nearest(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed([at("truck", 0, 0), at("truck", 5_000, 0)])
    found = await why_not(site, 2_000)
    assert codes(found) == ["no_fix"]
    assert found["reasons"][0]["because"] == (
        f"no fix of that time is stored; the last before is of {moment(0)}; "
        f"the next is of {moment(5_000)}"
    )


async def test_fixes_that_were_not_used_are_counted(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    vague = [pos("truck", 60 * i, LON + 1_500 * EAST, LAT, accuracy_m=2_000) for i in range(1, 4)]
    await rig.feed([at("truck", 0, 0), *vague])
    found = await why_not(site, 150, within_s=120)
    assert codes(found) == ["fix_not_used"]
    assert found["reasons"][0]["because"].startswith("3 fixes (inaccurate) not used: ")


async def test_a_device_outside_is_told_how_far(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(drive("truck", 0, 0, n=8))
    found = await why_not(site, 40)
    assert codes(found) == ["outside"]
    assert "at 22:14:30, 295 m away" in found["reasons"][0]["because"]


async def test_fixes_not_deep_enough_are_told_with_the_buffer(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(drive("truck", 0, 0, n=10), [at("truck", 100, 1_006)])
    await rig.feed(drive("truck", 110, 900, n=1))
    found = await why_not(site, 100, within_s=60)
    assert codes(found) == ["too_shallow"]
    assert "11 m of 21 m" in found["reasons"][0]["because"]
    await rig.feed(drive("truck", 300, 1_300, n=7), [at("truck", 400, 2_012)])
    await rig.feed([at("truck", 410, 1_950)])
    found = await why_not(site, 400, within_s=40)
    assert codes(found) == ["already_inside", "too_shallow"]
    assert found["before"]["inside"] == "yard"


async def test_a_run_too_short_is_told_with_its_length(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(), buffers=Buffers(min_fixes=3)))
    await rig.feed(drive("truck", 0, 0, n=10), [at("truck", 100, 1_100)])
    await rig.feed([at("truck", 110, 1_150), at("truck", 120, 900)])
    found = await why_not(site, 100)
    assert codes(found) == ["run_too_short"]
    assert "the longest run had 2 fixes in 10 s" in found["reasons"][0]["because"]


async def test_a_fence_for_others_does_not_apply(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(), applies_to=Audience(groups=("north",))))
    await rig.feed(drive("truck", 0, 0, n=40))
    assert codes(await why_not(site, 100)) == ["not_applicable"]


async def test_a_silent_schedule_is_told_with_the_entering_it_hid(rig: Rig, site: Site) -> None:
    office = Schedule("Europe/Berlin", (Window("08:00", "17:00"),))
    await rig.save(draft("yard", yard(), schedule=office))
    await rig.feed(drive("truck", 0, 0, n=40))
    found = await why_not(site, 100, within_s=60)
    assert codes(found) == ["out_of_schedule"]
    assert found["reasons"][0]["because"].startswith(f"the device entered at {moment(100)}")


async def test_a_fence_that_did_not_hold_yet_or_any_more_is_said_so(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(), from_us=START_US + 10_000_000_000))
    await rig.feed(drive("truck", 0, 0, n=40))
    assert codes(await why_not(site, 100)) == ["fence_not_yet"]
    await rig.delete("yard")
    much_later = at("truck", 86_400 * 2_000, 1_500)
    await rig.feed([replace(much_later, received_us=START_US + 86_400_000_000 * 2_001)])
    assert codes(await why_not(site, 86_400 * 2_000)) == ["fence_deleted"]


async def test_ways_through_a_fence_that_raised_nothing_are_told(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(radius_m=100), crossed=False))
    await rig.feed([at("truck", 0, 0), at("truck", 300, 3_000), at("truck", 350, 0)])
    found = await why_not(site, 200)
    assert codes(found) == ["outside", "sampling_gap", "crossed_off"]
    assert "300 s lie between the fixes" in found["reasons"][1]["because"]


async def test_another_zone_of_the_layer_that_holds_the_device_is_named(
    rig: Rig, site: Site
) -> None:
    west = box(LON, LAT - 0.005, LON + 0.02, LAT + 0.005)
    east = box(LON + 0.02, LAT - 0.005, LON + 0.04, LAT + 0.005)
    await rig.save(draft("west", west, layer="z"), draft("yard", east, layer="z"))
    border = 0.02 / EAST
    # Ten metres into the eastern one, and back.
    await rig.feed([at("truck", 10 * i, border - 200 + 30 * i) for i in range(8)])
    await rig.feed([at("truck", 80, border - 100)])
    found = await why_not(site, 60)
    assert codes(found) == ["in_layer_of", "too_shallow"]
    assert "was in west" in found["reasons"][0]["because"]


async def test_what_waits_for_a_repair_is_not_told_yet(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed([at("truck", 0, 0), at("truck", 1_000, 5_000)])
    await rig.feed([at("truck", 500, 1_500)])
    found = await why_not(site, 500)
    assert "not_told_yet" in codes(found)
    assert "waits for a repair" in found["notes"][0]


@pytest.mark.parametrize(
    ("params", "status", "field"),
    [
        pytest.param({"device": "none"}, 404, None, id="no such device"),
        pytest.param({"fence": "none"}, 404, None, id="no such fence"),
        pytest.param({"at": "noon"}, 422, "at", id="no time"),
        pytest.param({"within_s": "3601"}, 422, "within_s", id="too wide"),
        pytest.param({"colour": "red"}, 422, "colour", id="unknown"),
    ],
)
async def test_what_is_wrong_is_named(
    rig: Rig, site: Site, params: dict[str, str], status: int, field: str | None
) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(drive("truck", 0, 0, n=3))
    query = {"device": "truck", "fence": "yard", "at": moment(0), **params}
    response = await site.client.get("/v1/events/why-not", params=query)
    assert (response.status_code, response.json()["field"]) == (status, field)


async def test_another_tenant_is_told_nothing(rig: Rig, site: Site, database_url: str) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(drive("truck", 0, 0, n=40))
    await rig.rows("INSERT INTO tenant (name) VALUES ('theirs') RETURNING id")
    key = create_key(database_url, "theirs", "test", "admin")
    question = {"device": "truck", "fence": "yard", "at": moment(100)}
    async with client_of(site.url, key) as client:
        assert (await client.get("/v1/events/why-not", params=question)).status_code == 404
        with Rows(database_url, "theirs") as theirs:
            theirs.device("truck")
        assert (await client.get("/v1/events/why-not", params=question)).status_code == 404
