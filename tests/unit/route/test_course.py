"""Following parts of custody: late fixes, laggards and other plans end as if all came in order."""

import random
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.custody import FOR_EVER_US
from tracking.route import course as course_module
from tracking.route.course import (
    BEFORE_ALL,
    Course,
    News,
    Part,
    Span,
    advanced,
    replanned,
    rewound,
)
from tracking.route.follow import Fix, Thresholds
from tracking.route.line import Line


@pytest.fixture(autouse=True, scope="module")
def _kept_often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course_module, "_KEEP_EVERY", 20)
        yield


LINE = Line.of([(5.0, 0.0), (5.2, 0.0)])
USUAL = Thresholds(150.0, 75.0, 3, 5)
SPANS = [Span(1, 0, 2_000), Span(2, 2_000, 3_500), Span(1, 4_000, FOR_EVER_US)]
PAGE = 60
_courses = msgspec.msgpack.Decoder(Course)


def on_the_way(seed: int, n: int = 150) -> list[Fix]:
    """Fixes of two devices that turn, stray and come back, whoever carries it when."""
    rng = random.Random(seed)
    east, north, ahead = 0.0, 0.0, 1.0
    fixes = []
    for i in range(n):
        ahead = -ahead if rng.random() < 0.05 else ahead
        east = min(max(east + ahead * 0.001, 0.0), 0.2)
        north = 0.003 if 0.3 < (i / 50) % 1.0 < 0.6 else 0.0
        device = 1 if i % 3 else 2
        fixes.append(Fix(30 * i, i, str(device), 5.0 + east, north, 8.0))
    return fixes


class Roads:
    """The fixes that have arrived, and a follower of them that remembers only its course."""

    def __init__(self, spans: list[Span]) -> None:
        self.course = Course.of(spans)
        self._known: dict[str, list[Fix]] = {"1": [], "2": []}

    def arrive(self, fix: Fix) -> None:
        """A fix behind its device's last one is late, and makes the course go back."""
        known = self._known[fix.device]
        late = bool(known) and fix.key < known[-1].key
        known.append(fix)
        known.sort()
        if late:
            self.course = rewound(self.course, fix.time_us)

    def follow(self) -> None:
        """Take up all there is, page by page."""
        while True:
            news = [self._news(part) for part in self.course.parts]
            self.course, whole = advanced(self.course, LINE, USUAL, news)
            self.course = _courses.decode(msgspec.msgpack.encode(self.course))
            if whole:
                return

    def _news(self, part: Part) -> News:
        known = self._known[str(part.device_id)]
        new = [fix for fix in known if part.seen < fix.key and fix.time_us < part.to_us]
        head = known[-1].key if known else BEFORE_ALL
        return News(new[:PAGE], head, len(new) < PAGE)


def in_order(fixes: list[Fix], spans: list[Span]) -> Course:
    """What comes of it when nothing is late."""
    roads = Roads(spans)
    for fix in fixes:
        roads.arrive(fix)
    roads.follow()
    return roads.course


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1_000), st.data())
def test_any_order_of_arrival_ends_in_the_same_course(seed: int, data: st.DataObject) -> None:
    fixes = on_the_way(seed)
    rng = random.Random(data.draw(st.integers(0, 1_000)))
    # Some are late by a little, one device perhaps by much.
    lag = data.draw(st.sampled_from([0, 500, 10_000]))
    order = sorted(
        fixes, key=lambda f: f.time_us + rng.expovariate(1 / 40) + (lag if f.device == "1" else 0)
    )
    roads = Roads(SPANS)
    for fix in order:
        roads.arrive(fix)
        if rng.random() < 0.05:
            roads.follow()
    roads.follow()
    expected = in_order(fixes, SPANS)
    assert roads.course.now == expected.now
    assert roads.course.transitions == expected.transitions
    assert roads.course.transitions


def test_a_device_that_tells_after_its_successor_where_it_was_is_taken_up_before_it() -> None:
    fixes = on_the_way(5)
    roads = Roads(SPANS)
    for device in ("2", "1"):
        for fix in fixes:
            if fix.device == device:
                roads.arrive(fix)
        roads.follow()
    expected = in_order(fixes, SPANS)
    assert (roads.course.now, roads.course.transitions) == (expected.now, expected.transitions)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1_000), st.integers(0, 150), st.integers(500, 3_000))
def test_who_carried_it_may_be_corrected_at_any_time(seed: int, known: int, moved_us: int) -> None:
    fixes = on_the_way(seed)
    others = [Span(1, 0, moved_us), Span(2, moved_us, 3_200), Span(1, 3_200, FOR_EVER_US)]
    roads = Roads(SPANS)
    for fix in fixes[:known]:
        roads.arrive(fix)
    roads.follow()
    roads.course = replanned(roads.course, others)
    for fix in fixes[known:]:
        roads.arrive(fix)
    roads.follow()
    expected = in_order(fixes, others)
    assert (roads.course.now, roads.course.transitions) == (expected.now, expected.transitions)


def test_a_late_fix_costs_what_lies_behind_it_and_not_the_whole_way() -> None:
    fixes = on_the_way(3)
    roads = Roads([Span(1, 0, FOR_EVER_US)])
    for fix in fixes:
        roads.arrive(fix._replace(device="1"))
    roads.follow()
    behind = rewound(roads.course, fixes[140].time_us)
    assert behind.now.upto == fixes[139].key
    assert behind.transitions == roads.course.transitions[: len(behind.transitions)]
    assert rewound(roads.course, 0).now.upto == BEFORE_ALL
    assert replanned(roads.course, [Span(1, 0, FOR_EVER_US)]) is roads.course
    # An end that lies ahead takes nothing back.
    ended = replanned(roads.course, [Span(1, 0, 9_000)])
    assert ended.now == roads.course.now
