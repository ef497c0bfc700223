from datetime import UTC

import pytest

from tracking.errors import InputError
from tracking.times import iso
from waymark.replay.times import TimeParser, zone


@pytest.mark.parametrize(
    ("formats", "local", "text", "expected"),
    [
        pytest.param(
            ["iso"], "UTC", "2015-03-08T01:59:59-06:00", "2015-03-08T07:59:59Z", id="before spring"
        ),
        pytest.param(
            ["iso"], "UTC", "2015-03-08T03:00:00-05:00", "2015-03-08T08:00:00Z", id="after spring"
        ),
        pytest.param(
            ["%d/%m/%Y %H:%M"], "UTC", "20/03/2021 00:22", "2021-03-20T00:22:00Z", id="day first"
        ),
        pytest.param(
            ["%d/%m/%Y %H:%M", "iso"],
            "UTC",
            "2021-03-20T00:22:07",
            "2021-03-20T00:22:07Z",
            id="2nd",
        ),
        pytest.param(
            ["auto"], "Africa/Cairo", "2024-06-01 12:00:00", "2024-06-01T09:00:00Z", id="summer"
        ),
        pytest.param(
            ["auto"], "Europe/London", "2025-10-26 01:30:00", "2025-10-26T00:30:00Z", id="twice"
        ),
        pytest.param(
            ["auto"], "Europe/London", "2025-03-30 01:30:00", "2025-03-30T01:30:00Z", id="never"
        ),
        pytest.param(["auto"], "UTC", "1372636858", "2013-07-01T00:00:58Z", id="seconds"),
        pytest.param(["auto"], "UTC", 1372636858500, "2013-07-01T00:00:58.500Z", id="milliseconds"),
        pytest.param(["epoch_s"], "UTC", "1301806255.0", "2011-04-03T04:50:55Z", id="decimal"),
        pytest.param(["epoch_ms"], "UTC", "1000", "1970-01-01T00:00:01Z", id="early ms"),
    ],
)
def test_times_become_the_same_instant_whatever_they_are_written_in(
    formats: list[str], local: str, text: object, expected: str
) -> None:
    time_us = TimeParser(formats, zone(local))(text)
    assert time_us is not None
    assert iso(time_us) == expected


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2016-13-01T00:00:00Z", "31/02/2021 00:00", "99999999999999999999", "nan"],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert TimeParser(["auto", "%d/%m/%Y %H:%M"])(text) is None


@pytest.mark.parametrize("value", [None, True, [], float("nan"), float("inf")])
def test_what_is_not_even_text_is_none(value: object) -> None:
    assert TimeParser(["auto"])(value) is None


def test_an_instant_with_an_offset_is_understood_whatever_the_format() -> None:
    parser = TimeParser(["%d/%m/%Y %H:%M"])
    assert parser("2021-03-20T00:22:00+00:00") == parser("20/03/2021 00:22")


def test_times_without_a_zone_are_counted() -> None:
    parser = TimeParser(["auto"], UTC)
    parser("2021-03-20 00:22:00")
    parser("2021-03-20 00:22:00Z")
    assert parser.zoneless == 1


def test_an_unknown_zone_or_format_is_the_users_mistake() -> None:
    with pytest.raises(InputError, match="Mars/Olympus"):
        zone("Mars/Olympus")
    with pytest.raises(InputError, match="strptime"):
        TimeParser(["dd/mm/yyyy"])
