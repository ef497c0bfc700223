import time
from pathlib import Path

import pytest

from tests.unit.replay.support import replayed, written
from tracking.errors import InputError
from waymark.replay.dispatch import TableOptions
from waymark.replay.progress import Progress
from waymark.replay.session import Plan, Preview, Replay, shift_to
from waymark.replay.source import find
from waymark.replay.times import TimeParser

HEADER = "device,t,lon,lat\n"
UNSORTED = (
    HEADER
    + "a,1700000020,1,1\n"
    + "b,1700000000,1,1\n"
    + "b,never,2,2\n"
    + "a,1700000010,1,1\n"
    + "a,0,3,3\n"
)


def order(path: Path, plan: Plan) -> list[tuple[str, object]]:
    return [
        (topic.split("/")[2], message.get("t")) for topic, message in replayed(path, plan=plan)[0]
    ]


def test_rows_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", UNSORTED)
    assert [device for device, _ in order(path, Plan())] == ["a", "b", "b", "a", "a"]


def test_sorted_rows_without_a_usable_time_stay_behind_the_row_before_them(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", UNSORTED)
    assert order(path, Plan(sort_by_time=True)) == [
        ("b", "2023-11-14T22:13:20Z"),
        ("b", "never"),
        ("a", "2023-11-14T22:13:30Z"),
        ("a", "1970-01-01T00:00:00Z"),
        ("a", "2023-11-14T22:13:40Z"),
    ]


def test_several_files_are_merged_by_time_when_sorted(tmp_path: Path) -> None:
    first = written(tmp_path, "1.csv", HEADER + "a,1700000001,1,1\na,1700000003,1,1\n")
    second = written(tmp_path, "2.csv", HEADER + "b,1700000002,1,1\n")
    preview = Preview(10)
    plan = Plan(sort_by_time=True)
    Replay(
        find([first, second]), TableOptions(), plan, preview, progress=Progress(shown=False)
    ).run()
    assert [topic for topic, _ in preview.messages] == [
        f"wm/default/{device}/pos" for device in "aba"
    ]


def test_the_prefix_and_tenant_go_into_the_topic(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", HEADER + "7,1700000001,1,1\n")
    messages, _ = replayed(path, plan=Plan(tenant="acme", device_prefix="bus "))
    assert messages[0][0] == "wm/acme/bus_7/pos"


def test_a_pace_follows_the_fix_times(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", HEADER + "a,1700000002,1,1\na,1700000000,1,1\n")
    began = time.monotonic()
    messages, _ = replayed(path, plan=Plan(speed=20))
    assert 0.1 <= time.monotonic() - began < 5
    assert [message["t"] for _, message in messages] == [
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:22Z",
    ]


@pytest.mark.parametrize(
    ("speed", "first_us", "last_us"),
    [
        pytest.param(1.0, 1_000, 1_100, id="the first fix is now"),
        pytest.param(0.5, 1_000, 1_100, id="slower: the first fix is now"),
        pytest.param(None, 900, 1_000, id="at once: the last fix is now"),
        pytest.param(10.0, 910, 1_010, id="faster: the last fix is now when it is published"),
    ],
)
def test_shifted_fixes_are_never_ahead_of_the_clock(
    speed: float | None, first_us: int, last_us: int
) -> None:
    shift_us = shift_to(1_000, 50_000, 50_100, speed)
    assert (50_000 + shift_us, 50_100 + shift_us) == (first_us, last_us)


def test_shifting_keeps_the_time_between_fixes(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", UNSORTED)
    before_us = time.time_ns() // 1_000
    messages, tally = replayed(path, plan=Plan(shift_to_now=True))
    parse = TimeParser(["iso"])
    times = [parse(messages[index][1]["t"]) for index in (0, 1, 3)]
    last_us = times[0]
    assert last_us is not None
    assert before_us <= last_us <= time.time_ns() // 1_000
    assert times == [last_us, last_us - 20_000_000, last_us - 10_000_000]
    assert messages[2][1]["t"] == "never"
    assert tally.last_us == last_us


def test_a_stop_ends_the_replay_and_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", HEADER + "a,1700000001,1,1\n" * 10)
    preview = Preview(100)
    run = Replay(
        find([path]),
        TableOptions(),
        Plan(),
        preview,
        progress=Progress(shown=False),
        stop=lambda: len(preview.messages) >= 3,
    )
    run.run()
    assert len(preview.messages) == 3
    assert run.tally.summary()["complete"] is False


def test_a_wrong_header_in_any_file_is_found_before_the_first_message(tmp_path: Path) -> None:
    good = written(tmp_path, "1.csv", HEADER + "a,1700000001,1,1\n")
    bad = written(tmp_path, "2.csv", "x,y\n1,2\n")
    preview = Preview(10)
    run = Replay(find([good, bad]), TableOptions(), Plan(), preview, progress=Progress(shown=False))
    with pytest.raises(InputError, match=r"2\.csv"):
        run.check_headers()
    assert preview.messages == []
