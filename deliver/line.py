"""What one target is sent, and when: the order of its letters, its retries, its pauses. Pure.

A target follows the event log by one cursor, and no two letters of a subject are under way at
once. A subject whose letter is refused gets a cursor of its own, its head: it leaves the line, is
read by itself when its retry is due, and rejoins when it has caught up. So others go on, later
letters of it wait, and nothing but cursors is kept.

A target that refuses letter after letter is down: then only heads are tried, one at a time, so
an endpoint that is away costs a request now and then; its first success wakes all.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from tracking.retrying import GIVE_UP_US, next_try_us
from tracking.webhooks import TEST, Letter

# Letters held for a target; it reads on when half of them are gone.
WINDOW = 128
MAX_IN_FLIGHT = 8
# Subjects being retried; with more, the others wait too.
MAX_HEADS = 1_000
# Refusals in a row that make a target count as down.
DOWN_AFTER = 5
# Of a head's own letters, so many are read at once.
HEAD_PAGE = 20


class Outcome(NamedTuple):
    """What came of sending a letter once. `gone`: the target asks to be forgotten (410)."""

    at_us: int
    ok: bool
    latency_ms: int
    status: int | None = None
    error: str | None = None
    response: str = ""
    retry_after_s: float | None = None
    gone: bool = False


class Head(msgspec.Struct):
    """A subject that is behind: everything of it up to `cursor` is settled.

    `message` is the letter being retried, "" if the next one has not been tried yet.
    """

    subject: str
    cursor: int
    message: str
    tries: int
    started_us: int
    due_us: int
    letters: deque[Letter] = msgspec.field(default_factory=deque)
    covered: int = 0
    reading: bool = False
    in_flight: bool = False


class Aside(msgspec.Struct):
    """A letter that somebody asked for: a test, or a replay. Sent beside the order."""

    letter: Letter
    tries: int
    started_us: int
    due_us: int
    in_flight: bool = False


class Entry(NamedTuple):
    """What to write down of a letter: its state after a try."""

    letter: Letter
    state: str
    tries: int
    started_us: int
    due_us: int | None
    outcome: Outcome


class Changes(NamedTuple):
    """What is new: tries, messages that were amended before they got through, heads as they are,
    subjects that have none any more. The line's cursor must be written with them.
    """  # noqa: D205 -- one contract

    entries: list[Entry]
    superseded: list[str]
    heads: list[Head]
    rejoined: list[str]


class Work(NamedTuple):
    """A letter to send now, and on whose account."""

    letter: Letter
    head: Head | None = None
    aside: Aside | None = None


class Line:
    """One target's letters. Times come in as arguments; `chance` draws from [0, 1)."""

    def __init__(
        self,
        cursor: int,
        heads: Iterable[Head] = (),
        asides: Iterable[Aside] = (),
        *,
        failures: int = 0,
        failing_since_us: int | None = None,
        max_per_s: float | None = None,
        in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        self.read_upto = cursor
        self.heads = {head.subject: head for head in heads}
        self.asides = list(asides)
        self.failures = failures
        self.failing_since_us = failing_since_us
        self.last_success_us: int | None = None
        self.last_failure: tuple[int, str] | None = None
        self.gone = False
        self.in_flight = 0
        # What `take_changes` has not told yet.
        self._entries: list[Entry] = []
        self._superseded: list[str] = []
        self._changed: set[str] = set()
        self._told_cursor = cursor
        self._queues: dict[str, deque[Letter]] = {}
        self._ready: deque[str] = deque()
        self._busy: set[str] = set()
        # Cursors of letters in the window, in order, and those that no longer hold the line.
        self._held: deque[int] = deque()
        self._settled: set[int] = set()
        self._pace_us = 0 if max_per_s is None else round(1e6 / max_per_s)
        self._free_us = 0
        self._in_flight_max = in_flight

    @property
    def down(self) -> bool:
        """Whether only retries are tried."""
        return self.failures >= DOWN_AFTER and bool(self.heads)

    @property
    def cursor(self) -> int:
        """Everything up to here is settled or behind a head."""
        return self._held[0] - 1 if self._held else self.read_upto

    @property
    def room(self) -> int:
        """How many more letters of the log may come; 0 while it is to wait."""
        if self.down or len(self.heads) >= MAX_HEADS or len(self._held) > WINDOW // 2:
            return 0
        return WINDOW - len(self._held)

    def offer(self, letters: Sequence[Letter], covered: int) -> None:
        """Take the wanted letters that follow `read_upto`; the log was read up to `covered`."""
        for letter in letters:
            subject = letter.record.subject
            if subject in self.heads:
                continue
            self._held.append(letter.record.cursor)
            queue = self._queues.setdefault(subject, deque())
            queue.append(letter)
            if len(queue) == 1 and subject not in self._busy:
                self._ready.append(subject)
        self.read_upto = max(self.read_upto, covered)

    def to_read(self, now_us: int) -> list[Head]:
        """Heads that are due and whose letters are to be read, up to `read_upto`."""
        wanted = [
            head
            for head in self._due_heads(now_us)
            if not head.letters and not head.reading and not head.in_flight
        ]
        # While down one is enough to find out.
        wanted = wanted[:1] if self.down else wanted[: self._in_flight_max]
        for head in wanted:
            head.reading = True
        return wanted

    def supply(self, head: Head, letters: Sequence[Letter], covered: int) -> None:
        """Give a head its next wanted letters; the log of its subject was read up to `covered`."""
        head.reading = False
        head.letters.extend(letters)
        head.covered = covered
        self._changed.add(head.subject)
        if head.message and (not letters or letters[0].message != head.message):
            # Amended meanwhile: the revision comes at its own cursor.
            self._superseded.append(head.message)
            head.message, head.tries = "", 0
        if not letters:
            self._catch_up(head)

    def next(self, now_us: int) -> Work | None:
        """A letter that may be sent now, which then is under way until `settle`."""
        if self.gone or now_us < self._free_us:
            return None
        if self.in_flight >= (1 if self.down else self._in_flight_max):
            return None
        work = self._next_head(now_us) or self._next_aside(now_us)
        if work is None and not self.down and len(self.heads) < MAX_HEADS:
            work = self._next_ready()
        if work is not None:
            self.in_flight += 1
            self._free_us = max(self._free_us, now_us - self._pace_us) + self._pace_us
        return work

    def settle(self, work: Work, outcome: Outcome, chance: float) -> None:
        """Take the outcome of a letter that was under way."""
        self.in_flight -= 1
        self._note(outcome, counts=work.letter.record.type != TEST)
        if work.aside is not None:
            self._settle_aside(work.aside, outcome, chance)
        elif work.head is not None:
            self._settle_head(work.head, outcome, chance)
        else:
            self._settle_ready(work.letter, outcome, chance)

    def wakes_us(self, now_us: int) -> int | None:
        """When there is more to do although nothing happens; None: never.

        What is due and could not start waits for a letter under way, or for a read.
        """
        times = [self._free_us, *(head.due_us for head in self.heads.values())]
        times += [aside.due_us for aside in self.asides]
        return min((time_us for time_us in times if time_us > now_us), default=None)

    @property
    def due_us(self) -> int | None:
        """When a deliverer must look again although no event came."""
        times = [head.due_us for head in self.heads.values()]
        times += [aside.due_us for aside in self.asides]
        return min(times, default=None)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or waits in memory."""
        return not self.in_flight and not self._held

    def given_up(self, now_us: int) -> bool:
        """Whether every try has failed for as long as one letter is tried."""
        since_us = self.failing_since_us
        return since_us is not None and now_us - since_us >= GIVE_UP_US

    def take_changes(self) -> Changes | None:
        """What is new since the last call; None if nothing is."""
        if not self._entries and not self._changed and self._told_cursor == self.cursor:
            return None
        self._told_cursor = self.cursor
        changes = Changes(
            self._entries,
            self._superseded,
            [self.heads[subject] for subject in self._changed if subject in self.heads],
            [subject for subject in self._changed if subject not in self.heads],
        )
        self._entries, self._superseded, self._changed = [], [], set()
        return changes

    def _due_heads(self, now_us: int) -> list[Head]:
        due = [head for head in self.heads.values() if head.due_us <= now_us]
        return sorted(due, key=lambda head: head.due_us)

    def _next_head(self, now_us: int) -> Work | None:
        for head in self._due_heads(now_us):
            if head.letters and not head.in_flight:
                head.in_flight = True
                return Work(head.letters[0], head=head)
        return None

    def _next_aside(self, now_us: int) -> Work | None:
        for aside in self.asides:
            if aside.due_us <= now_us and not aside.in_flight:
                aside.in_flight = True
                return Work(aside.letter, aside=aside)
        return None

    def _next_ready(self) -> Work | None:
        if not self._ready:
            return None
        subject = self._ready.popleft()
        self._busy.add(subject)
        return Work(self._queues[subject][0])

    def _note(self, outcome: Outcome, *, counts: bool) -> None:
        if outcome.ok:
            self.last_success_us = outcome.at_us
            self.failing_since_us = None
            if self.down:
                for head in self.heads.values():
                    head.due_us = min(head.due_us, outcome.at_us)
                    self._changed.add(head.subject)
            self.failures = 0
            return
        self.last_failure = (outcome.at_us, outcome.error or f"status {outcome.status}")
        if counts:
            self.failures += 1
            if self.failing_since_us is None:
                self.failing_since_us = outcome.at_us
        self.gone = self.gone or outcome.gone

    def _settle_ready(self, letter: Letter, outcome: Outcome, chance: float) -> None:
        subject = letter.record.subject
        queue = self._queues[subject]
        self._busy.discard(subject)
        if outcome.ok:
            queue.popleft()
            self._release([letter])
            self._entries.append(Entry(letter, "delivered", 1, outcome.at_us, None, outcome))
            if queue:
                self._ready.append(subject)
            else:
                del self._queues[subject]
            return
        # What waits behind it will be read again, from the head on.
        self._release(self._queues.pop(subject))
        head = Head(
            subject, letter.record.cursor - 1, letter.message, 0, outcome.at_us, outcome.at_us
        )
        head.letters.append(letter)
        head.covered = letter.record.cursor
        self.heads[subject] = head
        self._settle_head(head, outcome, chance)

    def _settle_head(self, head: Head, outcome: Outcome, chance: float) -> None:
        head.in_flight = False
        self._changed.add(head.subject)
        letter = head.letters[0]
        if not head.tries:
            head.message, head.started_us = letter.message, outcome.at_us
        head.tries += 1
        due_us = None
        if not outcome.ok:
            due_us = _next_us(outcome, head.started_us, head.tries, chance)
        if due_us is not None:
            self._entries.append(
                Entry(letter, "retrying", head.tries, head.started_us, due_us, outcome)
            )
            head.due_us = due_us
            # Read again when due: it may be amended by then.
            head.letters.clear()
            return
        state = "delivered" if outcome.ok else "dead"
        self._entries.append(Entry(letter, state, head.tries, head.started_us, None, outcome))
        head.letters.popleft()
        head.cursor = letter.record.cursor
        head.message, head.tries, head.due_us = "", 0, outcome.at_us
        if not head.letters:
            self._catch_up(head)

    def _catch_up(self, head: Head) -> None:
        """Note that its letters up to `covered` are done; at the end of the line it rejoins."""
        head.cursor = max(head.cursor, head.covered)
        if head.cursor >= self.read_upto:
            del self.heads[head.subject]

    def _settle_aside(self, aside: Aside, outcome: Outcome, chance: float) -> None:
        aside.in_flight = False
        aside.tries += 1
        due_us = None
        # A test is tried once: somebody waits for the answer.
        if not outcome.ok and aside.letter.record.type != TEST:
            due_us = _next_us(outcome, aside.started_us, aside.tries, chance)
        if due_us is not None:
            aside.due_us = due_us
            state = "waiting"
        else:
            self.asides.remove(aside)
            state = "delivered" if outcome.ok else "dead"
        self._entries.append(
            Entry(
                aside.letter,
                state,
                aside.tries,
                aside.started_us,
                due_us,
                outcome,
            )
        )

    def _release(self, letters: Iterable[Letter]) -> None:
        self._settled.update(letter.record.cursor for letter in letters)
        while self._held and self._held[0] in self._settled:
            self._settled.discard(self._held.popleft())


def _next_us(outcome: Outcome, started_us: int, tries: int, chance: float) -> int | None:
    return next_try_us(
        outcome.at_us, started_us, tries, chance=chance, retry_after_s=outcome.retry_after_s
    )
