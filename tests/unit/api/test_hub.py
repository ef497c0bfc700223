"""Who gets what, without a socket."""

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from api.feed.hub import (
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    Batch,
    EventLine,
    Mailbox,
    Outbox,
    PositionLine,
    Subscription,
)
from api.feed.messages import Message, pong_message
from tests.unit.api.live import Notepad, at, event, position, told
from tracking.interest import Interest


class TestPositionLine:
    def test_the_newest_of_each_device_is_told_once(self) -> None:
        line = PositionLine()
        line.offer([position("a", 1), position("b", 5), position("a", 3)])
        line.offer([position("a", 2)])
        batch = line.take()
        assert batch is not None
        assert {(p.device, p.fix_time) for p in batch.positions} == {("a", at(3)), ("b", at(5))}
        assert line.take() is None
        line.offer([position("a", 3), position("b", 4)])
        assert line.take() is None

    def test_only_ok_fixes_move_anything(self) -> None:
        line = PositionLine()
        line.offer([position("a", 9, quality="impossible_speed"), position("a", 1)])
        batch = line.take()
        assert batch is not None
        assert [p.fix_time for p in batch.positions] == [at(1)]

    def test_what_a_snapshot_told_passes_for_the_others_but_nothing_older(self) -> None:
        line = PositionLine()
        line.learn({"a": at(5)})
        line.offer([position("a", 4)])
        assert line.take() is None
        line.offer([position("a", 5)])
        assert line.take() is not None
        line.offer([position("a", 5)])
        line.learn({"a": at(5)})
        line.offer([position("a", 5)])
        assert line.take() is None

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=30))
    def test_a_device_never_jumps_back(self, fixes: list[tuple[str, int]]) -> None:
        line, seen = PositionLine(), dict[str, list[datetime]]()
        for number, (device, second) in enumerate(fixes):
            line.offer([position(device, second)])
            if number % 3 == 0 and (batch := line.take()):
                for p in batch.positions:
                    seen.setdefault(p.device, []).append(p.fix_time)
        assert all(times == sorted(set(times)) for times in seen.values())


class TestEventLine:
    @staticmethod
    def line(head: int) -> EventLine:
        line = EventLine()
        line.advance(head)
        return line

    def test_the_next_event_goes_out_at_once(self) -> None:
        line = self.line(7)
        assert line.offer(8)
        assert line.head == 8
        assert not line.behind

    def test_an_old_event_changes_nothing(self) -> None:
        line = self.line(7)
        assert not line.offer(7)
        assert not line.behind

    def test_a_hole_asks_for_the_database(self) -> None:
        line = self.line(7)
        assert not line.offer(10)
        assert line.behind
        assert line.advance(9)
        assert line.behind
        assert line.advance(12)
        assert not line.behind

    def test_nothing_overtakes_a_read_under_way(self) -> None:
        line = self.line(7)
        line.reading = True
        assert not line.offer(8)
        line.reading = False
        assert line.behind

    def test_before_the_first_look_nothing_goes_out(self) -> None:
        line = EventLine()
        assert line.behind
        assert not line.offer(1)

    def test_an_event_the_database_does_not_have_is_given_up(self) -> None:
        line = self.line(7)
        line.offer(99)
        assert not line.advance(7)
        assert not line.behind
        assert line.offer(8)


