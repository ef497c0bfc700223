from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim import Delivery, Reading
from firmware_sim.device import Backoff, Outbox


def message(n: int) -> Delivery:
    reading = Reading("d", "pos", n, n, n, {}, b"%d" % n, ())
    return Delivery(n, 0, n, "wm/t/d/pos", reading, 0)


def send(outbox: Outbox, first_id: int, now_s: float = 0.0) -> list[int]:
    """Send what may go; the numbers of the messages sent."""
    numbers = []
    for packet_id, delivery in enumerate(outbox.sendable(), first_id):
        outbox.sent(delivery, packet_id, now_s)
        numbers.append(delivery.reading.seq)
    return numbers


def test_the_window_bounds_what_is_in_flight() -> None:
    outbox = Outbox(window=3)
    for n in range(5):
        outbox.put(message(n))
    assert send(outbox, 1) == [0, 1, 2]
    assert send(outbox, 4) == []
    assert outbox.acked(2) == message(1)
    assert send(outbox, 4) == [3]
    assert (len(outbox), outbox.in_flight) == (4, 3)


def test_what_was_in_flight_is_sent_again_first_and_in_order() -> None:
    outbox = Outbox(window=3)
    for n in range(5):
        outbox.put(message(n))
    send(outbox, 1)
    outbox.acked(2)
    assert outbox.disconnected() == 2
    assert send(outbox, 1) == [0, 2, 3]


def test_an_unknown_or_repeated_acknowledgement_is_nothing() -> None:
    outbox = Outbox(window=1)
    outbox.put(message(0))
    send(outbox, 9)
    assert outbox.acked(1) is None
    assert outbox.acked(9) == message(0)
    assert outbox.acked(9) is None
    assert len(outbox) == 0


def test_the_oldest_unacknowledged_message_is_known() -> None:
    outbox = Outbox(window=2)
    assert outbox.oldest_sent_s() is None
    outbox.put(message(0))
    send(outbox, 1, now_s=5.0)
    outbox.put(message(1))
    send(outbox, 2, now_s=8.0)
    assert outbox.oldest_sent_s() == 5.0
    outbox.acked(1)
    assert outbox.oldest_sent_s() == 8.0


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["put", "send", "ack", "drop"]), max_size=200), st.integers(1, 5))
def test_whatever_happens_nothing_leaves_without_an_acknowledgement(
    steps: list[str], window: int
) -> None:
    outbox = Outbox(window)
    put = next_id = 0
    in_flight: deque[int] = deque()
    acked: list[int] = []
    for step in [*steps, "drop"]:
        if step == "put":
            outbox.put(message(put))
            put += 1
        elif step == "send":
            sent = send(outbox, next_id)
            in_flight.extend(range(next_id, next_id + len(sent)))
            next_id += len(sent)
            assert outbox.in_flight <= window
        elif step == "ack" and in_flight:
            delivery = outbox.acked(in_flight.popleft())
            assert delivery is not None
            acked.append(delivery.reading.seq)
        elif step == "drop":
            assert outbox.disconnected() == len(in_flight)
            in_flight.clear()
        assert len(outbox) + len(acked) == put
    rest = []
    while outbox:
        sent = send(outbox, next_id)
        for packet_id in range(next_id, next_id + len(sent)):
            outbox.acked(packet_id)
        next_id += len(sent)
        rest += sent
    # A broker acknowledges in order, so the acknowledged are a prefix: once each, none skipped.
    assert acked + rest == list(range(put))


def test_backoff_doubles_up_to_its_bound_and_starts_again() -> None:
    backoff = Backoff(first_s=0.1, most_s=1.0)
    assert [backoff.next_s(0.0) for _ in range(6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 1])
    assert backoff.next_s(1.0) == pytest.approx(0.5)
    backoff.reset()
    assert backoff.next_s(0.0) == pytest.approx(0.1)
