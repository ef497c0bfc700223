"""Apply the migrations: plain SQL files, in order of number, each once, each in one transaction.

Forward-only and safe while the previous code runs. Any number of processes may call `migrate` at
once: an advisory lock lets one work and the others find nothing left.
"""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Literal, NamedTuple, cast

import psycopg

from tracking.errors import SchemaOutdated, StoreUnavailable

# Never taken by anything else in this database.
_LOCK = 0x7761796D61726B
_NAME = re.compile(r"(?P<name>\d{4}_[a-z0-9_]+)(?:\.(?P<flavour>timescale|native))?\.sql")

Flavour = Literal["timescale", "native"]


class Migration(NamedTuple):
    """One step: its name without flavour, and the SQL this server runs for it."""

    name: str
    sql: str


def migrate(database_url: str) -> list[str]:
    """Bring the schema up to date; return the names applied, in order.

    Raises:
        StoreUnavailable: the server cannot be reached.
    """
    try:
        with psycopg.connect(database_url, autocommit=True, connect_timeout=10) as conn:
            return _migrate(conn)
    except psycopg.OperationalError as exc:
        raise StoreUnavailable(f"cannot reach the database: {exc}".strip()) from exc


def check(conn: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Refuse to run on a schema older than this code.

    Raises:
        SchemaOutdated: naming the first missing migration.
    """
    missing = [m.name for m in _pending(conn)]
    if missing:
        raise SchemaOutdated(missing)


def _migrate(conn: "psycopg.Connection[tuple[object, ...]]") -> list[str]:
    conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration "
            "(name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied = []
        for step in _pending(conn):
            with conn.transaction():
                # A migration that must wait behind a long query fails instead of blocking ingest.
                conn.execute("SET LOCAL lock_timeout = '4s'")
                conn.execute(step.sql.encode())
                conn.execute("INSERT INTO schema_migration (name) VALUES (%s)", (step.name,))
            applied.append(step.name)
        return applied
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _pending(conn: "psycopg.Connection[tuple[object, ...]]") -> list[Migration]:
    done: set[str] = set()
    if conn.execute("SELECT to_regclass('schema_migration')").fetchone() != (None,):
        done = {cast("str", row[0]) for row in conn.execute("SELECT name FROM schema_migration")}
    return [step for step in _steps(_flavour(conn)) if step.name not in done]


def _flavour(conn: "psycopg.Connection[tuple[object, ...]]") -> Flavour:
    # A setting that is there where the library is preloaded; `shared_preload_libraries` itself may
    # be read by few.
    row = conn.execute(
        "SELECT 1 FROM pg_settings WHERE name = 'timescaledb.max_background_workers'"
    ).fetchone()
    return "timescale" if row else "native"


def _steps(flavour: Flavour) -> Iterator[Migration]:
    for file in sorted(files("tracking.migrations").iterdir(), key=lambda f: f.name):
        match = _NAME.fullmatch(file.name)
        if match and match["flavour"] in {None, flavour}:
            yield Migration(match["name"], file.read_text())
