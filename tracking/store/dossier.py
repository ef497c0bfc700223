"""Everything that is held about a device or a person, table by table, as lines of JSON."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

from psycopg import sql

from tracking.store.connection import Connection

# What proves a secret or is derived from the rest is no data of theirs.
_LEFT_OUT = ["fold", "presences", "digest", "content", "secret_hash", "password", "totp_secret"]
_LEFT_OUT += ["totp_pending", "recovery", "invite"]
_DERIVED = ["checkpoint", "repair"]
_LINES_AT_ONCE = 2_000


class Table(NamedTuple):
    """A table with rows of devices, by this column; `timed` where they lie by device and time."""

    name: str
    column: str
    timed: bool


async def tables_of_devices(conn: Connection) -> list[Table]:
    """Every table that refers to devices, by name or by constraint: a later one is not forgotten.

    Partitions and the chunks of hypertables are their table's.
    """
    found = await conn.execute(
        "SELECT c.relname, a.attname, EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = c.oid "
        "  AND t.attname = 'fix_time' AND NOT t.attisdropped) "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE NOT a.attisdropped AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
        "AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'device'::regclass) "
        "AND (a.attname = 'device_id' OR EXISTS (SELECT FROM pg_constraint k "
        "  WHERE k.conrelid = c.oid AND k.confrelid = 'device'::regclass "
        "  AND k.conkey = ARRAY[a.attnum])) ORDER BY c.relname, a.attname"
    )
    return [Table(*row) async for row in found]


async def device_lines(
    conn: Connection, tenant_id: int, device_id: int, device: str
) -> AsyncGenerator[bytes, None]:
    """Lines `{"table", "row"}` of all that is held about a device, some thousands at a time.

    To be read within one transaction, so that it is of one moment.
    """
    tables = [Table("device", "id", timed=False), *await tables_of_devices(conn)]
    for table in tables:
        if table.name not in _DERIVED:
            async for lines in _lines(conn, tenant_id, table.name, table.column, device_id):
                yield lines
    # Known by the name in the topic alone.
    for name in ("ledger_reason", "dead_letter"):
        async for lines in _lines(conn, tenant_id, name, "device", device):
            yield lines
    async for lines in _audit(conn, tenant_id, "noun = 'devices' AND key = %(name)s", device):
        yield lines


async def person_lines(
    conn: Connection, tenant_id: int, user_id: int, email: str
) -> AsyncGenerator[bytes, None]:
    """Lines of all that is held about a user: account, sessions, and what they did."""
    for name, column in (("user_account", "id"), ("user_session", "user_id")):
        async for lines in _lines(conn, tenant_id, name, column, user_id):
            yield lines
    theirs = (
        "(actor_name = %(name)s AND actor_kind <> 'key') "
        "OR (noun IN ('users', 'auth') AND key = %(name)s)"
    )
    async for lines in _audit(conn, tenant_id, theirs, email):
        yield lines


async def _lines(
    conn: Connection, tenant_id: int, table: str, column: str, value: object
) -> AsyncGenerator[bytes, None]:
    query = sql.SQL(
        "SELECT jsonb_build_object('table', %(table)s::text, 'row', to_jsonb(t) - %(out)s::text[])"
        "::text FROM {table} t WHERE tenant_id = %(tenant_id)s AND {column} = %(value)s"
    ).format(table=sql.Identifier(table), column=sql.Identifier(column))
    values = {"table": table, "out": _LEFT_OUT, "tenant_id": tenant_id, "value": value}
    async for lines in _read(conn, query, values):
        yield lines


async def _audit(
    conn: Connection, tenant_id: int, condition: str, name: str
) -> AsyncGenerator[bytes, None]:
    query = sql.SQL(
        "SELECT jsonb_build_object('table', 'audit_log', 'row', to_jsonb(t))::text "
        "FROM audit_log t WHERE tenant_id = %(tenant_id)s AND (" + condition + ") ORDER BY at, id"
    )
    async for lines in _read(conn, query, {"tenant_id": tenant_id, "name": name}):
        yield lines


async def _read(
    conn: Connection, query: sql.SQL | sql.Composed, values: dict[str, object]
) -> AsyncGenerator[bytes, None]:
    async with conn.cursor(name="dossier") as cursor:
        await cursor.execute(query, values)
        while rows := await cursor.fetchmany(_LINES_AT_ONCE):
            yield "".join(f"{row[0]}\n" for row in rows).encode()
