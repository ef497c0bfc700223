"""Dead letters and the counts by reason: what was refused, and why, with the raw bytes."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from psycopg import AsyncConnection

from tracking.quality import Reject
from tracking.times import from_us

Connection = AsyncConnection[tuple[Any, ...]]


class DeadLetter(msgspec.Struct, frozen=True):
    """One refused message. `tenant_id` and `device` are None where the topic named none."""

    topic: str
    payload: bytes
    reason: Reject
    detail: str
    received_us: int
    tenant_id: int | None = None
    device: str | None = None

    @property
    def digest(self) -> bytes:
        """What makes two letters the same message."""
        return hashlib.sha256(self.topic.encode() + b"\0" + self.payload).digest()


_PUT = """
INSERT INTO dead_letter (digest, tenant_id, device, topic, payload, reason, detail,
                         first_received_at, last_received_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (digest) DO UPDATE SET
    n = dead_letter.n + 1, last_received_at = excluded.last_received_at,
    reason = excluded.reason, detail = excluded.detail, replayed_at = NULL
"""

_COUNT = """
INSERT INTO ledger_reason (tenant_id, device, reason, n) VALUES (%s, %s, %s, %s)
ON CONFLICT (tenant_id, device, reason) DO UPDATE SET n = ledger_reason.n + excluded.n
"""


async def bury(conn: Connection, letters: Sequence[DeadLetter]) -> None:
    """Keep refused messages. The same bytes on the same topic are one letter with a count."""
    if not letters:
        return
    rows = []
    for letter in sorted(letters, key=lambda letter: letter.digest):
        at = from_us(letter.received_us)
        rows.append(
            (
                letter.digest, letter.tenant_id, _storable(letter.device),
                _storable(letter.topic), letter.payload, letter.reason.value,
                _storable(letter.detail), at, at,
            )
        )  # fmt: skip
    async with conn.cursor() as cursor:
        await cursor.executemany(_PUT, rows)


async def count_reasons(conn: Connection, counts: Mapping[tuple[int, str, str], int]) -> None:
    """Add to the ledger: (tenant_id, device name, reason) -> how many; may be negative."""
    rows = [(*key, n) for key, n in sorted(counts.items()) if n]
    if rows:
        async with conn.cursor() as cursor:
            await cursor.executemany(_COUNT, rows)


def tally(letters: Sequence[DeadLetter]) -> Counter[tuple[int, str, str]]:
    """The letters as counts for `count_reasons`; those of no tenant count in metrics only."""
    return Counter(
        (letter.tenant_id, _storable(letter.device) or "", letter.reason.value)
        for letter in letters
        if letter.tenant_id is not None
    )


def _storable(text: str | None) -> str:
    # PostgreSQL text cannot hold NUL; the payload column keeps the bytes as they came.
    return (text or "").replace("\0", "\ufffd")
