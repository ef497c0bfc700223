"""Packed columns arrive in PostgreSQL as what they were."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from tracking.errors import SchemaOutdated
from tracking.store.arrays import (
    Blobs,
    Bools,
    Float4s,
    Float8s,
    Int2s,
    Int4s,
    Int8s,
    PgArray,
    Rows,
    Texts,
    Times,
    Uuids,
    texts,
)
from tracking.store.connection import Connection, connect, type_oid
from tracking.times import from_us

UUID_BYTES = bytes(range(16))


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url, name="test")
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        pytest.param(Int8s([-(2**63), 0, 2**63 - 1]), [-(2**63), 0, 2**63 - 1], id="bigint"),
        pytest.param(Int4s([-(2**31), 7]), [-(2**31), 7], id="integer"),
        pytest.param(Int2s(np.array([-5, 5])), [-5, 5], id="smallint"),
        pytest.param(Float8s([0.1, -1e300]), [0.1, -1e300], id="double precision"),
        pytest.param(Float4s(np.array([0.5, 1e10], np.float32)), [0.5, 1e10], id="real"),
        pytest.param(Bools([True, False]), [True, False], id="boolean"),
        pytest.param(texts(["a", None, "ü€", ""]), ["a", None, "ü€", ""], id="text"),
        pytest.param(Blobs([b"\0\xff", None]), [b"\0\xff", None], id="bytea"),
        pytest.param(Times([1_700_000_000_123_456]), [from_us(1_700_000_000_123_456)], id="time"),
        pytest.param(Int8s([]), [], id="nothing"),
    ],
)
async def test_a_column_arrives_as_it_was(
    conn: Connection, array: PgArray, expected: list[Any]
) -> None:
    cursor = await conn.execute("SELECT %s", (array,))
    assert await cursor.fetchone() == (expected,)


async def test_uuids_arrive_as_they_were(conn: Connection) -> None:
    cursor = await conn.execute("SELECT %s", (Uuids([UUID_BYTES]),))
    [(found,)] = await cursor.fetchall()
    assert [value.bytes for value in found] == [UUID_BYTES]


@pytest.mark.parametrize(
    "attrs",
    [
        pytest.param([None, None, None], id="no text at all"),
        pytest.param([b'{"a": 1}', None, b'{"b": "\xc3\xbc"}'], id="some"),
        pytest.param([b"{}", b"[]", b"3"], id="all"),
    ],
)
async def test_rows_arrive_member_by_member(conn: Connection, attrs: list[bytes | None]) -> None:
    whole = np.arange(3, dtype=np.int64)
    part = np.array([0.5, np.nan, -2.0], np.float32)
    columns = [
        (Int8s, whole), (Int4s, whole + 10), (Times, whole + 1_700_000_000_000_000),
        (Int8s, whole - 1), (Times, whole), (Float8s, whole + 0.25), (Float8s, -whole),
        *[(Float4s, part)] * 5,
        (Int2s, whole), (Int8s, whole << 40), (Int8s, -whole),
    ]  # fmt: skip
    rows = Rows(type_oid(conn, "ingest_position"), columns, [(Texts, attrs)])
    cursor = await conn.execute(
        "SELECT device_id, tenant_id, fix_time, seq, lon, NULLIF(battery, 'NaN'), quality, h3, "
        "content, attrs FROM unnest(%s::ingest_position[])",
        (rows,),
    )
    assert await cursor.fetchall() == [
        (
            i, i + 10, from_us(1_700_000_000_000_000 + i), i - 1, i + 0.25,
            None if np.isnan(part[i]) else float(part[i]), i, i << 40, -i,
            None if text is None else text.decode(),
        )
        for i, text in enumerate(attrs)
    ]  # fmt: skip


async def test_no_rows_are_an_empty_array(conn: Connection) -> None:
    none = np.empty(0, np.int64)
    rows = Rows(type_oid(conn, "ingest_position"), [(Int8s, none)], [(Texts, [])])
    cursor = await conn.execute("SELECT cardinality(%s::ingest_position[])", (rows,))
    assert await cursor.fetchone() == (0,)


async def test_a_database_without_the_migrations_is_named(empty_database_url: str) -> None:
    with pytest.raises(SchemaOutdated, match="waymark migrate"):
        await connect(empty_database_url, name="test")
