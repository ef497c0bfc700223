"""Checks of the database and of Redis."""

import secrets
import time
from collections.abc import Iterator
from typing import cast

import psycopg
import redis

from tracking.errors import SchemaOutdated
from tracking.store.migrate import check as check_migrations
from waymark.doctor.finding import TIMEOUT_S, Finding, one_line


def check_database(url: str) -> Iterator[Finding]:
    """Reachable, its version and extension, whether a commit is durable, the schema."""
    try:
        conn = psycopg.connect(url, connect_timeout=int(TIMEOUT_S), autocommit=True)
    except psycopg.Error as exc:
        said = one_line(exc)
        yield Finding("database", "reachable", "fail", said, _database_advice(said))
        return
    with conn:
        version = conn.info.parameter_status("server_version")
        yield Finding("database", "reachable", "ok", f"PostgreSQL {version}")
        yield _timescale(conn)
        yield _durability(conn)
        yield _migrations(conn)


def _database_advice(said: str) -> str:
    # A refused connection carries no error code, only words.
    if "password" in said or "authentication" in said:
        return "correct user and password in WAYMARK_DATABASE_URL"
    if "does not exist" in said:
        return "create it, or correct the names in WAYMARK_DATABASE_URL"
    return "start PostgreSQL or `waymark up`, and set WAYMARK_DATABASE_URL to it"


def _timescale(conn: psycopg.Connection[tuple[object, ...]]) -> Finding:
    row = conn.execute(
        "SELECT default_version, installed_version, "
        "current_setting('shared_preload_libraries') ~ 'timescaledb' "
        "FROM pg_available_extensions WHERE name = 'timescaledb'"
    ).fetchone()
    if row is None:
        return Finding("database", "time series", "ok", "native partitions, no TimescaleDB")
    if not row[2]:
        return Finding(
            "database",
            "time series",
            "warn",
            "TimescaleDB is installed on the server but not loaded: native partitions are used",
            "to use it, add timescaledb to shared_preload_libraries before the first migration",
        )
    return Finding("database", "time series", "ok", f"TimescaleDB {row[1] or row[0]}")


def _durability(conn: psycopg.Connection[tuple[object, ...]]) -> Finding:
    off = [
        name
        for name in ("fsync", "synchronous_commit", "full_page_writes")
        if conn.execute("SELECT current_setting(%s)", (name,)).fetchone() == ("off",)
    ]
    if not off:
        return Finding("database", "durable", "ok", "a commit survives a crash")
    return Finding(
        "database",
        "durable",
        "warn",
        f"{', '.join(off)} is off: a crash can lose what devices were told is safe",
        f"set {off[0]} = on in postgresql.conf",
    )


def _migrations(conn: psycopg.Connection[tuple[object, ...]]) -> Finding:
    try:
        check_migrations(conn)
    except SchemaOutdated as exc:
        missing = ", ".join(exc.missing)
        return Finding("database", "schema", "fail", f"lacks {missing}", "run `waymark migrate`")
    except psycopg.Error as exc:
        return Finding(
            "database", "schema", "fail", one_line(exc), "let this user read schema_migration"
        )
    return Finding("database", "schema", "ok", "every migration is applied")


def check_redis(url: str) -> Iterator[Finding]:
    """Reachable, and a message published comes back to a subscriber."""
    advice = "start Redis or Valkey, or `waymark up`, and set WAYMARK_REDIS_URL to it"
    try:
        client = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
    except ValueError as exc:
        yield Finding("redis", "reachable", "fail", one_line(exc), advice)
        return
    with client:
        try:
            info = cast("dict[str, object]", client.info("server"))
        except redis.AuthenticationError as exc:
            advice = "put the right user and password into WAYMARK_REDIS_URL"
            yield Finding("redis", "reachable", "fail", one_line(exc), advice)
            return
        except redis.RedisError as exc:
            yield Finding("redis", "reachable", "fail", one_line(exc), advice)
            return
        name = "Valkey" if "valkey_version" in info else "Redis"
        version = info.get("valkey_version", info.get("redis_version"))
        yield Finding("redis", "reachable", "ok", f"{name} {version}")
        try:
            took_ms = _pubsub_roundtrip(client)
        except (redis.RedisError, TimeoutError) as exc:
            yield Finding(
                "redis",
                "pub/sub",
                "fail",
                one_line(exc),
                "allow this user SUBSCRIBE and PUBLISH on channels wm:* (ACL SETUSER ... &wm:*)",
            )
            return
        yield Finding("redis", "pub/sub", "ok", f"a message came back in {took_ms:.1f} ms")


def _pubsub_roundtrip(client: "redis.Redis") -> float:
    channel = f"wm:doctor:{secrets.token_hex(8)}"
    with client.pubsub() as subscription:  # type: ignore[no-untyped-call]  # redis-py left it out
        subscription.subscribe(channel)
        deadline = time.monotonic() + TIMEOUT_S
        sent_s = None
        while time.monotonic() < deadline:
            message = subscription.get_message(timeout=0.2)
            if message is None:
                continue
            if message["type"] == "subscribe":
                sent_s = time.monotonic()
                client.publish(channel, "ping")
            elif message["type"] == "message" and sent_s is not None:
                return (time.monotonic() - sent_s) * 1_000
    raise TimeoutError("a published message did not come back")
