"""Who gets what, without a socket."""

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.hub import (
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    Batch,
    EventLine,
    Outbox,
    PositionLine,
    Subscription,
    error_frame,
    event_frame,
    gap_frame,
    snapshot_frame,
    status_frame,
)
from tracking.feed import LiveEvent, LivePosition
from tracking.interest import Interest
from tracking.store.devices import Bbox
from tracking.times import from_us


def at(second: int) -> datetime:
    return from_us(second * 1_000_000)


def position(
    device: str, second: int = 0, lon: float = 5.0, *, quality: str = "ok"
) -> LivePosition:
    raw = json.dumps({"device": device, "second": second}).encode()
    return LivePosition(device, at(second), lon, 52.0, quality, raw)


def event(
    cursor: int = 1, type_: str = "trip.started", subject: str = "t1", lon: float | None = None
) -> LiveEvent:
    lat = None if lon is None else 52.0
    return LiveEvent(cursor, type_, subject, lon, lat, b'{"cursor":%d}' % cursor)


def told(frame: str | None) -> dict[str, int]:
    """Device and second of each update in a frame."""
    assert frame is not None
    return {u["device"]: u["second"] for u in json.loads(frame)["updates"]}


class TestInterest:
    @pytest.mark.parametrize(
        ("interest", "wanted"),
        [
            pytest.param(Interest(), True, id="everything"),
            pytest.param(Interest(devices=frozenset({"t1"})), True, id="its device"),
            pytest.param(Interest(devices=frozenset({"t2"})), False, id="another device"),
            pytest.param(Interest(devices=frozenset()), False, id="no device"),
            pytest.param(Interest(bbox=Bbox(4, 51, 6, 53)), True, id="around"),
            pytest.param(Interest(bbox=Bbox(5, 52, 6, 53)), True, id="on the corner"),
            pytest.param(Interest(bbox=Bbox(6, 51, 7, 53)), False, id="beside"),
            pytest.param(Interest(bbox=Bbox(170, 51, 6, 53)), True, id="across the antimeridian"),
            pytest.param(Interest(bbox=Bbox(170, 51, -170, 53)), False, id="on the far side"),
            pytest.param(Interest(types=frozenset({"x"})), True, id="types are about events"),
        ],
    )
    def test_positions_are_chosen_by_device_and_place(
        self,
        interest: Interest,
        wanted: bool,  # noqa: FBT001 -- a table's column
    ) -> None:
        assert bool(interest.choose([position("t1")])) is wanted

    @pytest.mark.parametrize(
        ("interest", "wanted"),
        [
            pytest.param(Interest(), True, id="everything"),
            pytest.param(Interest(types=frozenset({"trip.started"})), True, id="its type"),
            pytest.param(Interest(types=frozenset({"trip.*"})), True, id="its family"),
            pytest.param(Interest(types=frozenset({"trip"})), False, id="half a type"),
            pytest.param(Interest(types=frozenset({"fence.*"})), False, id="another family"),
            pytest.param(Interest(types=frozenset()), False, id="no type"),
            pytest.param(Interest(devices=frozenset({"t2"})), False, id="another subject"),
            pytest.param(Interest(bbox=Bbox(4, 51, 6, 53)), True, id="around"),
            pytest.param(Interest(bbox=Bbox(6, 51, 7, 53)), False, id="elsewhere"),
        ],
    )
    def test_events_are_chosen_by_type_subject_and_place(
        self,
        interest: Interest,
        wanted: bool,  # noqa: FBT001 -- as above
    ) -> None:
        assert interest.wants_event(event(lon=5.0)) is wanted

    def test_an_event_without_a_place_is_wanted_anywhere(self) -> None:
        assert Interest(bbox=Bbox(6, 51, 7, 53)).wants_event(event())


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
    def started(interest: Interest | None = None) -> Subscription:
        subscription = Subscription("s", interest or Interest())
        subscription.start({})
        return subscription

    def test_a_slow_client_gets_the_newest_of_each_device(self) -> None:
        subscription = self.started()
        subscription.offer_positions(Batch([position("a", 1), position("b", 1)]))
        subscription.offer_positions(Batch([position("a", 2)]))
        subscription.offer_positions(Batch([position("a", 3), position("c", 3)]))
        assert told(subscription.take_positions()) == {"a": 3, "b": 1, "c": 3}
        assert subscription.take_positions() is None

    def test_clients_that_keep_up_share_one_rendered_message(self) -> None:
        batch = Batch([position("a", 1)])
        first, second = self.started(), self.started()
        first.offer_positions(batch)
        second.offer_positions(batch)
        assert first.take_positions() is second.take_positions()

    def test_a_slow_client_does_not_disturb_those_who_share_with_it(self) -> None:
        batch = Batch([position("a", 1)])
        slow, quick = self.started(), self.started()
        for subscription in (slow, quick):
            subscription.offer_positions(batch)
        slow.offer_positions(Batch([position("a", 2)]))
        assert told(quick.take_positions()) == {"a": 1}
        assert told(slow.take_positions()) == {"a": 2}

    def test_only_what_is_wanted_is_kept(self) -> None:
        subscription = self.started(Interest(devices=frozenset({"a"})))
        assert not subscription.offer_positions(Batch([position("b")]))
        assert subscription.offer_positions(Batch([position("a", 1), position("b")]))
        assert told(subscription.take_positions()) == {"a": 1}

    def test_nothing_flows_before_the_snapshot_and_nothing_older_after(self) -> None:
        subscription = Subscription("s", Interest())
        subscription.offer_positions(Batch([position("a", 1), position("b", 9), position("c", 3)]))
        assert subscription.take_positions() is None
        subscription.start({"a": at(1), "b": at(5)})
        assert told(subscription.take_positions()) == {"b": 9, "c": 3}

    def test_a_snapshot_that_told_everything_leaves_nothing(self) -> None:
        subscription = Subscription("s", Interest())
        subscription.offer_positions(Batch([position("a", 1)]))
        subscription.offer_positions(Batch([position("a", 2)]))
        subscription.start({"a": at(2)})
        assert subscription.take_positions() is None

    def test_events_are_live_only_behind_the_cursor_it_caught_up_to(self) -> None:
        subscription = Subscription("s", Interest())
        assert not subscription.wants_live(event(5))
        subscription.live_after = 5
        assert not subscription.wants_live(event(5))
        assert subscription.wants_live(event(6))


