"""Lists of which parts may be asked for: a condition holds where its question was asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import sql

from tracking.store.connection import Connection


async def rows_where(
    conn: Connection,
    select: str,
    always: Sequence[str],
    asked: Mapping[str, tuple[str, object]],
    *,
    order: str,
    values: Mapping[str, object],
) -> list[tuple[Any, ...]]:
    """The rows of `select`, which ends before its WHERE, in an order that may have a LIMIT.

    `always` are conditions on parameters out of `values`. Those in `asked` come with the name and
    the value of their parameter; None: that was not asked.
    """
    parts, given = list(always), dict(values)
    for condition, (name, value) in asked.items():
        if value is not None:
            parts.append(condition)
            given[name] = list(value) if isinstance(value, tuple) else value
    query = sql.SQL(" ").join(
        [sql.SQL(select), sql.SQL("WHERE"), sql.SQL(" AND ").join(map(sql.SQL, parts)),
         sql.SQL(order)]
    )  # fmt: skip
    return await (await conn.execute(query, given)).fetchall()
