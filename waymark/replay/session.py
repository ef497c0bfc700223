"""One replay: rows read, counted and ordered, then published at the pace asked for."""

import csv
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tracking.errors import InputError, WaymarkError
from waymark.replay.dispatch import RowSource, TableOptions
from waymark.replay.progress import Progress
from waymark.replay.reading import Reading, Row, device_name, encode
from waymark.replay.source import Format, Recording, opened
from waymark.replay.tally import FileTally, Tally

# How often progress is told, in readings: rarely enough to cost nothing.
_PROGRESS_EVERY = 256


class Sink(Protocol):
    """Where messages go: the broker, or a preview."""

    acknowledged: int
    refused: int

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send one message; False when stopped before."""

    def idle(self, seconds: float) -> None:
        """Let time pass, less when stopped."""

    def drain(self) -> bool:
        """Wait for every acknowledgement, not long when stopped; whether all came."""


class Preview:
    """Keeps the first messages and publishes none."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.messages: list[tuple[str, bytes]] = []
        self.acknowledged = 0
        self.refused = 0

    def publish(self, topic: str, payload: bytes) -> bool:
        """Keep the message when it is one of the first."""
        if len(self.messages) < self._keep:
            self.messages.append((topic, payload))
        return True

    def idle(self, seconds: float) -> None:
        """Do nothing."""

    def drain(self) -> bool:
        """Nothing is ever on its way."""
        return True


@dataclass(frozen=True, slots=True)
class Plan:
    """How to publish. `speed` is recorded seconds per second, None as fast as possible."""

    tenant: str = "default"
    device_prefix: str = ""
    speed: float | None = None
    sort_by_time: bool = False
    shift_to_now: bool = False

    @property
    def needs_all(self) -> bool:
        """Whether every reading must be known before the first is published."""
        return self.speed is not None or self.sort_by_time or self.shift_to_now