class TestOutbox:
    def test_events_leave_in_the_order_they_came(self) -> None:
        outbox = Outbox()
        assert all(outbox.put(frame) for frame in "abc")
        assert [outbox.take() for _ in range(4)] == ["a", "b", "c", None]

    def test_too_many_events_are_too_much(self) -> None:
        outbox = Outbox()
        assert all(outbox.put("x") for _ in range(MAX_EVENTS))
        assert not outbox.put("x")

    def test_too_many_bytes_are_too_much(self) -> None:
        outbox = Outbox()
        assert outbox.put("x" * MAX_EVENT_BYTES)
        assert not outbox.put("x")

    def test_what_was_fetched_no_longer_counts(self) -> None:
        outbox = Outbox()
        for _ in range(3 * MAX_EVENTS):
            assert outbox.put("x" * 10_000)
            outbox.take()


class TestFrames:
    def test_every_frame_is_json_with_the_name_the_client_chose(self) -> None:
        subscription = Subscription('my "map"', Interest())
        batch = Batch([position("a")])
        frames = [
            (batch.frame(subscription.head), "positions"),
            (event_frame(subscription, event(3)), "event"),
            (snapshot_frame(subscription, 7, [b"{}", b"{}"], more=True), "snapshot"),
            (gap_frame(subscription, 7, "cursor_ahead"), "gap"),
        ]
        for frame, type_ in frames:
            body = json.loads(frame)
            assert body["type"] == type_
            assert body["id"] == 'my "map"'

    def test_frames_tell_what_they_are_about(self) -> None:
        subscription = Subscription("s", Interest())
        assert json.loads(event_frame(subscription, event(3)))["event"] == {"cursor": 3}
        snapshot = json.loads(snapshot_frame(subscription, 7, [b"{}"], more=False))
        assert (snapshot["cursor"], snapshot["more"], snapshot["positions"]) == (7, False, [{}])
        assert json.loads(status_frame(live=True)) == {"type": "status", "live": True}
        error = json.loads(error_frame("invalid", 'say "id"', name=None, field="id"))
        assert error["message"] == 'say "id"'
        assert error["field"] == "id"
