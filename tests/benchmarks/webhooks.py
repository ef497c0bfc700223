"""What a delivery costs: one deliverer, a receiver that counts, one target and a hundred.

Beside it the same client posting the same bodies and nothing else: no log, no signature, no order,
nothing written down.
"""

import asyncio
import time

import aiohttp
import psycopg
import uvloop

from tests.benchmarks.processes import Meter, Others, Program, when_ready
from tests.benchmarks.result import Result, Row
from tests.benchmarks.stack import Stack, running_stack
from tracking.seal import Seal
from tracking.signing import new_secret
from tracking.store.connection import connect
from tracking.store.webhooks import create_webhook
from tracking.webhooks import Secrets, SigningKey, Webhook, sealed

_KEY = "a secret key for benchmarks, 32 characters"
_SUBJECTS = 1_000
_BODY = b'{"id":"x","data":{' + b'"k":"0123456789",' * 20 + b'"end":1}}'
# The bare client makes as many requests at a time as the deliverer for one target.
_AT_ONCE = 8


def run(*, quick: bool) -> Result:
    """Deliver a log that is there, as after an outage: as fast as it goes."""
    n = 2_000 if quick else 20_000
    result = Result(
        "webhooks",
        "one deliverer; events of a log that is there, to receivers on this machine",
        {"deliveries": n, "subjects": _SUBJECTS},
    )
    with Program("tests.benchmarks.hook_receiver") as there:
        url = f"http://127.0.0.1:{there.hear()}/"
        result.rows.append(Row("aiohttp, bare", "bound", _bare(url, there, n)))
        seen = n
        for targets in (1, 100):
            with running_stack() as stack:
                events = n // targets
                asyncio.run(_prepare(stack.database_url, url, targets, events))
                figures = _delivered(stack, there, targets * events, seen)
                seen += targets * events
            result.rows.append(Row(f"{targets} target(s)", "waymark", figures))
    bare = result.rows[0].figures["cpu_us"]
    for row in result.rows[1:]:
        result.ratios[f"CPU per delivery, {row.case} to bare"] = row.figures["cpu_us"] / bare
    return result


def _bare(url: str, there: Program, n: int) -> dict[str, float]:
    async def post_all() -> None:
        async with aiohttp.ClientSession() as session:
            left = iter(range(n))

            async def post() -> None:
                for _ in left:
                    async with session.post(url, data=_BODY) as response:
                        await response.read()

            await asyncio.gather(*(post() for _ in range(_AT_ONCE)))

    started_s, cpu_s = time.perf_counter(), time.process_time()
    uvloop.run(post_all())
    there.tell(str(n))
    there.hear()
    took_s = time.perf_counter() - started_s
    return {"per_s": n / took_s, "cpu_us": 1e6 * (time.process_time() - cpu_s) / n}


def _delivered(stack: Stack, there: Program, n: int, seen: int) -> dict[str, float]:
    environment = {
        "WAYMARK_DATABASE_URL": stack.database_url,
        "WAYMARK_REDIS_URL": stack.redis_url,
        "WAYMARK_SECRET_KEY": _KEY,
        "WAYMARK_WEBHOOK_ALLOW_NETS": "127.0.0.0/8",
        "WAYMARK_WEBHOOK_PORTS": "",
        "WAYMARK_WEBHOOK_HTTP": "true",
    }
    with when_ready("waymark", "deliver", env=environment) as deliverer:
        meter = Meter({"deliver": deliverer.pid, "postgres": stack.pids["postgres"]})
        others, started_s = Others(), time.perf_counter()
        there.tell(str(seen + n))
        there.hear()
        took_s = time.perf_counter() - started_s
        cpu = meter.read()
        rest = others.read(sum(cpu.values()))
    return {
        "per_s": n / took_s,
        "cpu_us": 1e6 * cpu["deliver"] / n,
        "postgres_us": 1e6 * cpu["postgres"] / n,
        **rest,
    }


async def _prepare(database_url: str, url: str, targets: int, events: int) -> None:
    seal = Seal(_KEY)
    async with await connect(database_url, name="bench") as conn:
        for number in range(targets):
            webhook = Webhook(f"hook-{number}", url=url)
            kept = sealed(seal, 1, webhook.id, Secrets((SigningKey(new_secret()),)))
            await create_webhook(conn, 1, webhook, kept, enabled=True, author="bench")
    with psycopg.connect(database_url, autocommit=True) as plain:
        plain.execute(
            "INSERT INTO event (id, tenant_id, cursor, type, subject, time, data) "
            "SELECT gen_random_uuid(), 1, i, 'fence.entered', 'van-' || i %% %s, now(), "
            "jsonb_build_object('fence', 'depot', 'lon', 5.1, 'lat', 52.1, 'depth_m', i, "
            "'fixes', jsonb_build_array(i, i + 1, i + 2)) FROM generate_series(1, %s) i",
            (_SUBJECTS, events),
        )
        plain.execute("UPDATE tenant SET feed_cursor = %s WHERE id = 1", (events,))
