"""Why there was no event: what stood between a device and a fence around a moment. Pure."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from geofence.calm import Verdict
from tracking.because import FixTold, clock, counted, fence_fix, metres, not_used, seconds
from tracking.fold import Rules
from tracking.fold.fences import CHORD_MAX_US
from tracking.quality import Quality
from tracking.retrace import Trace, Traced, retrace
from tracking.schedules import open_at
from tracking.store.evidence import AbsenceEvidence, Question
from tracking.store.fence_reads import FenceView
from tracking.times import Stamp, iso, to_us

_TOLD_MAX = 1_000


class Reason(msgspec.Struct, frozen=True):
    """One thing that stood in the way: a code for programs, a sentence for people."""

    code: str
    because: str
    events: list[str] = []


class Before(msgspec.Struct, frozen=True):
    """The state of the fence's machine: the fence the device was in, null for none, since when,
    how often the buffer was widened, and how long a run of fixes beyond the border had become.
    """  # noqa: D205 -- one contract

    inside: str | None
    since: Stamp | None
    widened: int
    run_n: int


class Absence(msgspec.Struct, frozen=True):
    """A device at a fence around a moment, and why nothing was raised.

    `before` is the state ahead of the first fix.
    """

    device: str
    fence: FenceView
    start: Stamp
    end: Stamp
    reasons: list[Reason]
    before: Before | None
    fixes: list[FixTold]
    fixes_omitted: int
    complete: bool
    notes: list[str]


def explain_absence(evidence: AbsenceEvidence, question: Question, rules: Rules) -> Absence:
    """Explain why nothing happened. Folds up to 20,000 fixes, so not in an event loop."""
    trace = retrace(evidence.folded, rules)
    told = [fence_fix(traced, trace) for traced in trace.fixes]
    notes = []
    if not evidence.folded.whole:
        notes.append("the state before is no longer kept: the fold began from nothing")
    if evidence.folded.repair_waits:
        notes.append("the device waits for a repair: late fixes will soon be taken into account")
    return Absence(
        device=question.device,
        fence=evidence.fence,
        start=iso(question.start_us),
        end=iso(question.end_us),
        reasons=list(_Reasons(evidence, question, trace).all()),
        before=_before(trace),
        fixes=told[:_TOLD_MAX],
        fixes_omitted=max(0, len(told) - _TOLD_MAX),
        complete=evidence.folded.whole,
        notes=notes,
    )


def _before(trace: Trace) -> Before | None:
    if not trace.fixes:
        return None
    watch = trace.fixes[0].watch
    if watch is None:
        return Before(None, None, 0, 0)
    inside, since = None, None
    if watch.zone:
        inside, since = trace.names.get(watch.zone), iso(watch.since_us)
    return Before(inside, since, watch.widened, watch.run_n)


class _Reasons:
    def __init__(self, evidence: AbsenceEvidence, question: Question, trace: Trace) -> None:
        self._evidence = evidence
        self._question = question
        self._trace = trace
        self._used = [t for t in trace.fixes if t.used]
        # Fixes that could have meant something to the fence.
        self._asked = [t for t in self._used if t.zone is not None and t.applies]

    def all(self) -> Iterator[Reason]:
        """The most telling first."""
        yield from self._events()
        yield from self._of_the_fence()
        yield from self._of_the_fixes()
        if self._asked:
            yield from self._of_the_layer()
            yield from self._of_the_machine()
            yield from self._of_the_ways()
        yield from self._pending()

    def _pending(self) -> Iterator[Reason]:
        told = {(e.type, e.time_us) for e in self._evidence.events if e.status == "active"}
        start_us, end_us = self._question.start_us, self._question.end_us
        found = [
            fact
            for fact in self._trace.facts
            if fact.rule == self._trace.fence and start_us <= fact.time_us <= end_us
        ]
        for fact in found:
            if (fact.type, fact.time_us) not in told:
                yield Reason(
                    "not_told_yet",
                    f"folding what is stored raises {fact.type} at {clock(fact.time_us)}, which "
                    "no worker has told yet",
                )

    def _events(self) -> Iterator[Reason]:
        for status, code, how in (
            ("active", "event_exists", "there is"),
            ("retracted", "event_retracted", "there was, and it was taken back:"),
        ):
            found = [e for e in self._evidence.events if e.status == status]
            if found:
                listed = ", ".join(f"{e.type} at {clock(e.time_us)}" for e in found)
                yield Reason(code, f"{how} {listed}", [e.id for e in found])

    def _of_the_fence(self) -> Iterator[Reason]:
        versions = self._trace.versions
        at_us = self._question.at_us
        if versions and versions[0].from_us > at_us:
            yield Reason("fence_not_yet", f"the fence holds from {iso(versions[0].from_us)} on")
        last_us = versions[-1].to_us if versions else None
        if last_us is not None and last_us <= at_us:
            yield Reason("fence_deleted", f"the fence ended at {iso(last_us)}")
        strangers = [t for t in self._used if t.zone is not None and not t.applies]
        if strangers:
            yield Reason(
                "not_applicable",
                f"the fence is for some devices only, and {self._question.device} is in none of "
                "its devices, groups and tags",
            )

    def _of_the_fixes(self) -> Iterator[Reason]:
        if not self._trace.fixes:
            before, behind = self._evidence.nearest
            nearest = [
                f"the last {word} is of {iso(to_us(moment))}"
                for word, moment in (("before", before), ("behind", behind))
                if moment is not None
            ]
            told = (
                f"; {'; '.join(nearest).replace('the last behind', 'the next')}" if nearest else ""
            )
            yield Reason("no_fix", f"no fix of that time is stored{told}")
        rejected = [t for t in self._trace.fixes if not t.used]
        for quality, n in sorted(Counter(t.quality for t in rejected).items()):
            example = next(t for t in rejected if t.quality == quality)
            label = Quality(quality).label
            yield Reason("fix_not_used", f"{counted(n, 'fix')} ({label}) {not_used(example)}")

    def _of_the_layer(self) -> Iterator[Reason]:
        for traced in self._asked:
            watch = traced.watch
            assert traced.zone is not None  # noqa: S101 -- of those asked
            if watch is not None and watch.zone not in {0, traced.zone.number}:
                holder = self._trace.names.get(watch.zone, str(watch.zone))
                yield Reason(
                    "in_layer_of",
                    f"at {clock(traced.fix.time_us)} the device was in {holder}, of the same "
                    "layer: it is in one of them at a time, until it is clearly in another",
                )
                return

    def _of_the_machine(self) -> Iterator[Reason]:
        first = self._asked[0]
        assert first.zone is not None  # noqa: S101 -- of those asked
        if first.watch is not None and first.watch.zone == first.zone.number:
            since = iso(first.watch.since_us)
            yield Reason("already_inside", f"the device was inside since {since} already")
        runs = [t for t in self._asked if t.look is not None and t.look.glance.run_n]
        inside = [t for t in self._asked if (t.depth_m or 0.0) > 0.0]
        if not runs and not inside and not (first.watch and first.watch.zone):
            nearest = max(self._asked, key=lambda t: -1e9 if t.depth_m is None else t.depth_m)
            far = metres(-(nearest.depth_m or 0.0))
            yield Reason(
                "outside",
                f"every fix lies outside; the nearest, at {clock(nearest.fix.time_us)}, {far} away",
            )
        yield from self._silenced(runs)
        if any(t.look.glance.verdict != Verdict.NONE for t in runs if t.look is not None):
            return
        if runs:
            yield self._unconvincing(runs)

    def _silenced(self, runs: list[Traced]) -> Iterator[Reason]:
        for traced in runs:
            look, zone = traced.look, traced.zone
            if look is None or zone is None or look.glance.verdict == Verdict.NONE:
                continue
            schedule = zone.fence.options.schedule
            if schedule is not None and not open_at(schedule, traced.run_us):
                way = "left" if traced.watch and traced.watch.zone == zone.number else "entered"
                yield Reason(
                    "out_of_schedule",
                    f"the device {way} at {iso(traced.run_us)}, when the fence's schedule "
                    f"({schedule.time_zone}) has it silent",
                )

    @staticmethod
    def _unconvincing(runs: list[Traced]) -> Reason:
        """Fixes beyond the border that confirmed nothing."""
        glances = [t.look.glance for t in runs if t.look is not None]
        deepest = max(glances, key=lambda glance: glance.away_m - glance.buffer_m)
        longest = max(runs, key=lambda t: t.fix.time_us - t.run_us)
        lasted_s = (longest.fix.time_us - longest.run_us) / 1e6
        n = max(glance.run_n for glance in glances)
        at = clock(deepest.time_us)
        run = f"the longest run had {counted(n, 'fix')} in {seconds(lasted_s)}"
        buffer = metres(deepest.buffer_m)
        if deepest.away_m > deepest.buffer_m:
            return Reason(
                "run_too_short",
                f"the fix at {at} lies {metres(deepest.away_m)} beyond the border, more than the "
                f"buffer of {buffer}, but no other in a row agrees; {run}",
            )
        return Reason(
            "too_shallow",
            f"no fix lies further beyond the border than the buffer: at {at} "
            f"{metres(deepest.away_m)} of {buffer}; {run}, which was not long and deep enough",
        )

    def _of_the_ways(self) -> Iterator[Reason]:
        for traced in self._asked:
            chord, zone = traced.chord, traced.zone
            if chord is None or zone is None:
                continue
            way = (
                f"the straight way to the fix at {clock(traced.fix.time_us)} passes "
                f"{metres(chord.depth_m)} deep through the fence"
            )
            if chord.gap_s > CHORD_MAX_US / 1e6:
                yield Reason(
                    "sampling_gap",
                    f"{way}, but {seconds(chord.gap_s)} lie between the fixes; more than "
                    f"{seconds(CHORD_MAX_US / 1e6)} say nothing about the way taken",
                )
            elif zone.in_layer:
                yield Reason("crossed_off", f"{way}; in a layer nothing is inferred")
            elif not zone.fence.options.crossed:
                yield Reason("crossed_off", f"{way}; the fence asks for nothing to be inferred")
