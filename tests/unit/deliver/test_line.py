"""The line of a target: order by subject, retries, pauses; in a world of a list and a clock."""

import random
from collections import defaultdict

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from deliver.line import DOWN_AFTER, HEAD_PAGE, WINDOW, Aside, Head, Line, Outcome, Work
from tracking.feed import EventRecord
from tracking.retrying import GIVE_UP_US
from tracking.webhooks import TEST, Letter

SECOND = 1_000_000


def letter(
    cursor: int, subject: str = "van", revision: int = 1, type_: str = "trip.started"
) -> Letter:
    return Letter.of(
        EventRecord(
            f"e{cursor}",
            "default",
            type_,
            subject,
            cursor,
            cursor,
            revision,
            "active",
            late=False,
            cursor=cursor,
            data={},
        )
    )


def ok(at_us: int) -> Outcome:
    return Outcome(at_us, ok=True, latency_ms=1, status=204)


def refused(at_us: int, status: int = 500, retry_after_s: float | None = None) -> Outcome:
    return Outcome(
        at_us, ok=False, latency_ms=1, status=status, retry_after_s=retry_after_s,
        gone=status == 410,
    )  # fmt: skip


class World:
    """A log, a line over it, what was written down of the line, and what came through."""

    def __init__(self, log: list[Letter], *, in_flight: int = 8) -> None:
        self.log = log
        self.now_us = SECOND
        self.cursor = 0
        self.kept: dict[str, Head] = {}
        self.states: dict[str, str] = {}
        self.tries: dict[str, int] = defaultdict(int)
        self.arrived: list[Letter] = []
        self.under_way: list[Work] = []
        self.in_flight = in_flight
        self.line = self.restarted()

    def restarted(self) -> Line:
        """A line from what was written down, as after a crash."""
        self.under_way = []
        heads = [
            Head(h.subject, h.cursor, h.message, h.tries, h.started_us, h.due_us)
            for h in self.kept.values()
        ]
        self.line = Line(self.cursor, heads, in_flight=self.in_flight)
        return self.line

    def read(self) -> None:
        while room := self.line.room:
            after = [one for one in self.log if one.record.cursor > self.line.read_upto][:room]
            if not after:
                break
            self.line.offer(after, after[-1].record.cursor)
        for head in self.line.to_read(self.now_us):
            upto = self.line.read_upto
            found = [
                one
                for one in self.log
                if one.record.subject == head.subject and head.cursor < one.record.cursor <= upto
            ][:HEAD_PAGE]
            covered = found[-1].record.cursor if len(found) == HEAD_PAGE else upto
            self.line.supply(head, found, covered)

    def start(self) -> None:
        while (work := self.line.next(self.now_us)) is not None:
            subject = work.letter.record.subject
            assert all(other.letter.record.subject != subject for other in self.under_way)
            self.under_way.append(work)
        assert self.line.in_flight == len(self.under_way)

    def finish(self, work: Work, outcome: Outcome, chance: float = 0.5) -> None:
        self.under_way.remove(work)
        self.tries[work.letter.message] += 1
        if outcome.ok:
            self.arrived.append(work.letter)
        self.line.settle(work, outcome, chance)

    def write_down(self) -> None:
        cursor = self.line.cursor
        changes = self.line.take_changes()
        if changes is None:
            return
        self.cursor = cursor
        for entry in changes.entries:
            self.states[entry.letter.message] = entry.state
        for message in changes.superseded:
            self.states[message] = "superseded"
        for head in changes.heads:
            self.kept[head.subject] = msgspec.structs.replace(head)
        for subject in changes.rejoined:
            self.kept.pop(subject, None)

    def run(self, refuses: set[str] | None = None, until_us: int | None = None) -> None:
        """Deliver; letters of `refuses` fail. Ends when nothing is left, or at a time."""
        while True:
            self.read()
            self.start()
            if not self.under_way:
                self.write_down()
                wakes_us = self.line.wakes_us(self.now_us)
                if wakes_us is None or (until_us is not None and wakes_us > until_us):
                    return
                self.now_us = wakes_us
                continue
            work = self.under_way[0]
            fails = work.letter.message in (refuses or ())
            self.finish(work, refused(self.now_us) if fails else ok(self.now_us))

    def order_of(self, subject: str) -> list[int]:
        return [one.record.cursor for one in self.arrived if one.record.subject == subject]


