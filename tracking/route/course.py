"""How far a shipment's fixes were followed along its way, and going back where history changed.

Pure. The fixes are those of whoever carried it, part by part. What is folded is kept at intervals,
so a late fix costs what lies behind it and not the whole way.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from tracking.fold.state import NEVER
from tracking.route.follow import Fix, Following, Thresholds, Transition, follow
from tracking.route.line import Line

Key = tuple[int, int]  # time_us, seq of a fix

BEFORE_ALL: Key = (NEVER, NEVER)
# At ten seconds a fix: every half an hour, three hours back.
_KEEP_EVERY, _KEPT = 200, 6


class Span(NamedTuple):
    """A time in which a device, by its number, carries it."""

    device_id: int
    from_us: int
    to_us: int


class Part(msgspec.Struct, frozen=True, array_like=True):
    """A span, and the key up to which its fixes were taken up."""

    device_id: int
    from_us: int
    to_us: int
    seen: Key

    @classmethod
    def of(cls, span: Span) -> "Part":
        """One that nothing was taken up of."""
        return cls(*span, (span.from_us, NEVER))

    @property
    def span(self) -> Span:
        """Whose it is and when."""
        return Span(self.device_id, self.from_us, self.to_us)

    @property
    def closed(self) -> bool:
        """Whether it has no fix to come that is not late."""
        return self.seen[0] >= self.to_us


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """The fold as it was after a fix."""

    upto: Key = BEFORE_ALL
    state: Following = Following()


class Course(msgspec.Struct, frozen=True):
    """The fold of a shipment's fixes so far; `since_kept` counts fixes since it was last kept."""

    parts: tuple[Part, ...]
    now: Kept = Kept()
    transitions: tuple[Transition, ...] = ()
    kept: tuple[Kept, ...] = ()
    since_kept: int = 0

    @classmethod
    def of(cls, spans: Sequence[Span]) -> "Course":
        """One that nothing was followed of."""
        return cls(tuple(map(Part.of, spans)))

    @property
    def closed(self) -> bool:
        """Whether nothing is to come but late fixes."""
        return all(part.closed for part in self.parts)


class News(NamedTuple):
    """Of one part: the fixes behind those taken up, and the last one its device had by then.

    `whole` tells that there are no more. `head` may be older than the fixes, never newer.
    """

    fixes: Sequence[Fix]
    head: Key
    whole: bool


def advanced(
    course: Course, line: Line, thresholds: Thresholds, news: Sequence[News]
) -> tuple[Course, bool]:
    """Take up what is new of each part; whether that was all there is.

    A device that lags behind its successor makes it go back; then it is to be asked again.
    """
    fixes: list[Fix] = []
    parts: list[Part] = []
    whole = True
    for part, new in zip(course.parts, news, strict=True):
        # What comes after a part that is not read to its end is not next.
        parts.append(_seen(part, new) if whole else part)
        if whole:
            fixes += new.fixes
            whole = new.whole
    if fixes and fixes[0].key <= course.now.upto:
        return rewound(course, fixes[0].time_us), False
    state, transitions, kept = course.now.state, list(course.transitions), list(course.kept)
    since = course.since_kept
    for fix in fixes:
        state, told = follow(line, thresholds, state, fix)
        transitions += told
        since += 1
        if since >= _KEEP_EVERY:
            since = 0
            kept = [*kept, Kept(fix.key, state)][-_KEPT:]
    upto = fixes[-1].key if fixes else course.now.upto
    found = Course(tuple(parts), Kept(upto, state), tuple(transitions), tuple(kept), since)
    return found, whole


def _seen(part: Part, new: News) -> Part:
    seen = max(part.seen, new.fixes[-1].key if new.fixes else BEFORE_ALL)
    if new.whole:
        # All of its device up to there was read; what comes earlier still is late, and told so.
        seen = max(seen, min(new.head, (part.to_us, NEVER)))
    return msgspec.structs.replace(part, seen=seen)


def rewound(course: Course, to_us: int) -> Course:
    """The course as it was before `to_us`, or at the last fix before it that was kept."""
    before = (to_us, NEVER)
    kept = tuple(one for one in course.kept if one.upto < before)
    now = course.now if course.now.upto < before else (kept[-1] if kept else Kept())
    return Course(
        parts=tuple(
            msgspec.structs.replace(part, seen=min(part.seen, max(now.upto, (part.from_us, NEVER))))
            for part in course.parts
        ),
        now=now,
        transitions=tuple(one for one in course.transitions if one.confirmed <= now.upto),
        kept=kept,
        since_kept=course.since_kept if now is course.now else 0,
    )


def replanned(course: Course, spans: Sequence[Span]) -> Course:
    """The course with other parts, gone back to where they begin to differ."""
    of = {part.span[:2]: part for part in course.parts}
    differ_us = None
    for old, new in zip_longest((part.span for part in course.parts), spans):
        if old == new:
            continue
        if old is not None and new is not None and old[:2] == new[:2]:
            differ_us = min(old.to_us, new.to_us)
        else:
            differ_us = min(span.from_us for span in (old, new) if span is not None)
        break
    if differ_us is None:
        return course
    parts = [
        msgspec.structs.replace(of[span[:2]], to_us=span.to_us) if span[:2] in of else Part.of(span)
        for span in spans
    ]
    return rewound(msgspec.structs.replace(course, parts=tuple(parts)), differ_us)
