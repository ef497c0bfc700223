"""Explanations over the wire, of what a pipeline really stored and raised."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from tests.integration.alert_rig import AlertRig, rule
from tests.integration.api_site import Rows, Site, client_of
from tests.integration.ingest_rig import START_US, Rig, draft, moment, pos
from tests.integration.test_fences_live import EAST, LAT, LON, at, box, drive, fences_of, yard
from tests.integration.test_pipeline import day_of, shuffled
from tracking.fold import Rules
from tracking.store.evidence import event_evidence
from tracking.store.keys import create_key
from tracking.why import explain


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with Rig(database_url) as rig:
        yield rig


async def why(rig: Rig, site: Site, type_: str, status: str = "active") -> dict[str, Any]:
    """The explanation of the one event of this type."""
    ((id_,),) = await rig.rows(
        "SELECT id FROM event WHERE type = %s AND status = %s", [type_, status]
    )
    response = await site.get(f"/v1/events/{id_}/why")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    assert found["event"]["id"] == str(id_)
    return found


def decisions(found: dict[str, Any]) -> list[str]:
    return [fix["decision"] for fix in found["fixes"]]


async def test_an_entering_is_explained_fix_by_fix(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(drive("truck", 0, 0, n=40))
    found = await why(rig, site, "fence.entered")
    assert decisions(found) == ["none"] * 5 + ["run", "fast"]
    assert found["because"][0] == (
        "22:15:10: fix 2 of the run, 105 m beyond the border, more than the buffer of 21 m: "
        "confirmed; dated at the first fix of the run, 22:15:00"
    )
    run, confirming = found["fixes"][-2:]
    assert (run["depth_m"], run["away_m"], run["run_n"], run["used"]) == (5, 5, 1, True)
    assert run["because"] == (
        "fix 1 of the run, 5.0 m beyond the border, not more than the buffer of 21 m: not yet"
    )
    assert (confirming["mean_depth_m"], confirming["buffer_m"], confirming["widened"]) == (
        55,
        21,
        0,
    )
    assert found["fixes"][0]["depth_m"] == -495
    assert found["thresholds"]["profile"] == "zone"
    assert (found["fence"]["id"], found["fence"]["version"]) == ("yard", 1)
    assert found["fence"]["shape"]["radius_m"] == 505
    assert (found["reproduced"], found["complete"], found["notes"]) == (True, True, [])


async def test_leaving_dwelling_moving_and_speeding_are_explained_too(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(), dwell_s=60.0, speed_limit_mps=12.0))
    fast = pos("truck", 150, LON + 1_500 * EAST, LAT, speed_mps=13.0)
    faster = pos("truck", 160, LON + 1_600 * EAST, LAT, speed_mps=14.5)
    await rig.feed(drive("truck", 0, 0, n=15), [fast, faster], drive("truck", 170, 1_700, n=20))
    await rig.feed(
        drive("truck", 400, 3_600, n=1), [at("truck", 400 + 60 * i, 3_600) for i in range(1, 12)]
    )
    left = await why(rig, site, "fence.exited")
    assert decisions(left)[-1] == "fast"
    assert left["fixes"][-1]["away_m"] == 95
    dwelled = await why(rig, site, "fence.dwelled")
    assert decisions(dwelled)[4:7] == ["none", "run", "fast"]
    assert dwelled["fixes"][-1]["because"] == (
        "inside since 22:15:00; 60 s were reached at 22:16:00: dwelled"
    )
    assert dwelled["thresholds"]["dwell_s"] == 60
    speeding = await why(rig, site, "speed.exceeded")
    assert decisions(speeding)[-2:] == ["over", "over"]
    assert speeding["fixes"][-1]["because"] == (
        "14.5 m/s, above the limit of 12.0, and so was the fix of 22:15:50: exceeded"
    )
    started = await why(rig, site, "motion.started")
    assert started["fixes"][-1]["decision"] == "away"
    assert started["fixes"][-1]["because"].endswith("fix 2 in a row: motion.started, trip.started")
    assert started["thresholds"]["depart_radius_m"] == 100
    stopped = await why(rig, site, "motion.stopped")
    assert stopped["because"][0].endswith("and 180 s make a stop: motion.stopped")
    ended = await why(rig, site, "trip.ended")
    assert ended["fixes"][-1]["because"].endswith(": trip.ended")
    for found in (left, dwelled, speeding, started, stopped, ended):
        assert found["reproduced"] is True


async def test_a_slow_entering_tells_how_long_and_how_deep(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    shallow = [at("truck", 60 + 30 * i, 1_007) for i in range(10)]
    await rig.feed([at("truck", 0, 900), at("truck", 30, 900), *shallow])
    found = await why(rig, site, "fence.entered")
    assert decisions(found)[-1] == "slow"
    assert "the run has lasted" in found["because"][0]
    assert {fix["decision"] for fix in found["fixes"][2:-1]} == {"run"}


async def test_fixes_that_did_not_count_are_shown_with_the_reason(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    story = drive("truck", 0, 0, n=10)
    jump = at("truck", 95, 30_000)
    vague = pos("truck", 97, LON, LAT, accuracy_m=5_000)
    await rig.feed([*story, jump, vague, *drive("truck", 100, 1_000, n=5)])
    found = await why(rig, site, "fence.entered")
    rejected = [fix for fix in found["fixes"] if not fix["used"]]
    assert [(f["quality"], f["decision"]) for f in rejected] == [
        ("impossible_speed", "not_used"),
        ("inaccurate", "not_used"),
    ]
    assert rejected[0]["because"].startswith("not used: it lies 29,1")
    assert "its accuracy of 5,000 m" in rejected[1]["because"]
    assert "1 fix among them not used: inaccurate" in found["because"]


async def test_a_device_first_seen_inside_and_a_passage_are_explained(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()), draft("post", yard(4_000, radius_m=100)))
    await rig.feed([at("truck", 0, 1_500), at("truck", 60, 3_700), at("truck", 80, 4_300)])
    found = await why(rig, site, "fence.entered")
    assert decisions(found) == ["initial"]
    crossed = await why(rig, site, "fence.crossed")
    assert decisions(crossed) == ["none", "none", "crossed"]
    assert crossed["because"][0].endswith(
        "outside, but the straight way from the fix 20 s before passes 100 m deep through the "
        "fence: crossed, by inference"
    )
    assert crossed["thresholds"]["crossed_max_gap_s"] == 60


async def test_in_a_layer_the_neighbour_s_border_is_named(rig: Rig, site: Site) -> None:
    west = box(LON, LAT - 0.005, LON + 0.02, LAT + 0.005)
    east = box(LON + 0.02, LAT - 0.005, LON + 0.04, LAT + 0.005)
    await rig.save(draft("west", west, layer="z"), draft("east", east, layer="z"))
    await rig.feed([at("truck", 10 * i, 1_000 + 100 * i) for i in range(10)])
    ((id_,),) = await rig.rows(
        "SELECT id FROM event WHERE type = 'fence.entered' AND data->>'fence' = 'east'"
    )
    found = (await site.get(f"/v1/events/{id_}/why")).json()
    assert decisions(found)[-1] in {"fast", "slow"}
    assert found["fixes"][-1]["border_of"] == "west"
    assert "beyond the border of west" in found["because"][0]
    assert found["fixes"][-2]["because"] == "still in west, of the same layer"
    assert found["reproduced"] is True


async def test_an_explanation_starts_at_a_checkpoint_and_says_what_the_whole_fold_says(
    rig: Rig, site: Site
) -> None:
    await rig.save(draft("yard", yard()), draft("other", yard(1_600)))
    there_and_back = [
        at("truck", 20 * i, 1_000 + 60 * ((i % 40) - 20) * (1 if i % 80 < 40 else -1))
        for i in range(600)
    ]
    await rig.feed(*[there_and_back[i : i + 50] for i in range(0, 600, 50)])
    assert await rig.rows("SELECT 1 FROM checkpoint LIMIT 1"), "or the test proves nothing"
    rows = await rig.rows("SELECT id FROM event WHERE rule = 'yard' ORDER BY time")
    assert len(rows) > 10
    with_checkpoints = [(await site.get(f"/v1/events/{id_}/why")).json() for (id_,) in rows]
    assert all(found["reproduced"] for found in with_checkpoints)
    await rig.conn.execute("DELETE FROM checkpoint")
    assert [(await site.get(f"/v1/events/{id_}/why")).json() for (id_,) in rows] == with_checkpoints


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_fold_raises_is_explained_by_what_is_stored(rig: Rig, seed: int) -> None:
    rng = random.Random(seed)
    await rig.save(*fences_of(rng))
    messages = [m for name in ("a", "b") for m in day_of(name, rng)]
    for batch in shuffled(messages, rng, displaced=True):
        await rig.feed(batch)
    await rig.repair(checkpoint_every=16)
    ((tenant_id,),) = await rig.rows("SELECT id FROM tenant")
    rows = await rig.rows("SELECT id, status, type FROM event WHERE confirmed_at IS NOT NULL")
    assert {type_.partition(".")[0] for *_, type_ in rows} >= {"fence", "motion"}
    for id_, status, type_ in rows:
        evidence = await event_evidence(rig.conn, tenant_id, id_)
        assert evidence is not None
        found = explain(evidence, Rules())
        assert found.reproduced is (status == "active"), (type_, found)
        if status == "active":
            assert found.complete, found.notes
            assert not any("does not raise" in note for note in found.notes)


async def test_a_retracted_event_tells_what_took_it_back(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard(), dwell_s=600.0))
    await rig.feed([at("truck", 0, 0), at("truck", 100, 1_500), at("truck", 1_000, 1_500)])
    await rig.feed([at("truck", 1_100, 4_000)])
    later = [pos("truck", t, LON + 4_000 * EAST, LAT) for t in (400, 700)]
    late = [replace(m, received_us=m.received_us + 7_200_000_000) for m in later]
    await rig.feed(late)
    await rig.repair()
    found = await why(rig, site, "fence.dwelled", "retracted")
    assert found["because"][0].startswith("taken back at ")
    assert found["reproduced"] is False
    assert [fix["fix_time"] for fix in found["later"]["fixes"]] == [moment(400), moment(700)]
    assert [fix["late"] for fix in found["fixes"]] == [False, False, True, True, False]
    # Amended: the visit that ends at 1,100 began later than was told at first.
    rows = await rig.rows("SELECT id FROM event WHERE type = 'fence.exited' AND revision = 2")
    amended = (await site.get(f"/v1/events/{rows[0][0]}/why")).json()
    assert amended["reproduced"] is True
    assert len(amended["later"]["fixes"]) == 2


async def test_an_edit_that_took_an_event_back_is_named(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(drive("truck", 0, 0, n=40))
    await rig.save(draft("yard", yard(2_500), from_us=START_US + 150_000_000))
    await rig.repair()
    found = await why(rig, site, "fence.exited", "retracted")
    assert [edit["version"] for edit in found["later"]["edits"]] == [1, 2]
    assert found["later"]["edits"][-1]["effective_from"] == moment(150)


async def test_a_fence_deleted_under_a_device_explains_the_leaving(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(drive("truck", 0, 0, n=13))
    await rig.delete("yard")
    await rig.repair()
    found = await why(rig, site, "fence.exited")
    assert found["because"][0].startswith("the fence ended at ")
    assert (found["reproduced"], found["complete"]) == (True, True)


async def test_history_that_is_gone_is_said_to_be_gone(rig: Rig, site: Site) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(drive("truck", 0, 0, n=40))
    await rig.conn.execute("DELETE FROM position")
    found = await why(rig, site, "fence.entered")
    assert (found["complete"], found["fixes"], found["reproduced"]) == (False, [], False)
    assert "no longer stored" in found["notes"][0]
    assert found["fence"]["id"] == "yard"


async def test_events_without_fixes_tell_what_is_known(site: Site, database_url: str) -> None:
    with Rows(database_url) as rows:
        rows.device("t1")
        silent = rows.event(
            "t1", "device.silent", data={"heard_at": moment(0), "silent_after_s": 900.0}
        )
        online = rows.event("t1", "device.online")
    found = (await site.get(f"/v1/events/{silent.id}/why")).json()
    assert found["thresholds"] == {"silent_after_s": 900}
    assert "for 900 s after 2023-11-14T22:13:20Z" in found["because"][0]
    found = (await site.get(f"/v1/events/{online.id}/why")).json()
    assert "on its status channel" in found["because"][0]
    assert found["reproduced"] is None


async def test_an_alert_tells_its_rule_and_the_event_behind_it(
    site: Site, database_url: str
) -> None:
    async with AlertRig(database_url) as alerts:
        late_shift = rule("late-shift", severity="critical", cooldown_s=60.0)
        await alerts.save(late_shift)
        entered = await alerts.happen(0)
        await alerts.follow()
        await alerts.save(replace(late_shift, cooldown_s=3_600.0))
        ((id_,),) = await alerts.rows("SELECT id FROM event WHERE type = 'alert.opened'")
        found = (await site.get(f"/v1/events/{id_}/why")).json()
        assert found["source_event"]["id"] == str(entered.id)
        assert (found["rule"]["id"], found["rule"]["version"]) == ("late-shift", 1)
        assert found["thresholds"]["cooldown_s"] == 60
        assert found["alert"]["state"] == "open"
        assert found["because"] == [
            "rule late-shift, version 1, fits fence.entered of van at 2026-03-08T12:00:00Z"
        ]
        await alerts.record(entered.retracted())
        await alerts.follow()
        ((id_,),) = await alerts.rows("SELECT id FROM event WHERE type = 'alert.resolved'")
        found = (await site.get(f"/v1/events/{id_}/why")).json()
        assert "reason retracted" in found["because"][1]
        assert found["because"][-1] == "the event behind it has since been retracted"


async def test_another_tenant_is_told_nothing(rig: Rig, site: Site, database_url: str) -> None:
    await rig.save(draft("yard", yard()))
    await rig.feed(drive("truck", 0, 0, n=40))
    rows = await rig.rows("SELECT id FROM event")
    assert rows
    await rig.rows("INSERT INTO tenant (name) VALUES ('theirs') RETURNING id")
    key = create_key(database_url, "theirs", "test", "admin")
    async with client_of(site.url, key) as client:
        for (id_,) in rows:
            assert (await client.get(f"/v1/events/{id_}/why")).status_code == 404
