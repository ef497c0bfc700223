"""One target at work: reads its letters, sends what its line lets go, tells what came of it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from deliver.line import HEAD_PAGE, MAX_IN_FLIGHT, Aside, Entry, Head, Line, Outcome, Work
from deliver.logs import Log, Page
from tracking.feed import decode_event
from tracking.store.dispatch import (
    ASIDES_AT_ONCE,
    Note,
    Progress,
    StoredAside,
    StoredHead,
    Taken,
)
from tracking.times import iso
from tracking.webhooks import Letter, Matcher, Secrets, Webhook

Send = Callable[[Webhook, Secrets, Letter], Awaitable[Outcome]]

# Channels have limits of their own, and a request of theirs occupies a thread.
_CHANNEL_IN_FLIGHT = 2
_GIVEN_UP = "every try has failed for three days"
_GONE = "the endpoint answered 410 Gone"


class Endpoint:
    """A target that is ours. `run` is a task; it ends by `stop`, or by being cancelled.

    `changed` is called when there is something to write down; `may_send` tells whether the
    target is still ours for sure.
    """

    def __init__(
        self,
        taken: Taken,
        secrets: Secrets,
        log: Log,
        send: Send,
        *,
        changed: Callable[[], None],
        may_send: Callable[[], bool],
    ) -> None:
        self.taken = taken
        self._held_since_s = time.monotonic()
        self._idle_since_s: float | None = None
        self._secrets = secrets
        self._log = log
        self._send_one = send
        self._changed = changed
        self._may_send = may_send
        self._matcher = Matcher(taken.webhook.id, taken.webhook.filter)
        channel = taken.webhook.kind == "apprise"
        self.line = Line(
            taken.cursor,
            [Head(*head) for head in taken.heads],
            [_aside(aside) for aside in taken.asides],
            failures=taken.failures,
            failing_since_us=taken.failing_since_us,
            max_per_s=taken.webhook.max_per_s,
            in_flight=_CHANNEL_IN_FLIGHT if channel else MAX_IN_FLIGHT,
        )
        self._more_asides = len(taken.asides) == ASIDES_AT_ONCE
        self._stopping = False
        self._reading = False
        self._wake = asyncio.Event()

    @property
    def held_s(self) -> float:
        """For how long it has been ours."""
        return time.monotonic() - self._held_since_s

    @property
    def idle_s(self) -> float:
        """For how long it has had nothing to do."""
        return 0.0 if self._idle_since_s is None else time.monotonic() - self._idle_since_s

    @property
    def ended(self) -> bool:
        """Whether it has nothing to do any more: disabled, or to be taken anew."""
        return self._stopping or (self._more_asides and not self.line.asides)

    def wake(self) -> None:
        """Look again."""
        self._wake.set()

    def stop(self) -> None:
        """Start nothing more; `run` returns when what is under way is settled."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped."""
        self._log.listeners.add(self.wake)
        try:
            async with asyncio.TaskGroup() as tasks:
                while not self.ended or self.line.in_flight:
                    self._wake.clear()
                    now_us = _now_us()
                    if not self.ended:
                        self._start(tasks, now_us)
                    self._mark_idle()
                    await self._wait(now_us)
        finally:
            self._log.listeners.discard(self.wake)

    def progress(self, *, always: bool = False) -> Progress | None:
        """What is to be written down since the last call; None if nothing is."""
        line = self.line
        cursor = line.cursor
        changes = line.take_changes()
        disabled = _GONE if line.gone else _GIVEN_UP if line.given_up(_now_us()) else None
        if self._stopping:
            disabled = None
        if changes is None and not always and disabled is None:
            return None
        entries, superseded, heads, rejoined = changes or ([], [], [], [])
        if disabled is not None:
            self.stop()
        due_us = line.due_us
        if self._more_asides and due_us is None:
            due_us = _now_us()
        return Progress(
            taken=self.taken,
            cursor=cursor,
            due_us=due_us,
            failures=line.failures,
            failing_since_us=line.failing_since_us,
            last_success_us=line.last_success_us,
            last_failure=line.last_failure,
            notes=_notes(entries),
            superseded=superseded,
            heads=[
                StoredHead(h.subject, h.cursor, h.message, h.tries, h.started_us, h.due_us)
                for h in heads
            ],
            rejoined=rejoined,
            disabled=disabled,
        )

    def _start(self, tasks: asyncio.TaskGroup, now_us: int) -> None:
        for head in self.line.to_read(now_us):
            tasks.create_task(self._read_head(head))
        end = self._log.head
        if not self._reading and self.line.room and end is not None and self.line.read_upto < end:
            self._reading = True
            tasks.create_task(self._read_log())
        # Whoever may not be the only one any more starts nothing; the next renewal decides.
        while self._may_send() and (work := self.line.next(now_us)) is not None:
            tasks.create_task(self._send(work))

    async def _wait(self, now_us: int) -> None:
        wakes_us = None if self.ended else self.line.wakes_us(now_us)
        delay_s = None if wakes_us is None else (wakes_us - now_us) / 1e6
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def _mark_idle(self) -> None:
        end = self._log.head
        behind = end is None or (self.line.read_upto < end and not self.line.down)
        if not self.line.idle or self._reading or behind:
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = time.monotonic()

    async def _read_log(self) -> None:
        try:
            page = await self._log.after(self.line.read_upto)
            room = self.line.room
            letters: list[Letter] = []
            covered = page.covered
            for letter in page.letters:
                if len(letters) >= room:
                    covered = letter.record.cursor - 1
                    break
                if self._matcher.wants(letter):
                    letters.append(letter)
            self.line.offer(letters, covered)
        finally:
            self._reading = False
            self._wake.set()
        self._changed()

    async def _read_head(self, head: Head) -> None:
        page = Page([], head.cursor)
        upto = self.line.read_upto
        while not page.letters and page.covered < upto:
            found = await self._log.of_subject(head.subject, page.covered, upto, HEAD_PAGE)
            page = Page([one for one in found.letters if self._matcher.wants(one)], found.covered)
        self.line.supply(head, page.letters, page.covered)
        self._wake.set()
        self._changed()

    async def _send(self, work: Work) -> None:
        outcome = await self._send_one(self.taken.webhook, self._secrets, work.letter)
        self.line.settle(work, outcome, random.random())  # noqa: S311 -- jitter, not a secret
        self._wake.set()
        self._changed()


def _aside(stored: StoredAside) -> Aside:
    record = stored.record or decode_event((stored.body or "").encode())
    return Aside(Letter.of(record), stored.tries, stored.started_us, stored.due_us)


def _notes(entries: list[Entry]) -> list[Note]:
    """One note for each message, in the state of its last entry."""
    notes: dict[str, Note] = {}
    for entry in entries:
        record, outcome = entry.letter.record, entry.outcome
        attempt: dict[str, object] = {
            "at": iso(outcome.at_us),
            "status": outcome.status,
            "latency_ms": outcome.latency_ms,
            "error": outcome.error,
            "response": outcome.response,
        }
        message = entry.letter.message
        before = notes.get(message)
        notes[message] = Note(
            message,
            # What is in no log has no cursor.
            record.id if record.cursor else None,
            record.type,
            record.subject,
            entry.state,
            entry.tries,
            entry.started_us,
            entry.due_us,
            outcome.at_us,
            [*(before.attempts if before else ()), attempt],
        )
    return list(notes.values())


def _now_us() -> int:
    return time.time_ns() // 1_000
