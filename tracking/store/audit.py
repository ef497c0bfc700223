"""The audit log: lines for acts that change no row, and reading it.

Changes of rows write their own lines, by the trigger of migration 0007.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg import sql

from tracking import raw
from tracking.store.acting import current_mandate
from tracking.store.connection import Connection


class AuditLine(msgspec.Struct, frozen=True):
    """What somebody did. Of an update, `before` and `after` have the members that changed."""

    id: int
    at: datetime
    actor_kind: str
    actor_id: int | None
    actor_name: str
    request_id: str | None
    ip: str | None
    action: str
    noun: str
    key: str
    before: raw.ObjectOrNull
    after: raw.ObjectOrNull


class AuditFilter(NamedTuple):
    """Which lines; None leaves that question open. Times are [start, end)."""

    actor: str | None = None
    noun: str | None = None
    key: str | None = None
    action: str | None = None
    start: datetime | None = None
    end: datetime | None = None


class AuditKey(NamedTuple):
    """Where a line stands in the log."""

    at: datetime
    id: int


async def record(
    conn: Connection, action: str, noun: str, key: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Note what the principal of this task did; in the transaction of the act, if it has one.

    `detail` holds what tells one such act from another, never a secret.

    Raises:
        RuntimeError: the task acts for no principal.
    """
    mandate = current_mandate()
    principal = mandate.principal
    if principal is None:
        raise RuntimeError(f"nobody to name for {action} of {noun}")
    await conn.execute(
        "INSERT INTO audit_log (tenant_id, actor_kind, actor_id, actor_name, request_id, ip, "
        "action, noun, key, after) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            principal.tenant_id,
            principal.kind,
            principal.user_id or principal.key_id,
            principal.name,
            mandate.request_id or None,
            mandate.ip or None,
            action,
            noun,
            key,
            None if detail is None else msgspec.json.encode(detail).decode(),
        ),
    )


async def list_audit(
    conn: Connection, tenant_id: int, wanted: AuditFilter, *, before: AuditKey | None, limit: int
) -> list[AuditLine]:
    """Lines of a tenant, the newest first, those older than `before`."""
    conditions = {
        "actor_name = %(actor)s": wanted.actor,
        "noun = %(noun)s": wanted.noun,
        "key = %(key)s": wanted.key,
        "action = %(action)s": wanted.action,
        "at >= %(start)s": wanted.start,
        "at < %(end)s": wanted.end,
        "(at, id) < (%(at)s, %(id)s)": before,
    }
    parts = ["tenant_id = %(tenant_id)s"]
    parts += [condition for condition, value in conditions.items() if value is not None]
    values = {**wanted._asdict(), "tenant_id": tenant_id, "limit": limit}
    if before is not None:
        values |= before._asdict()
    query = (
        sql.SQL(
            "SELECT id, at, actor_kind, actor_id, actor_name, request_id, host(ip), action, noun, "
            "key, before::text, after::text FROM audit_log WHERE "
        )
        + sql.SQL(" AND ").join(map(sql.SQL, parts))
        + sql.SQL(" ORDER BY at DESC, id DESC LIMIT %(limit)s")
    )
    found = await conn.execute(query, values)
    return [AuditLine(*row[:-2], *map(_raw, row[-2:])) async for row in found]


def _raw(text: str | None) -> msgspec.Raw:
    return msgspec.Raw(b"null" if text is None else text.encode())
