"""Dead letters and the counts by reason: what was refused, and why, with the raw bytes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import psycopg

from tracking.quality import Reject
from tracking.store.connection import Connection, translated
from tracking.times import from_us


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


def _storable(text: str | None) -> str:
    # PostgreSQL text cannot hold NUL; the payload column keeps the bytes as they came.
    return (text or "").replace("\0", "\ufffd")


class Kept(NamedTuple):
    """A letter as an operator sees it, of whatever tenant."""

    id: int
    tenant: str | None
    device: str | None
    topic: str
    reason: str
    detail: str
    n: int
    last_received_at: datetime
    replayed_at: datetime | None
    payload: bytes


def find_letters(
    database_url: str,
    *,
    tenant: str | None = None,
    device: str | None = None,
    reason: str | None = None,
    ids: Sequence[int] = (),
    unreplayed: bool = False,
    limit: int | None = None,
) -> Iterator[Kept]:
    """Letters in the order they first came, read as they are consumed.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    query = """
        SELECT l.id, t.name, l.device, l.topic, l.reason, l.detail, l.n, l.last_received_at,
               l.replayed_at, l.payload
        FROM dead_letter l LEFT JOIN tenant t ON t.id = l.tenant_id
        WHERE (%(tenant)s::text IS NULL OR t.name = %(tenant)s)
          AND (%(device)s::text IS NULL OR l.device = %(device)s)
          AND (%(reason)s::text IS NULL OR l.reason = %(reason)s)
          AND (%(ids)s::bigint[] = '{}' OR l.id = ANY(%(ids)s))
          AND NOT (%(unreplayed)s AND l.replayed_at IS NOT NULL)
        ORDER BY l.id LIMIT %(limit)s
    """
    wanted = {
        "tenant": tenant, "device": device, "reason": reason, "ids": list(ids),
        "unreplayed": unreplayed, "limit": limit,
    }  # fmt: skip
    with (
        translated(),
        psycopg.connect(database_url, connect_timeout=10) as conn,
        conn.cursor("letters") as cursor,
    ):
        cursor.itersize = 200
        for row in cursor.execute(query, wanted):
            yield Kept._make(row)


def mark_replayed(database_url: str, letters: Sequence[Kept]) -> None:
    """Note that letters were published again, unless they were refused again meanwhile."""
    with translated(), psycopg.connect(database_url, connect_timeout=10) as conn:
        conn.cursor().executemany(
            "UPDATE dead_letter SET replayed_at = now() WHERE id = %s AND last_received_at = %s",
            [(letter.id, letter.last_received_at) for letter in letters],
        )
