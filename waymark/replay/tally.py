"""Counts of one replay: every row read is in exactly one of them."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracking.times import iso
from waymark.replay.reading import Reading, Row


class Distinct:
    """Counts distinct readings in 16 bytes each, however long the recording.

    Keys and contents are kept as 64-bit hashes: among 10 million readings the chance that any two
    collide is one in 370,000.
    """

    def __init__(self) -> None:
        self._keys = array("q")
        self._contents = array("q")

    def add(self, device: str, fix_time_us: int, content: bytes) -> None:
        """Count one reading."""
        self._keys.append(hash((device, fix_time_us)))
        self._contents.append(hash((device, content)))

    def counts(self) -> tuple[int, int, int]:
        """(distinct device and time, exact repeats, other content under a time already there)."""
        if not self._keys:
            return 0, 0, 0
        keys = np.frombuffer(self._keys, dtype=np.int64)
        pairs = np.stack([keys, np.frombuffer(self._contents, dtype=np.int64)], axis=1)
        distinct, different = len(np.unique(keys)), len(np.unique(pairs, axis=0))
        return distinct, len(keys) - different, different - distinct


@dataclass
class FileTally:
    """What one recording held."""

    file: str
    format: str
    mapping: str | None = None
    rows: int = 0
    readings: int = 0
    skipped: int = 0


@dataclass
class Tally:
    """What all recordings held, and what of it was published."""

    files: list[FileTally] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    devices: set[str] = field(default_factory=set)
    first_us: int | None = None
    last_us: int | None = None
    published: int = 0
    refused_by_broker: int = 0
    seconds: float = 0.0
    notices: list[str] = field(default_factory=list)
    stopped: str | None = None  # why the replay ended early, None when it did not
    distinct: Distinct = field(default_factory=Distinct)

    @property
    def rows(self) -> int:
        """Rows read, of all files."""
        return sum(file.rows for file in self.files)

    @property
    def readings(self) -> int:
        """Readings found, of all files."""
        return sum(file.readings for file in self.files)

    def add_row(self, file: FileTally, row: Row) -> None:
        """Count a row as it is read."""
        file.rows += 1
        if row.skipped is not None:
            file.skipped += 1
            self.skipped[row.skipped] += 1
        file.readings += len(row.readings)

    def add_reading(self, reading: Reading, payload: bytes, shift_us: int = 0) -> None:
        """Count a reading handed to the broker, its times moved by `shift_us`."""
        self.devices.add(reading.device)
        if reading.fault is not None:
            self.faults[reading.fault] += 1
            return
        time_us = reading.fix_time_us
        if time_us is None:
            return
        time_us += shift_us
        self.distinct.add(reading.device, time_us, payload)
        if self.first_us is None or time_us < self.first_us:
            self.first_us = time_us
        if self.last_us is None or time_us > self.last_us:
            self.last_us = time_us

    def summary(self) -> dict[str, Any]:
        """The summary as `--json` prints it."""
        distinct, repeats, conflicts = self.distinct.counts()
        return {
            "files": [vars(file) for file in self.files],
            "rows": self.rows,
            "rows_skipped": sum(self.skipped.values()),
            "skipped": dict(sorted(self.skipped.items())),
            "readings": self.readings,
            "published": self.published,
            "refused_by_broker": self.refused_by_broker,
            "distinct_readings": distinct,
            "exact_repeats": repeats,
            "conflicts": conflicts,
            "expected_rejects": dict(sorted(self.faults.items())),
            "devices": len(self.devices),
            "first_fix": None if self.first_us is None else iso(self.first_us),
            "last_fix": None if self.last_us is None else iso(self.last_us),
            "seconds": round(self.seconds, 3),
            "complete": self.stopped is None,
            "stopped": self.stopped,
            "notices": self.notices,
        }