class Replay:
    """One run over some recordings; `tally` holds the outcome, also after an error."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        options: TableOptions,
        plan: Plan,
        sink: Sink,
        *,
        progress: Progress,
        rejects: io.TextIOBase | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._recordings = recordings
        self._options = options
        self._plan = plan
        self._sink = sink
        self._progress = progress
        self._rejects = None if rejects is None else csv.writer(rejects)
        self._stop = stop
        self._bytes_before = 0
        self._sent = 0
        self.tally = Tally()

    def check_headers(self) -> None:
        """Bind every table's mapping before anything is published.

        Raises:
            InputError: a needed column is not there.
        """
        for recording in self._recordings:
            if recording.format is Format.CSV:
                with opened(recording) as source:
                    next(RowSource(recording, self._options).rows(source), None)

    def run(self) -> None:
        """Publish everything, and wait until the broker has acknowledged it.

        Raises:
            InputError: a file proved unreadable; what came before it was published.
            BrokerError: the broker stayed away.
        """
        began = time.monotonic()
        if self._rejects is not None:
            self._rejects.writerow(("file", "row", "fate", "reason", "content"))
        try:
            if self._plan.needs_all:
                self._publish_timed(self._all())
            else:
                self._publish_as_found()
            if not self._sink.drain() or self._stop():
                self.tally.stopped = "interrupted"
        except InputError as exc:
            self.tally.stopped = str(exc)
            self._sink.drain()
            raise
        except WaymarkError as exc:
            self.tally.stopped = str(exc)
            raise
        finally:
            self.tally.published = self._sink.acknowledged
            self.tally.refused_by_broker = self._sink.refused
            self.tally.seconds = time.monotonic() - began

    def _publish_as_found(self) -> None:
        self._progress.begin("publishing", self._total_bytes)
        for done_bytes, reading in self._readings():
            if not self._send(reading, 0):
                return
            if self._sent % _PROGRESS_EVERY == 0:
                self._progress.at(done_bytes, self._sent)

    def _all(self) -> list[Reading]:
        self._progress.begin("reading", self._total_bytes)
        found: list[Reading] = []
        for done_bytes, reading in self._readings():
            found.append(reading)
            if len(found) % _PROGRESS_EVERY == 0:
                self._progress.at(done_bytes, len(found))
            if self._stop():
                break
        return found

    def _publish_timed(self, found: list[Reading]) -> None:
        clock = clock_of(found)
        order = range(len(found))
        speed = self._plan.speed
        if self._plan.sort_by_time or speed is not None:
            order_by = sorted(order, key=clock.__getitem__)  # stable: file order among equals
        else:
            order_by = list(order)
        first_us, last_us = (min(clock), max(clock)) if clock else (0, 0)
        shift_us = shift_to(time.time_ns() // 1_000, first_us, last_us, speed)
        self._progress.begin("publishing", len(found))
        began = time.monotonic()
        for done, index in enumerate(order_by):
            if speed is not None:
                due = began + (clock[index] - first_us) / 1e6 / speed
                while (early_s := due - time.monotonic()) > 0 and not self._stop():
                    self._progress.at(done, self._sent)
                    self._sink.idle(min(early_s, 1.0))
            if not self._send(found[index], shift_us if self._plan.shift_to_now else 0):
                return
            if done % _PROGRESS_EVERY == 0:
                self._progress.at(done, self._sent)

    def _send(self, reading: Reading, shift_us: int) -> bool:
        payload = encode(reading, shift_us)
        topic = f"wm/{self._plan.tenant}/{reading.device}/pos"
        if self._stop() or not self._sink.publish(topic, payload):
            return False
        self._sent += 1
        self.tally.add_reading(reading, payload, shift_us)
        return True

    def _readings(self) -> Iterator[tuple[int, Reading]]:
        for recording in self._recordings:
            source = RowSource(recording, self._options)
            file = FileTally(recording.name, recording.format.value)
            self.tally.files.append(file)
            try:
                yield from self._readings_of(recording, source, file)
            finally:
                file.mapping = None if source.mapping is None else source.mapping.name
                if source.notice is not None:
                    self.tally.notices.append(source.notice)
            self._bytes_before += recording.compressed_bytes

    def _readings_of(
        self, recording: Recording, source: RowSource, file: FileTally
    ) -> Iterator[tuple[int, Reading]]:
        prefix = self._plan.device_prefix
        with opened(recording) as file_open:
            for row in source.rows(file_open):
                self.tally.add_row(file, row)
                self._note_reject(recording, row)
                done_bytes = self._bytes_before + file_open.position()
                for reading in row.readings:
                    if prefix:
                        yield (
                            done_bytes,
                            reading._replace(device=device_name(prefix + reading.device)),
                        )
                    else:
                        yield done_bytes, reading

    def _note_reject(self, recording: Recording, row: Row) -> None:
        if self._rejects is None:
            return
        if row.skipped is not None:
            self._rejects.writerow(
                (recording.name, row.number, "skipped", row.skipped.value, row.content)
            )
        for reading in row.readings:
            if reading.fault is not None:
                text = encode(reading).decode()
                self._rejects.writerow(
                    (recording.name, row.number, "published", reading.fault.value, text)
                )

    @property
    def _total_bytes(self) -> int:
        return sum(recording.compressed_bytes for recording in self._recordings)


def clock_of(readings: Sequence[Reading]) -> list[int]:
    """A time for each reading to be sorted and paced by: its fix time.

    A reading the server will refuse has none to trust (a clock at 1970 would stretch a replay by
    decades); it goes with the reading before it, or with the first that has one.
    """
    known = next((r.fix_time_us for r in readings if r.fault is None), None) or 0
    clock = []
    for reading in readings:
        if reading.fault is None and reading.fix_time_us is not None:
            known = reading.fix_time_us
        clock.append(known)
    return clock


def shift_to(now_us: int, first_us: int, last_us: int, speed: float | None) -> int:
    """The largest shift with which no fix is ahead of the clock when it is published.

    At speed 1 the first fix is now. Faster, the last fix is the one that meets the clock, since a
    recording played faster than it was made would otherwise run into the future.
    """
    length_us = last_us - first_us
    played_us = 0 if speed is None else round(length_us / speed)
    return now_us - first_us + min(0, played_us - length_us)
