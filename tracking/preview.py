"""What fences would have raised over a past window, and for whom, without saving anything.

The answer is, event for event and id for id, what live processing raises once the fences are saved
to hold from the window's start: the same fold, over the same history, from the same states.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracking.errors import InputError
from tracking.feed import EventRecord
from tracking.fences import FenceDraft
from tracking.fold import Rules
from tracking.fold.columnar import DeviceFact
from tracking.fold.fences import CHORD_MAX_US
from tracking.fold.presence import load_presences
from tracking.fold.state import load_record
from tracking.fold.terrain import Who
from tracking.preview_book import Hypothesis, suppose
from tracking.preview_fold import Convoy, Member, Window
from tracking.store.connection import Connection, translated
from tracking.store.preview_reads import (
    FIRST_SEQ,
    Near,
    Reach,
    Subject,
    Whom,
    checkpoints_before,
    fences_about,
    first_fixes,
    fixes_near,
    only_reads,
    read_fixes,
)
from tracking.store.repairs import Checkpoint
from tracking.times import EARLIEST_US

Ints = NDArray[np.int64]

MAX_DRAFTS = 1_000
# Devices that are folded together. Rounds of the columnar fold are cheap for many devices at once,
# and their fixes of one hour lie on the same pages of the database.
_TOGETHER = 1_000
# Fixes of one page, 10 MB with all that is made of them: folding one takes some 0.2 s, which is
# how long a preview goes on after its caller has gone.
_PAGE = 40_000
_STEPS_US = (1_000_000, 30 * 86_400_000_000)
_FIRST_STEP_US = 300_000_000
_PROGRESS_EVERY_S = 0.5


class Progress(msgspec.Struct, frozen=True):
    """How far a preview is."""

    devices_done: int
    devices: int
    fixes: int  # folded
    seconds: float


class Summary(msgspec.Struct, frozen=True):
    """What a preview came to; the last it tells."""

    fences: list[str]
    events: dict[str, int]
    devices: int
    fixes: int
    seconds: float
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Question:
    """Drafts, new or of fences that are there, and over whose history: all devices, or some."""

    tenant: str
    tenant_id: int
    drafts: Sequence[FenceDraft]
    start_us: int
    end_us: int
    devices: tuple[str, ...] | None = None


@dataclass(slots=True)
class Preview:
    """A question made ready to be answered, once, over a connection of its own."""

    conn: Connection
    question: Question
    rules: Rules
    hypothesis: Hypothesis
    _whom: Whom
    _notes: list[str]
    _started_s: float = field(default_factory=time.monotonic)
    _told: Counter[str] = field(default_factory=Counter)
    _fixes: int = 0

    @classmethod
    async def prepare(cls, conn: Connection, question: Question, rules: Rules) -> Self:
        """Read the fences concerned; the connection reads only from here on.

        Raises:
            InputError: the question has no answer; `field` names what is wrong.
            StoreUnavailable: the database is away.
        """
        _check(question)
        with translated():
            await only_reads(conn)
            layers = {draft.options.layer for draft in question.drafts} - {None}
            stored = await fences_about(
                conn,
                question.tenant_id,
                [draft.id for draft in question.drafts],
                [layer for layer in layers if layer is not None],
            )
            hypothesis = await asyncio.to_thread(
                suppose, question.drafts, stored, question.start_us
            )
            whom = Whom(
                question.tenant,
                question.tenant_id,
                question.devices,
                hypothesis.audiences,
                question.start_us,
            )
            unknown = await whom.unknown(conn)
        notes = [*hypothesis.notes, *(f"there is no device {name!r}" for name in unknown)]
        return cls(conn, question, rules, hypothesis, whom, notes)

    async def run(self) -> AsyncIterator[Progress | EventRecord | Summary]:
        """Progress now and then, events as they are found, those of one device in order of their
        confirmation, and at last the summary.

        Raises:
            StoreUnavailable: the database went away.
        """  # noqa: D205 -- one contract
        with translated():
            total = await self._whom.count(self.conn)
            done = after_id = 0
            yield self._progress(done, total)
            shown_s = time.monotonic()
            while subjects := await self._whom.page(self.conn, after_id, _TOGETHER):
                after_id = subjects[-1].device.device_id
                trail = await _set_out(self.conn, self.hypothesis, self._window, subjects)
                convoy = Convoy(trail.members, self.hypothesis, self._window, self.rules)
                idle = len(subjects) - len(trail.members)
                async for facts in trail.follow(self.conn, convoy):
                    for event in self._events(trail, facts):
                        yield event
                    if time.monotonic() - shown_s >= _PROGRESS_EVERY_S:
                        shown_s = time.monotonic()
                        fixes = self._fixes + trail.fixes
                        yield self._progress(done + idle + trail.arrived, total, fixes)
                self._fixes += trail.fixes
                done += len(subjects)
            yield self._progress(done, max(done, total))
        yield self._summary(done)

    @property
    def _window(self) -> Window:
        return Window(self.question.start_us, self.question.end_us)

    def _seconds(self) -> float:
        return round(time.monotonic() - self._started_s, 3)

    def _progress(self, done: int, total: int, fixes: int | None = None) -> Progress:
        return Progress(done, total, self._fixes if fixes is None else fixes, self._seconds())

    def _summary(self, devices: int) -> Summary:
        ids = [draft.id for draft in self.question.drafts]
        told = dict(sorted(self._told.items()))
        return Summary(ids, told, devices, self._fixes, self._seconds(), self._notes)

    def _events(self, trail: "_Trail", facts: list[DeviceFact]) -> Iterator[EventRecord]:
        now_us = round(time.time() * 1e6)
        for i, fact in facts:
            happened = trail.subjects[i].device.of_fact(fact)
            self._told[fact.type] += 1
            yield EventRecord(
                id=str(happened.id),
                tenant=happened.tenant,
                type=happened.type,
                subject=happened.subject,
                time_us=happened.time_us,
                recorded_at_us=now_us,
                revision=1,
                status=happened.status,
                late=False,
                cursor=0,
                data=happened.data,
            )


def new_id() -> str:
    """An id for a draft that has none; saved under it, the fence raises what was told."""
    return secrets.token_hex(8)


def _check(question: Question) -> None:
    if question.start_us >= question.end_us:
        raise InputError("start: it is not before `end`", field="start")
    if not question.drafts:
        raise InputError("fences: give at least one", field="fences")
    if len(question.drafts) > MAX_DRAFTS:
        raise InputError(f"fences: at most {MAX_DRAFTS:,} at a time", field="fences")
    seen: set[str] = set()
    for i, draft in enumerate(question.drafts):
        if draft.id in seen:
            where = f"fences[{i}].id"
            raise InputError(f"{where}: {draft.id!r} is there twice", field=where)
        seen.add(draft.id)


class _Trail:
    """The devices of one convoy that may have something to tell, and how far each has come."""

    def __init__(
        self, subjects: Sequence[Subject], begins: Sequence[Checkpoint], until_us: Sequence[int]
    ) -> None:
        self.subjects = subjects
        self.members = [
            Member(
                Who(subject.device.name, subject.groups, subject.tags), begin.fold, begin.presences
            )
            for subject, begin in zip(subjects, begins, strict=True)
        ]
        self.fixes = 0
        self.arrived = 0
        self._device_id = np.array([subject.device.device_id for subject in subjects], np.int64)
        self._newest_us = np.array([subject.newest_us for subject in subjects], np.int64)
        self._after_us = np.array([begin.time_us for begin in begins], np.int64)
        self._seq = np.array([begin.seq for begin in begins], np.int64)
        self._until_us = np.maximum(np.array(until_us, np.int64), self._after_us + 1)
        self._going = np.ones(len(subjects), np.bool_)

    async def follow(self, conn: Connection, convoy: Convoy) -> AsyncIterator[list[DeviceFact]]:
        """Fold the devices' fixes page by page; what each tells."""
        least_us, most_us = _STEPS_US
        step_us = _FIRST_STEP_US
        while len(going := np.flatnonzero(self._going)):
            until_us = np.minimum(self._after_us[going] + step_us, self._until_us[going])
            reach = Reach(
                going, self._device_id[going], self._after_us[going], self._seq[going], until_us
            )
            # Of the shortest step all is taken, however much it is.
            page = await read_fixes(conn, reach, _PAGE if step_us > least_us else 2**31)
            if page is None:
                step_us = max(step_us // 4, least_us)
                continue
            facts = await asyncio.to_thread(convoy.fold, page) if len(page) else []
            self.fixes += len(page)
            self._after_us[going], self._seq[going] = until_us, FIRST_SEQ
            self._arrive(convoy, going[until_us >= self._until_us[going]], step_us)
            growth = 0.7 * _PAGE / max(len(page), 1)
            step_us = min(max(int(step_us * min(growth, 4.0)), least_us), most_us)
            yield facts

    def _arrive(self, convoy: Convoy, devices: Ints, step_us: int) -> None:
        """End the way of devices that have nothing more to tell; the others go on."""
        until_us, newest_us = self._until_us[devices], self._newest_us[devices]
        pending = np.fromiter(convoy.still_pending(devices), np.bool_, len(devices))
        pending &= newest_us >= until_us
        self._until_us[devices] = np.minimum(until_us + step_us, newest_us + 1)
        self._going[devices] = pending
        self.arrived += int((~pending).sum())


async def _set_out(
    conn: Connection, hypothesis: Hypothesis, window: Window, subjects: Sequence[Subject]
) -> _Trail:
    """Leave out whoever cannot have an event, and find where to begin with each of the others.

    A device that never was near a fence has no event about it. One that may be in a fence from
    before the window, or may meet neighbours of a layer, is folded from the last checkpoint before
    the window; any other from the last one before it came near.
    """
    device_id = np.array([subject.device.device_id for subject in subjects], np.int64)
    starts_us = np.full(len(subjects), window.start_us)
    begins = _readable(await checkpoints_before(conn, device_id, starts_us))
    inside = _inside(begins, hypothesis)
    since_us = starts_us - CHORD_MAX_US
    if hypothesis.edits:
        # Between the checkpoint and the window it may have entered the fence as it was.
        known_us = [begins[i].time_us if i in begins else EARLIEST_US for i in range(len(subjects))]
        since_us = np.minimum(since_us, np.array(known_us, np.int64))
    since_us = np.maximum(since_us, EARLIEST_US)
    near = await fixes_near(
        conn, device_id, since_us, window.end_us + CHORD_MAX_US, hypothesis.bounds
    )
    if not (hypothesis.layered or hypothesis.homes):
        ahead = [i for i in sorted(near) if i not in inside and near[i].first_us > window.start_us]
        first_us = np.array([near[i].first_us for i in ahead], np.int64)
        found = _readable(await checkpoints_before(conn, device_id[ahead], first_us))
        begins |= {ahead[i]: begin for i, begin in found.items()}
    everyone = range(len(subjects)) if hypothesis.homes else ()
    concerned = sorted({*near, *inside, *everyone})
    unbegun = [i for i in concerned if i not in begins]
    for i, time_us in (await first_fixes(conn, device_id[unbegun])).items():
        begins[unbegun[i]] = Checkpoint(time_us, FIRST_SEQ, None, None)
    chosen = [i for i in concerned if i in begins]
    return _Trail(
        [subjects[i] for i in chosen],
        [begins[i] for i in chosen],
        [_until_us(near.get(i), window) for i in chosen],
    )


def _readable(checkpoints: dict[int, Checkpoint]) -> dict[int, Checkpoint]:
    """Those whose state this code can read; without one a device is folded from its first fix."""
    usable = [load_record(checkpoint.fold) is not None for checkpoint in checkpoints.values()]
    return dict(compress(checkpoints.items(), usable))


def _inside(begins: dict[int, Checkpoint], hypothesis: Hypothesis) -> set[int]:
    """The devices that were in one of the drafts' fences at their checkpoints."""
    numbers = hypothesis.numbers
    return {
        i
        for i, begin in begins.items()
        if any(watch.zone in numbers for watch in load_presences(begin.presences).values())
    }


def _until_us(near: Near | None, window: Window) -> int:
    """How far a device must be followed at least: its way out of what it was near to counts."""
    return window.start_us + 1 if near is None else near.last_us + CHORD_MAX_US + 1