def test_everything_arrives_once_and_the_cursor_follows() -> None:
    world = World([letter(n, f"van-{n % 7}") for n in range(1, 500)])
    world.run()
    assert sorted(one.record.cursor for one in world.arrived) == list(range(1, 500))
    assert world.cursor == 499
    assert world.kept == {}


def test_while_a_letter_is_retried_its_subject_waits_and_the_others_go_on() -> None:
    log = [letter(n, "stuck" if n % 2 else "free") for n in range(1, 41)]
    world = World(log)
    world.run(refuses={"e3_1"}, until_us=3_600 * SECOND)
    assert world.order_of("stuck") == [1]
    assert world.order_of("free") == list(range(2, 41, 2))
    assert world.cursor == 40
    assert world.kept["stuck"].cursor < 3
    world.run()
    assert world.order_of("stuck") == list(range(1, 41, 2))
    assert world.kept == {}


def test_a_letter_given_up_is_dead_and_its_subject_goes_on() -> None:
    world = World([letter(n) for n in range(1, 5)])
    world.run(refuses={"e2_1"})
    assert world.states == {
        "e1_1": "delivered",
        "e2_1": "dead",
        "e3_1": "delivered",
        "e4_1": "delivered",
    }
    assert world.now_us >= GIVE_UP_US
    assert world.tries["e2_1"] == 25
    assert world.kept == {}


def test_a_revision_replaces_the_letter_that_is_being_retried() -> None:
    log = [letter(1), letter(2)]
    world = World(log)
    world.run(refuses={"e1_1"}, until_us=2 * SECOND)
    log[:] = [log[1], letter(3, revision=2)]
    world.run()
    assert world.states["e1_1"] == "superseded"
    assert [one.record.cursor for one in world.arrived] == [2, 3]


def test_a_target_that_is_down_costs_one_request_at_a_time_and_keeps_its_place() -> None:
    world = World([letter(n, f"van-{n}") for n in range(1, 2_000)])
    everything = {one.message for one in world.log}
    world.run(refuses=everything, until_us=3_600 * SECOND)
    assert world.line.down
    assert len(world.kept) <= DOWN_AFTER + 8
    assert world.cursor <= WINDOW
    world.start()
    assert len(world.under_way) <= 1
    # The first success wakes everything.
    world.run()
    assert len(world.arrived) == 1_999
    assert world.cursor == 1_999


def test_a_success_makes_every_retry_due() -> None:
    world = World([letter(n, f"van-{n}") for n in range(1, 20)])
    world.run(refuses={one.message for one in world.log}, until_us=40_000 * SECOND)
    recovered_us = world.now_us = world.line.wakes_us(world.now_us) or 0
    world.run()
    assert len(world.arrived) == 19
    assert world.now_us == recovered_us


def test_what_a_retry_after_asks_for_is_granted() -> None:
    world = World([letter(1)])
    world.read()
    world.start()
    world.finish(world.under_way[0], refused(world.now_us, 429, retry_after_s=900))
    assert world.line.wakes_us(world.now_us) == world.now_us + 900 * SECOND


def test_a_target_that_is_gone_gets_nothing_more() -> None:
    world = World([letter(1, "a"), letter(2, "b")], in_flight=1)
    world.read()
    world.start()
    world.finish(world.under_way[0], refused(world.now_us, 410))
    world.start()
    assert world.line.gone
    assert world.under_way == []


