"""The obvious consumer, a process of its own: aiomqtt, pydantic, one INSERT and commit each.

    python -m tests.benchmarks.naive HOST PORT DATABASE_URL MESSAGES

Prints `ready` once subscribed and `done` once that many messages are stored.
"""

import asyncio
import sys
from datetime import datetime

import aiomqtt
import psycopg
from pydantic import BaseModel, Field


class Position(BaseModel):
    """The payload, as one would write it down."""

    t: datetime
    lon: float = Field(ge=-180, le=180)
    lat: float = Field(ge=-90, le=90)
    alt_m: float | None = None
    speed_mps: float | None = Field(None, ge=0)
    course_deg: float | None = Field(None, ge=0, le=360)
    accuracy_m: float | None = Field(None, ge=0)
    battery: float | None = Field(None, ge=0, le=1)
    valid: bool = True
    seq: int | None = None


async def consume(host: str, port: int, database_url: str, messages: int) -> None:
    """Store `messages` messages."""
    conn = await psycopg.AsyncConnection.connect(database_url)
    async with conn, aiomqtt.Client(host, port) as client:
        await client.subscribe("naive/#", qos=1)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            fix = Position.model_validate_json(message.payload)
            await conn.execute(
                "INSERT INTO naive_position VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    message.topic.value.split("/")[2], fix.t, fix.seq, fix.lon, fix.lat,
                    fix.alt_m, fix.speed_mps, fix.course_deg, fix.accuracy_m, fix.battery,
                ),
            )  # fmt: skip
            await conn.commit()
            messages -= 1
            if not messages:
                break
    sys.stdout.write("done\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(consume(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