class TestSubscription:
    @staticmethod
    def started() -> tuple[Subscription, Notepad]:
        """A subscription that its snapshot has been told, in the mailbox of a client that reads."""
        link = Notepad()
        mailbox = Mailbox(link, lambda: None)
        subscription = mailbox.subscriptions["s"] = Subscription("s", Interest(), mailbox)
        subscription.start({})
        return subscription, link

    def test_a_slow_client_gets_the_newest_of_each_device(self) -> None:
        subscription, link = self.started()
        link.has_room = False
        for tick in (
            [position("a", 1), position("b", 1)],
            [position("a", 2)],
            [position("a", 3), position("c", 3)],
        ):
            subscription.offer_positions(Batch(tick))
            assert subscription.mailbox.flush() == 0
        link.has_room = True
        assert subscription.mailbox.flush() == 1
        assert told(link.messages()[0]) == {"a": 3, "b": 1, "c": 3}
        assert subscription.mailbox.flush() == 0

    def test_clients_that_keep_up_share_one_rendered_message(self) -> None:
        batch = Batch([position("a", 1)])
        (first, one), (second, two) = self.started(), self.started()
        for subscription in (first, second):
            subscription.offer_positions(batch)
            subscription.mailbox.flush()
        assert one.written[0] is two.written[0]

    def test_a_slow_client_does_not_disturb_those_who_share_with_it(self) -> None:
        batch = Batch([position("a", 1)])
        (slow, one), (quick, two) = self.started(), self.started()
        for subscription in (slow, quick):
            subscription.offer_positions(batch)
        slow.offer_positions(Batch([position("a", 2)]))
        for subscription in (slow, quick):
            subscription.mailbox.flush()
        assert told(two.messages()[0]) == {"a": 1}
        assert told(one.messages()[0]) == {"a": 2}

    def test_nothing_flows_before_the_snapshot_and_nothing_older_after(self) -> None:
        link = Notepad()
        mailbox = Mailbox(link, lambda: None)
        subscription = mailbox.subscriptions["s"] = Subscription("s", Interest(), mailbox)
        subscription.offer_positions(Batch([position("a", 1), position("b", 9), position("c", 3)]))
        assert mailbox.flush() == 0
        subscription.start({"a": at(1), "b": at(5)})
        mailbox.flush()
        assert told(link.messages()[0]) == {"b": 9, "c": 3}

    def test_a_snapshot_that_told_everything_leaves_nothing(self) -> None:
        mailbox = Mailbox(Notepad(), lambda: None)
        subscription = mailbox.subscriptions["s"] = Subscription("s", Interest(), mailbox)
        subscription.offer_positions(Batch([position("a", 1)]))
        subscription.offer_positions(Batch([position("a", 2)]))
        subscription.start({"a": at(2)})
        assert mailbox.flush() == 0

    def test_events_are_live_only_behind_the_cursor_it_caught_up_to(self) -> None:
        subscription = Subscription("s", Interest(), Mailbox(Notepad(), lambda: None))
        assert not subscription.is_live_for(event(5))
        subscription.live_after = 5
        assert not subscription.is_live_for(event(5))
        assert subscription.is_live_for(event(6))


class TestMailbox:
    def test_what_waits_leaves_in_one_write_events_before_positions(self) -> None:
        link = Notepad()
        mailbox = Mailbox(link, lambda: None)
        subscription = mailbox.subscriptions["s"] = Subscription("s", Interest(), mailbox)
        subscription.start({})
        subscription.offer_positions(Batch([position("a", 1)]))
        for word in (b"one", b"two"):
            mailbox.put(link.wire(Message("event", word)))
        assert mailbox.flush() == 3
        assert len(link.written) == 1
        assert [m[:3] for m in link.messages()[:2]] == [b"one", b"two"]

    def test_a_client_without_room_is_given_up_past_the_bound_and_only_once(self) -> None:
        link, gone = Notepad(), list[bool]()
        link.has_room = False
        mailbox = Mailbox(link, lambda: gone.append(True))
        for _ in range(MAX_EVENTS):
            mailbox.put(b"x")
        assert not gone
        for _ in range(3):
            mailbox.put(b"x")
        assert gone == [True]

    def test_a_burst_does_not_fill_the_mailbox_of_a_client_that_reads(self) -> None:
        gone = list[bool]()
        mailbox = Mailbox(Notepad(), lambda: gone.append(True))
        for _ in range(10 * MAX_EVENTS):
            mailbox.put(b"x")
        assert not gone

    def test_it_is_idle_when_no_event_waits(self) -> None:
        link = Notepad()
        mailbox = Mailbox(link, lambda: None)
        assert mailbox.idle
        link.has_room = False
        mailbox.say(pong_message())
        assert not mailbox.idle


class TestOutbox:
    def test_events_leave_in_the_order_they_came(self) -> None:
        outbox = Outbox()
        assert all(outbox.put(frame) for frame in (b"a", b"b", b"c"))
        assert outbox.take() == [b"a", b"b", b"c"]
        assert outbox.take() == []

    def test_one_write_takes_no_more_than_a_send_buffer(self) -> None:
        outbox = Outbox()
        for _ in range(10):
            outbox.put(b"x" * 30_000)
        assert len(outbox.take()) == 3
        assert len(outbox) == 7

    def test_too_many_events_are_too_much(self) -> None:
        outbox = Outbox()
        assert all(outbox.put(b"x") for _ in range(MAX_EVENTS))
        assert not outbox.put(b"x")

    def test_too_many_bytes_are_too_much(self) -> None:
        outbox = Outbox()
        assert outbox.put(b"x" * MAX_EVENT_BYTES)
        assert not outbox.put(b"x")

    def test_what_was_fetched_no_longer_counts(self) -> None:
        outbox = Outbox()
        for _ in range(3 * MAX_EVENTS):
            assert outbox.put(b"x" * 10_000)
            outbox.take()
