"""The benchmark's messages as the pipeline receives them, and CPU time of work on them."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from ingest.mqtt import Message
from tests.benchmarks.packets import Stream, render

T = TypeVar("T")

# What is decoded, folded and stored away from the clock lies this far in the past.
HOURS_AGO_US = 6 * 3_600_000_000


def stream(devices: int, messages: int, *, fleet: str = "dev") -> Stream:
    """A fleet that began some hours ago, a second between a device's fixes."""
    start_us = time.time_ns() // 1_000 - HOURS_AGO_US
    return Stream(fleet, devices, messages, start_us, 1_000_000)


def messages(source: Stream) -> list[Message]:
    """Each PUBLISH of a stream as our client would hand it over."""
    packets = render(source)
    received_us = time.time_ns() // 1_000
    topic_end = 5 + int(packets[0, 3]) * 256 + int(packets[0, 4])
    return [
        Message(packet[5:topic_end], packet[topic_end + 2 :], ticket, received_us)
        for ticket, packet in enumerate(row.tobytes() for row in packets)
    ]


def batches(source: Stream, size: int) -> list[list[Message]]:
    """The messages of a stream in batches of one size, whole ones only."""
    all_ = messages(source)
    return [all_[start : start + size] for start in range(0, len(all_) - size + 1, size)]


def cpu_us(work: Callable[[T], object], pieces: Iterable[T], items: int) -> float:
    """CPU microseconds per item: the median over pieces of `items` items each."""
    spent = []
    for piece in pieces:
        before_s = time.process_time()
        work(piece)
        spent.append(time.process_time() - before_s)
    return 1e6 * sorted(spent)[len(spent) // 2] / items
