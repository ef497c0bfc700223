"""Rules as they are kept: each edit is a version that judges the events recorded behind it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from tracking.rules import Rule, RuleVersion
from tracking.store.connection import Connection

_decoder = msgspec.json.Decoder(Rule)

_CURRENT = (
    "SELECT r.number, v.version, v.body::text, r.created_at, v.recorded_at, v.recorded_by "
    "FROM rule r JOIN rule_version v ON v.rule_number = r.number "
)


class StoredRule(NamedTuple):
    """A version of a rule, and when and by whom it was written."""

    version: RuleVersion
    created_at: datetime
    updated_at: datetime
    updated_by: str | None


class RuleBook(NamedTuple):
    """The rules that judge the events behind a cursor, up to `until` (None: all there will be).

    True as long as the tenant's `rule_revision` is `revision`.
    """

    revision: int
    versions: tuple[RuleVersion, ...]
    until: int | None


async def save_rule(
    conn: Connection,
    tenant_id: int,
    rule: Rule,
    *,
    author: str | None,
    only_over: Sequence[int] | None = None,
) -> StoredRule | None:
    """Save a rule as its newest version; one that says nothing new changes nothing.

    None when it is in none of the versions `only_over`; 0 stands for there being none. A deleted
    one comes back to life with its next version, and raises no alert again for an event it had one
    for.
    """
    async with conn.transaction():
        cursor = await _lock(conn, tenant_id)
        found = await conn.execute(
            "SELECT number, version, deleted_at IS NULL FROM rule WHERE tenant_id = %s AND id = %s",
            (tenant_id, rule.id),
        )
        number, version, lives = await found.fetchone() or (None, 0, False)
        if only_over is not None and (version if lives else 0) not in only_over:
            return None
        stored = await get_rule(conn, tenant_id, rule.id) if lives else None
        if stored is not None and stored.version.rule == rule:
            return stored
        if number is None:
            made = await conn.execute(
                "INSERT INTO rule (tenant_id, id, version) VALUES (%s, %s, 1) RETURNING number",
                (tenant_id, rule.id),
            )
            number = (await made.fetchone() or (0,))[0]
        else:
            await conn.execute(
                "UPDATE rule SET version = %s, deleted_at = NULL WHERE number = %s",
                (version + 1, number),
            )
        body = msgspec.json.encode(rule).decode()
        await _add_version(
            conn, tenant_id, number, version + 1, cursor=cursor, author=author, body=body
        )
        return await get_rule(conn, tenant_id, rule.id)


async def delete_rule(
    conn: Connection,
    tenant_id: int,
    rule_id: str,
    author: str | None,
    *,
    only_over: Sequence[int] | None = None,
) -> bool:
    """End a rule; its alerts stay as they are.

    False when there is none in one of the versions `only_over`.
    """
    async with conn.transaction():
        cursor = await _lock(conn, tenant_id)
        gone = await conn.execute(
            "UPDATE rule SET deleted_at = now(), version = version + 1 "
            "WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND deleted_at IS NULL "
            "AND (%(only)s::integer[] IS NULL OR version = ANY(%(only)s)) "
            "RETURNING number, version",
            {
                "tenant_id": tenant_id,
                "id": rule_id,
                "only": None if only_over is None else list(only_over),
            },
        )
        row = await gone.fetchone()
        if row is None:
            return False
        number, version = row
        await _add_version(
            conn, tenant_id, number, version, cursor=cursor, author=author, body=None
        )
        return True


async def get_rule(
    conn: Connection, tenant_id: int, rule_id: str, version: int | None = None
) -> StoredRule | None:
    """A rule as it is, or as one of its versions was, which also a deleted rule has."""
    found = await conn.execute(
        _CURRENT + "WHERE r.tenant_id = %(tenant_id)s AND r.id = %(id)s AND v.body IS NOT NULL "
        "AND v.version = coalesce(%(version)s::integer, r.version)",
        {"tenant_id": tenant_id, "id": rule_id, "version": version},
    )
    row = await found.fetchone()
    return None if row is None else _stored(row)


async def list_rules(
    conn: Connection, tenant_id: int, *, after: str | None, limit: int
) -> list[StoredRule]:
    """Rules by id, at most `limit`, those behind the id `after`."""
    found = await conn.execute(
        _CURRENT + "AND v.version = r.version WHERE r.tenant_id = %(tenant_id)s "
        "AND r.deleted_at IS NULL AND (%(after)s::text IS NULL OR r.id > %(after)s) "
        "ORDER BY r.id LIMIT %(limit)s",
        {"tenant_id": tenant_id, "after": after, "limit": limit},
    )
    return [_stored(row) async for row in found]


async def rule_book(conn: Connection, tenant_id: int, cursor: int) -> RuleBook:
    """The rules for the events right behind a cursor."""
    found = await conn.execute(
        "SELECT rule_revision, (SELECT min(from_cursor) FROM rule_version "
        "WHERE tenant_id = %(tenant_id)s AND from_cursor > %(cursor)s) "
        "FROM tenant WHERE id = %(tenant_id)s",
        {"tenant_id": tenant_id, "cursor": cursor},
    )
    revision, until = await found.fetchone() or (0, None)
    found = await conn.execute(
        "SELECT DISTINCT ON (rule_number) rule_number, version, body::text FROM rule_version "
        "WHERE tenant_id = %s AND from_cursor <= %s ORDER BY rule_number, version DESC",
        (tenant_id, cursor),
    )
    versions = tuple(_version(row) for row in await found.fetchall() if row[2] is not None)
    return RuleBook(revision, versions, until)


async def versions_of(
    conn: Connection, wanted: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], RuleVersion]:
    """Rules as they were, by (number, version)."""
    pairs = sorted(set(wanted))
    if not pairs:
        return {}
    numbers, versions = zip(*pairs, strict=True)
    found = await conn.execute(
        "SELECT v.rule_number, v.version, v.body::text FROM rule_version v "
        "JOIN unnest(%s::bigint[], %s::integer[]) k(number, version) "
        "ON v.rule_number = k.number AND v.version = k.version",
        (list(numbers), list(versions)),
    )
    return {(row[0], row[1]): _version(row) async for row in found}


async def _lock(conn: Connection, tenant_id: int) -> int:
    """Keep events from being written until the commit; return the last cursor before the edit.

    So every event is clearly before or behind the edit, and a follower that is late judges it by
    the rules of its time.
    """
    found = await conn.execute(
        "UPDATE tenant SET rule_revision = rule_revision + 1 WHERE id = %s RETURNING feed_cursor",
        (tenant_id,),
    )
    cursor: int = (await found.fetchone() or (0,))[0]
    # Tenants without rules cost the follower nothing.
    await conn.execute(
        "INSERT INTO alert_cursor (tenant_id, cursor) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (tenant_id, cursor),
    )
    return cursor


async def _add_version(
    conn: Connection,
    tenant_id: int,
    number: int,
    version: int,
    *,
    cursor: int,
    author: str | None,
    body: str | None,
) -> None:
    await conn.execute(
        "INSERT INTO rule_version (rule_number, version, tenant_id, from_cursor, recorded_by, "
        "body) VALUES (%s, %s, %s, %s, %s, %s::jsonb)",
        (number, version, tenant_id, cursor, author, body),
    )


def _version(row: tuple[Any, ...]) -> RuleVersion:
    number, version, body = row
    return RuleVersion(number, version, _decoder.decode(body))


def _stored(row: tuple[Any, ...]) -> StoredRule:
    return StoredRule(_version(row[:3]), *row[3:])
