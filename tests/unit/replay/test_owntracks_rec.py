from pathlib import Path

from tests.unit.replay.support import replayed, rows_of, written
from waymark.replay.dispatch import TableOptions
from waymark.replay.reading import SkipReason

FRONT = "2026-01-01T00:00:09Z\t*                 \t"
LOCATION = '{"_type":"location","tst":1767225600,"lon":4.5,"lat":52.5,"vel":36,"cog":90,"acc":5,'
FULL = FRONT + LOCATION + '"alt":7,"batt":50,"tid":"NE"}\n'


def test_a_location_keeps_its_fix_time_and_comes_in_our_units(tmp_path: Path) -> None:
    messages, _ = replayed(written(tmp_path, "phone.rec", FULL))
    assert messages == [
        (
            "wm/default/phone/pos",
            {
                "t": "2026-01-01T00:00:00Z",
                "lon": 4.5,
                "lat": 52.5,
                "alt_m": 7,
                "speed_mps": 10.0,
                "course_deg": 90,
                "accuracy_m": 5,
                "battery": 0.5,
                "attrs": {"tid": "NE"},
            },
        )
    ]


def test_minus_one_is_unknown_and_a_time_may_be_text(tmp_path: Path) -> None:
    line = (
        FRONT + '{"_type":"location","tst":"1767225600","lon":4.5,"lat":52.5,"vel":-1,"cog":-1}\n'
    )
    messages, tally = replayed(written(tmp_path, "phone.rec", line))
    assert messages[0][1] == {"t": "2026-01-01T00:00:00Z", "lon": 4.5, "lat": 52.5}
    assert not tally.faults


def test_last_wills_blank_and_broken_lines_are_skipped_with_their_number(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "phone.rec",
        FULL + FRONT + '{"_type":"lwt","tst":"1"}\n' + "\n" + FRONT + '{"_type":"loc\n' + "what\n",
    )
    assert [(row.number, row.skipped) for row in rows_of(path)] == [
        (1, None),
        (2, SkipReason.NOT_A_POSITION),
        (3, SkipReason.EMPTY),
        (4, SkipReason.BROKEN_LINE),
        (5, SkipReason.BROKEN_LINE),
    ]


def test_the_device_comes_from_the_option_else_the_topic_else_the_folders(tmp_path: Path) -> None:
    topic = FULL.replace('"tid"', '"topic":"owntracks/jane/watch","tid"')
    folder = tmp_path / "rec" / "jane" / "phone"
    folder.mkdir(parents=True)
    path = written(folder, "2026-01.rec", FULL + topic)
    assert [name for name, _ in replayed(path)[0]] == [
        "wm/default/jane:phone/pos",
        "wm/default/jane:watch/pos",
    ]
    assert {name for name, _ in replayed(path, TableOptions(device="me"))[0]} == {
        "wm/default/me/pos"
    }