def test_three_days_without_a_success_are_noticed() -> None:
    world = World([letter(n, f"van-{n}") for n in range(1, 4)])
    world.run(refuses={"e1_1", "e2_1", "e3_1"}, until_us=10 * SECOND)
    since_us = world.line.failing_since_us
    assert since_us == SECOND
    assert not world.line.given_up(since_us + GIVE_UP_US - 1)
    assert world.line.given_up(since_us + GIVE_UP_US)
    world.run()
    assert world.line.failing_since_us is None


def test_no_more_letters_a_second_than_a_target_takes() -> None:
    line = Line(0, max_per_s=10)
    line.offer([letter(n, f"van-{n}") for n in range(1, 9)], 8)
    times, now_us = [], SECOND
    for _ in range(6):
        while line.next(now_us) is None:
            now_us = line.wakes_us(now_us) or 0
        times.append(now_us)
    assert times[-1] - times[1] == 400_000


def test_a_test_is_tried_once_and_counts_for_nothing_but_a_success() -> None:
    def asked() -> Line:
        return Line(0, asides=[Aside(letter(0, type_=TEST), 0, SECOND, SECOND)], failures=3)

    line = asked()
    work = line.next(SECOND)
    assert work is not None
    line.settle(work, refused(SECOND), 0.5)
    changes = line.take_changes()
    assert changes is not None
    assert [entry.state for entry in changes.entries] == ["dead"]
    assert (line.failures, line.failing_since_us, line.asides) == (3, None, [])
    line = asked()
    work = line.next(SECOND)
    assert work is not None
    line.settle(work, ok(SECOND), 0.5)
    assert line.failures == 0


def test_a_replay_is_retried_beside_its_subject() -> None:
    line = Line(5, asides=[Aside(letter(2), 0, SECOND, SECOND)])
    line.offer([letter(6)], 6)
    first, second = line.next(SECOND), line.next(SECOND)
    assert first is not None
    assert second is not None
    assert first.aside is not None
    assert second.letter.record.cursor == 6
    line.settle(first, refused(SECOND), 0.5)
    assert line.asides[0].due_us == 6 * SECOND
    assert line.heads == {}


def test_a_subject_with_thousands_of_letters_behind_its_head_is_read_in_pages() -> None:
    world = World([letter(n) for n in range(1, 1_001)])
    world.run(refuses={"e1_1"}, until_us=2 * SECOND)
    assert world.cursor == 1_000
    world.run()
    assert world.order_of("van") == list(range(1, 1_001))


def something_happens(world: World, chance: random.Random, unreliable: dict[str, float]) -> None:
    world.read()
    world.start()
    if world.under_way and chance.random() < 0.8:
        work = chance.choice(world.under_way)
        fails = chance.random() < unreliable[work.letter.record.subject]
        outcome = refused(world.now_us) if fails else ok(world.now_us)
        world.finish(work, outcome, chance.random())
    elif chance.random() < 0.3:
        world.now_us += chance.choice([1, 10, 1_000]) * SECOND
    if chance.random() < 0.3:
        world.write_down()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_whatever_fails_and_crashes_each_subject_arrives_in_order_and_complete(
    seed: int,
    crashes: bool,  # noqa: FBT001 -- drawn
) -> None:
    chance = random.Random(seed)
    subjects = [f"van-{n}" for n in range(chance.randint(1, 12))]
    log = [letter(n, chance.choice(subjects)) for n in range(1, chance.randint(2, 300))]
    world = World(log, in_flight=chance.randint(1, 8))
    unreliable = {s: chance.choice([0.0, 0.1, 0.7]) for s in subjects}
    for _ in range(chance.randint(10, 600)):
        something_happens(world, chance, unreliable)
        if crashes and chance.random() < 0.02:
            world.restarted()
    for work in tuple(world.under_way):
        world.finish(work, ok(world.now_us))
    world.run()
    for subject in subjects:
        wanted = [one.record.cursor for one in log if one.record.subject == subject]
        arrived = world.order_of(subject)
        # After a crash again from what was written down, but never past what did not arrive.
        assert (list(dict.fromkeys(arrived)) if crashes else arrived) == wanted
    assert world.cursor == len(log)
    assert world.kept == {}
