"""The manifest: what was published, one JSON line per distinct reading, and a summary line.

A line is written as soon as nothing more can happen to its reading, so a run without an end needs
no more memory than what is under way.
"""

import json
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TextIO

from firmware_sim.readings import Delivery, Reading

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(slots=True)
class _Entry:
    reading: Reading
    left: int  # deliveries not yet acknowledged
    published: int = 0
    acked: bool = False


class Ledger:
    """Counts what happens to each reading and writes its line to *out* when it is done.

    Without *out* it only counts. `close` writes what is left and returns the summary.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._entries: dict[tuple[str, str, int, str | None], _Entry] = {}
        self.counts: Counter[str] = Counter()

    def planned(self, reading: Reading, deliveries: int) -> None:
        """*reading* was made and will be delivered so many times; 0 means it is lost."""
        entry = _Entry(reading, deliveries)
        if deliveries:
            self._entries[reading.key] = entry
        else:
            self._write(entry)

    def sent(self, delivery: Delivery) -> None:
        """One PUBLISH went out; a resend counts like a first one."""
        self._entries[delivery.reading.key].published += 1
        self.counts["published"] += 1

    def acked(self, delivery: Delivery) -> None:
        """The broker acknowledged one delivery."""
        key = delivery.reading.key
        entry = self._entries[key]
        entry.acked = True
        entry.left -= 1
        self.counts["acked"] += 1
        if entry.left <= 0:
            del self._entries[key]
            self._write(entry)

    def close(self, **facts: Any) -> dict[str, Any]:  # noqa: ANN401  -- any JSON value
        """Write the lines of what was published and not finished, then the summary with *facts*."""
        for entry in self._entries.values():
            if entry.published:
                self._write(entry)
        self._entries.clear()
        summary = {**facts, **summarise(self.counts)}
        if self._out:
            self._out.write(_encode({"summary": summary}) + "\n")
            self._out.flush()
        return summary

    def _write(self, entry: _Entry) -> None:
        reading = entry.reading
        counts = self.counts
        if reading.malformed:
            counts["malformed"] += 1
            counts[f"malformed.{reading.malformed}"] += 1
        elif not entry.published:
            counts["lost"] += 1
        else:
            counts["readings"] += 1
            counts[f"readings.{reading.channel}"] += 1
        if entry.published and not entry.acked:
            counts["unacked"] += 1
        for fault in reading.faults:
            counts[f"faults.{fault}"] += 1
        if self._out:
            self._out.write(_encode(line(reading, entry.published, acked=entry.acked)) + "\n")


def line(reading: Reading, published: int, *, acked: bool) -> dict[str, Any]:
    """The manifest's line for *reading*: its identity, its content and what became of it.

    `t` is epoch ms whatever the wire's format. A malformed message has `t` and `seq` null and no
    content: no reading with them exists because of it.
    """
    spoilt = reading.malformed is not None
    return {
        "device": reading.device,
        "channel": reading.channel,
        "t": None if spoilt else reading.t_ms,
        "seq": None if spoilt else reading.seq,
        "payload_sha256": sha256(reading.payload).hexdigest(),
        **reading.body,
        "made_ms": reading.made_ms,
        "faults": reading.faults,
        "published": published,
        "acked": acked,
        "malformed": reading.malformed,
    }


def summarise(counts: Counter[str]) -> dict[str, Any]:
    """The counts as nested JSON, the totals always there."""
    nested: dict[str, Any] = {
        name: counts[name]
        for name in ("readings", "published", "acked", "unacked", "lost", "malformed")
    }
    by: dict[str, dict[str, int]] = {}
    for name, count in sorted(counts.items()):
        group, dot, member = name.partition(".")
        if dot:
            by.setdefault(group, {})[member] = count
    return {**nested, "by": by}
