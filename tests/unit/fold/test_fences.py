"""What the fold says of fences, in short stories told in fixes."""

import pytest

from geofence.shapes import Shape
from tests.fences import book_of
from tests.unit.fold.fence_world import at, box, drive, fence, fix, shown, tell
from tracking.fences import Audience, Schedule, Window
from tracking.fold.closing import deleted_under
from tracking.fold.terrain import Terrain, Who

# Not quite at round metres, so that no fix of a drive lies on the border.
YARD: Shape = box(995, 2_005)


def test_a_drive_through_a_fence_is_one_visit_dated_at_its_first_fixes() -> None:
    _, facts = tell(drive(0, 0, n=40), fence(1, YARD))
    assert shown(facts) == [("fence.entered", "f1", 100), ("fence.exited", "f1", 210)]
    visit = facts[1].data
    assert visit["entered_at"] == "2023-11-14T22:15:00Z"
    assert visit["inside_s"] == 110
    assert visit["reason"] == "left"
    assert facts[0].data["initial"] is False
    assert facts[0].data["fence_name"] == "Fence 1"


def test_a_device_first_seen_inside_has_entered_there_and_then() -> None:
    _, facts = tell(drive(0, 1_500, n=3), fence(1, YARD))
    assert shown(facts) == [("fence.entered", "f1", 0)]
    assert facts[0].data["initial"] is True


def test_a_fence_drawn_around_a_device_is_entered_with_its_next_fix() -> None:
    story = [fix(0, 1_500), fix(60, 1_510), fix(120, 1_500)]
    _, facts = tell(story, fence(1, YARD, created_us=at(30)))
    assert shown(facts) == [("fence.entered", "f1", 60)]
    assert facts[0].data["initial"] is True


def test_jitter_at_the_border_is_no_event() -> None:
    story = [fix(i * 30, 985 + (15 if i % 2 else 0)) for i in range(100)]
    assert tell(story, fence(1, YARD))[1] == []


def test_a_long_enough_stay_has_dwelled_when_it_was_long_enough_not_when_it_was_seen() -> None:
    story = [fix(0, 0), fix(60, 1_500), fix(300, 1_510), fix(900, 1_500), fix(960, 1_505)]
    _, facts = tell(story, fence(1, YARD, dwell_s=600.0))
    assert shown(facts) == [("fence.entered", "f1", 60), ("fence.dwelled", "f1", 660)]
    assert facts[1].confirmed_us == at(900)


def test_a_visit_nobody_watched_until_its_end_has_dwelled_too() -> None:
    story = [fix(0, 0), fix(60, 1_500), fix(2_000, 5_000)]
    _, facts = tell(story, fence(1, YARD, dwell_s=600.0))
    assert [f.type for f in facts] == ["fence.entered", "fence.dwelled", "fence.exited"]


def test_a_short_stay_has_not_dwelled() -> None:
    _, facts = tell(drive(0, 0, n=40), fence(1, YARD, dwell_s=600.0))
    assert [f.type for f in facts] == ["fence.entered", "fence.exited"]


def test_speeding_inside_is_told_once_for_each_time_and_dated_at_its_first_fix() -> None:
    speeds = [5, 12, 13, 14, 5, 12, 5, 12, 12]
    story = [fix(i * 10, 1_100 + i * 60, speed_mps=v) for i, v in enumerate(speeds)]
    _, facts = tell(story, fence(1, YARD, speed_limit_mps=10.0))
    assert shown(facts[1:]) == [("speed.exceeded", "f1", 10), ("speed.exceeded", "f1", 70)]
    assert facts[1].data["limit_mps"] == 10
    assert facts[1].data["speed_mps"] == 13


def test_fences_that_share_a_border_hand_a_device_over_in_one_moment() -> None:
    west, east = box(-5, 995), box(995, 2_005)
    _, facts = tell(
        drive(0, -300, n=30), fence(1, west, layer="zones"), fence(2, east, layer="zones")
    )
    assert shown(facts) == [
        ("fence.entered", "f1", 30),
        ("fence.exited", "f1", 130),
        ("fence.entered", "f2", 130),
        ("fence.exited", "f2", 240),
    ]
    assert facts[1].data["layer"] == "zones"


def test_free_fences_that_overlap_do_not_mind_each_other() -> None:
    _, facts = tell(drive(0, 0, n=40), fence(1, box(495, 1_505)), fence(2, box(995, 2_005)))
    assert shown(facts) == [
        ("fence.entered", "f1", 50),
        ("fence.entered", "f2", 100),
        ("fence.exited", "f1", 160),
        ("fence.exited", "f2", 210),
    ]


def test_a_fence_passed_between_two_fixes_is_crossed_and_said_to_be_inferred() -> None:
    story = [fix(0, 0), fix(30, 800), fix(60, 1_600), fix(90, 2_400)]
    _, facts = tell(story, fence(1, box(1_100, 1_300)))
    (crossed,) = facts
    assert (crossed.type, crossed.data["inferred"]) == ("fence.crossed", True)
    assert crossed.time_us == pytest.approx(at(30 + 30 * 400 / 800), abs=2e6)
    assert crossed.data["depth_m"] == pytest.approx(100, abs=2)


