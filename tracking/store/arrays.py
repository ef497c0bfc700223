"""Numpy columns as PostgreSQL arrays in the binary format.

psycopg adapts Python lists element by element (11 us a row of eight columns); a packed column
costs 0.14 us a row. Wrap a column in one of the types below and pass it as a query parameter;
`register` teaches a connection to send them.
"""

import struct
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

# PostgreSQL counts from 2000-01-01.
PG_EPOCH_US = 946_684_800_000_000


class PgArray:
    """One column, packed. Missing values: NaN arrives as NaN, for NULLIF on the server."""

    array_oid: ClassVar[int]
    element_oid: ClassVar[int]
    wire: ClassVar[str]
    __slots__ = ("data",)

    def __init__(self, column: NDArray[np.generic] | Sequence[int] | Sequence[float]) -> None:
        values = np.asarray(column)
        packed = np.empty(len(values), dtype=[("length", ">i4"), ("value", self.wire)])
        packed["length"] = packed.dtype[1].itemsize
        packed["value"] = values
        self.data = self._header(len(values), nulls=False) + packed.tobytes()

    def _header(self, n: int, *, nulls: bool) -> bytes:
        # An empty array has no dimension.
        if n == 0:
            return struct.pack(">iiI", 0, 0, self.element_oid)
        return struct.pack(">iiIii", 1, int(nulls), self.element_oid, n, 1)


class Int8s(PgArray):
    """bigint[]."""

    array_oid, element_oid, wire = 1016, 20, ">i8"
    __slots__ = ()


class Int4s(PgArray):
    """integer[]."""

    array_oid, element_oid, wire = 1007, 23, ">i4"
    __slots__ = ()


class Int2s(PgArray):
    """smallint[]."""

    array_oid, element_oid, wire = 1005, 21, ">i2"
    __slots__ = ()


class Float8s(PgArray):
    """double precision[]."""

    array_oid, element_oid, wire = 1022, 701, ">f8"
    __slots__ = ()


class Float4s(PgArray):
    """real[]."""

    array_oid, element_oid, wire = 1021, 700, ">f4"
    __slots__ = ()


class Bools(PgArray):
    """boolean[]."""

    array_oid, element_oid, wire = 1000, 16, "?"
    __slots__ = ()


class Times(PgArray):
    """timestamptz[], from microseconds since the Unix epoch."""

    array_oid, element_oid, wire = 1185, 1184, ">i8"
    __slots__ = ()

    def __init__(self, column: NDArray[np.int64] | Sequence[int]) -> None:
        super().__init__(np.asarray(column, dtype=np.int64) - PG_EPOCH_US)


class _Varying(PgArray):
    """An array of byte strings of varying length, None for NULL."""

    __slots__ = ()

    def __init__(self, values: Sequence[bytes | None]) -> None:
        null = struct.pack(">i", -1)
        parts = [
            null if value is None else len(value).to_bytes(4, "big") + value for value in values
        ]
        self.data = self._header(len(values), nulls=None in values) + b"".join(parts)


class Texts(_Varying):
    """text[], from UTF-8 bytes."""

    array_oid, element_oid = 1009, 25
    __slots__ = ()


class Blobs(_Varying):
    """bytea[]."""

    array_oid, element_oid = 1001, 17
    __slots__ = ()


class Uuids(_Varying):
    """uuid[], from the 16 bytes of each."""

    array_oid, element_oid = 2951, 2950
    __slots__ = ()


def texts(values: Sequence[str | None]) -> Texts:
    """text[] from strings."""
    return Texts([None if value is None else value.encode() for value in values])


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: PgArray) -> bytes:
        return obj.data


def register(adapters: AdaptersMap) -> None:
    """Let connections using `adapters` send the arrays of this module."""
    for cls in (Int8s, Int4s, Int2s, Float8s, Float4s, Bools, Times, Texts, Blobs, Uuids):
        dumper = type(f"{cls.__name__}Dumper", (_ArrayDumper,), {"oid": cls.array_oid})
        adapters.register_dumper(cls, dumper)
