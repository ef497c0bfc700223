"""Reading dead letters: the messages that could not be understood, byte for byte."""

import base64
import codecs
from typing import Any

import msgspec

from tracking.store.connection import Connection
from tracking.times import Moment

# A page of a thousand whole payloads could be a gigabyte; one letter at a time is told in full.
_PREVIEW_BYTES = 1_024


class DeadLetter(msgspec.Struct, frozen=True):
    """One distinct message and why it was refused; `n` counts its deliveries.

    `payload_base64` holds the first KiB in a list and everything in a single letter;
    `payload_bytes` is the whole length. `payload_text` is the same part as text, if it is UTF-8.
    """

    id: int
    device: str | None
    topic: str
    reason: str
    detail: str
    n: int
    first_received_at: Moment
    last_received_at: Moment
    replayed_at: Moment | None
    payload_bytes: int
    payload_base64: str
    payload_text: str | None


_COLUMNS = (
    "SELECT id, device, topic, reason, detail, n, first_received_at, last_received_at, "
    "replayed_at, octet_length(payload), "
)


async def list_dead_letters(
    conn: Connection,
    tenant_id: int,
    *,
    reason: str | None,
    device: str | None,
    before: int | None,
    limit: int,
) -> list[DeadLetter]:
    """The newest first, those with an id below `before`. Letters of no tenant are not here."""
    cursor = await conn.execute(
        _COLUMNS + "substring(payload FOR %(preview)s) FROM dead_letter "
        "WHERE tenant_id = %(tenant_id)s "
        "AND (%(reason)s::text IS NULL OR reason = %(reason)s) "
        "AND (%(device)s::text IS NULL OR device = %(device)s) "
        "AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s",
        {
            "tenant_id": tenant_id,
            "reason": reason,
            "device": device,
            "before": before,
            "limit": limit,
            "preview": _PREVIEW_BYTES,
        },
    )
    return [_letter(row) async for row in cursor]


async def get_dead_letter(conn: Connection, tenant_id: int, letter_id: int) -> DeadLetter | None:
    """One letter with its whole payload."""
    cursor = await conn.execute(
        _COLUMNS + "payload FROM dead_letter WHERE tenant_id = %s AND id = %s",
        (tenant_id, letter_id),
    )
    row = await cursor.fetchone()
    return None if row is None else _letter(row)


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    *columns, payload = row
    whole = len(payload) == columns[-1]
    try:
        # A preview may end within a character; that does not make the message binary.
        text = codecs.getincrementaldecoder("utf-8")().decode(payload, final=whole)
    except UnicodeDecodeError:
        text = None
    encoded = base64.b64encode(payload).decode()
    return DeadLetter(*(*columns, encoded, text))