def test_nothing_is_inferred_over_a_long_gap_nor_in_a_layer_nor_against_the_fences_will() -> None:
    gap = [fix(0, 0), fix(61, 800), fix(122, 1_600)]
    assert tell(gap, fence(1, box(1_100, 1_300)))[1] == []
    quick = [fix(0, 0), fix(30, 800), fix(60, 1_600)]
    assert tell(quick, fence(1, box(1_100, 1_300), layer="zones"))[1] == []
    assert tell(quick, fence(1, box(1_100, 1_300), crossed=False))[1] == []


def test_a_fence_deleted_under_a_device_is_left_at_that_moment_where_it_was_last_seen() -> None:
    story = [fix(0, 1_500), fix(60, 1_510), fix(300, 1_520), fix(360, 1_530)]
    _, facts = tell(story, fence(1, YARD, to_us=at(200)))
    assert shown(facts) == [("fence.entered", "f1", 0), ("fence.exited", "f1", 200)]
    assert facts[1].data["reason"] == "deleted"
    assert facts[1].data["lon"] == fix(60, 1_510).lon


def test_the_closing_of_a_visit_is_the_same_event_before_and_after_the_next_fix() -> None:
    deleted = fence(1, YARD, dwell_s=100.0, to_us=at(200))
    story = [fix(0, 0), fix(30, 1_490), fix(60, 1_510), fix(300, 1_520)]
    before, _ = tell(story[:3], deleted)
    _, facts = tell(story, deleted)
    closing = deleted_under(before, Terrain(book_of([deleted])).last)
    assert [(f.type, f.time_us, f.data) for f in closing] == [
        (f.type, f.time_us, f.data) for f in facts[1:]
    ]
    assert [f.type for f in closing] == ["fence.dwelled", "fence.exited"]
    assert before == tell(story[:3], deleted)[0], "nothing but told"


def test_a_fence_that_moves_away_is_left_with_the_next_fix() -> None:
    moved = [
        fence(1, YARD, to_us=at(100)),
        fence(1, box(5_000, 6_000), version=2, from_us=at(100)),
    ]
    story = [fix(0, 0), fix(30, 1_500), fix(60, 1_500), fix(120, 1_500), fix(150, 1_500)]
    _, facts = tell(story, *moved)
    assert shown(facts) == [("fence.entered", "f1", 30), ("fence.exited", "f1", 120)]
    assert facts[1].data["fence_version"] == 2


def test_a_fence_edited_under_a_device_that_stays_inside_changes_nothing() -> None:
    grown = [fence(1, YARD, to_us=at(100)), fence(1, box(900, 2_100), version=2, from_us=at(100))]
    story = [fix(0, 0), *[fix(30 * i, 1_500 + i) for i in range(1, 9)]]
    assert shown(tell(story, *grown)[1]) == [("fence.entered", "f1", 30)]


@pytest.mark.parametrize(
    ("who", "told"),
    [
        pytest.param(Who("truck"), False, id="another"),
        pytest.param(Who("van"), True, id="by name"),
        pytest.param(Who("x", frozenset({"north"})), True, id="by group"),
        pytest.param(Who("x", frozenset({"south"}), frozenset({"cold"})), True, id="by tag"),
    ],
)
def test_a_fence_is_there_for_those_it_applies_to(who: Who, told: bool) -> None:  # noqa: FBT001
    audience = Audience(devices=("van",), groups=("north",), tags=("cold",))
    _, facts = tell(drive(0, 0, n=40), fence(1, YARD, applies_to=audience), who=who)
    assert bool(facts) is told


def test_a_fence_is_silent_outside_its_schedule_but_knows_where_the_device_is() -> None:
    # The story begins at 22:13:20 UTC, 23:13:20 in Berlin.
    night = Schedule("Europe/Berlin", (Window("23:15", "06:00"),))
    _, facts = tell(drive(0, 0, n=40), fence(1, YARD, schedule=night))
    assert shown(facts) == [("fence.entered", "f1", 100), ("fence.exited", "f1", 210)]
    later = Schedule("Europe/Berlin", (Window("23:16", "06:00"),))
    _, facts = tell(drive(0, 0, n=40), fence(1, YARD, schedule=later))
    assert shown(facts) == [("fence.exited", "f1", 210)]
    assert facts[0].data["inside_s"] == 110


def test_leaving_the_place_it_should_be_in_is_a_violation() -> None:
    _, facts = tell(drive(0, 1_500, n=20), fence(1, YARD, normal="inside"))
    assert [f.type for f in facts] == ["fence.entered", "fence.exited"]
    assert facts[1].data["violation"] is True


def test_a_device_first_seen_outside_of_where_it_should_be_is_told_at_once() -> None:
    _, facts = tell(drive(0, 0, n=3), fence(1, YARD, normal="inside"))
    assert shown(facts) == [("fence.exited", "f1", 0)]
    assert (facts[0].data["initial"], facts[0].data["violation"]) == (True, True)


def test_fixes_that_are_not_ok_are_not_shown_to_the_fences() -> None:
    story = [fix(0, 0), fix(10, 50), fix(11, 1_500, accuracy_m=5), fix(20, 100), fix(30, 150)]
    assert tell(story, fence(1, YARD))[1] == []


def test_a_device_that_is_nowhere_near_remembers_nothing() -> None:
    state, _ = tell(drive(0, -9_000, n=90), fence(1, YARD))
    assert state.presences == {}
    assert state.fences_key == 0
