"""What `ingest` is measured beside, on the same broker and database."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import psycopg

from tests.benchmarks.generator import Load
from tests.benchmarks.load import generator
from tests.benchmarks.packets import Stream
from tests.benchmarks.processes import Meter, Others, Program
from tests.benchmarks.result import Row
from tests.benchmarks.stack import Stack
from tests.services import PG_BIN

_DEVICES = 1_000


def naive(stack: Stack, messages: int) -> Row:
    """aiomqtt, pydantic, one INSERT and commit per message."""
    with psycopg.connect(stack.database_url) as conn:
        conn.execute(
            "CREATE TABLE naive_position (device text, fix_time timestamptz, seq bigint, "
            "lon float8, lat float8, alt_m real, speed_mps real, course_deg real, "
            "accuracy_m real, battery real, PRIMARY KEY (device, fix_time))"
        )
    arguments = (stack.mqtt_host, str(stack.mqtt_port), stack.database_url, str(messages))
    with (
        generator(_load(stack, "naive", messages)) as source,
        Program("tests.benchmarks.naive", *arguments) as consumer,
    ):
        consumer.hear()
        meter, others = Meter({**stack.pids, "worker": consumer.pid}), Others()
        started_s = time.monotonic()
        source.go()
        consumer.hear()
        seconds, cpu = time.monotonic() - started_s, meter.read()
        cpu["generator"] = source.report().cpu_s
        rest = others.read(sum(cpu.values()))
    stored = _count(stack, "naive_position")
    figures = _figures(messages, stored, seconds, cpu, rest)
    return Row("naive: aiomqtt, pydantic, commit each", "peer", figures)


def bound(stack: Stack, messages: int) -> Row:
    """`mosquitto_sub` piped into `psql` COPY: text lines of no type, one commit at the end."""
    with psycopg.connect(stack.database_url) as conn:
        conn.execute("CREATE TABLE raw_line (line text)")
    with generator(_load(stack, "bound", messages)) as source, _pipe(stack, messages) as pipe:
        subscriber, copier = pipe
        pids = {**stack.pids, "subscriber": subscriber.pid, "copier": copier.pid}
        meter, others = Meter(pids), Others()
        started_s = time.monotonic()
        source.go()
        wait_for_end(copier)
        seconds, cpu = time.monotonic() - started_s, meter.read()
        cpu["generator"] = source.report().cpu_s
        rest = others.read(sum(cpu.values()))
    cpu["worker"] = cpu.pop("subscriber") + cpu.pop("copier")
    stored = _count(stack, "raw_line")
    figures = _figures(messages, stored, seconds, cpu, rest)
    return Row("bound: mosquitto_sub | psql COPY", "bound", figures)


@contextlib.contextmanager
def _pipe(
    stack: Stack, messages: int
) -> Iterator[tuple["subprocess.Popen[bytes]", "subprocess.Popen[bytes]"]]:
    subscribe = shutil.which("mosquitto_sub")
    assert subscribe is not None, "no mosquitto_sub: `apt-get install mosquitto-clients`"
    command = f"-h {stack.mqtt_host} -p {stack.mqtt_port} -q 1 -t bound/# -F %t:%p -C {messages}"
    subscriber = subprocess.Popen([subscribe, *command.split()], stdout=subprocess.PIPE)
    copier = subprocess.Popen(
        [f"{PG_BIN}/psql", "-qXd", stack.database_url, "-c", "COPY raw_line FROM STDIN"],
        stdin=subscriber.stdout,
    )
    assert subscriber.stdout is not None
    subscriber.stdout.close()
    try:
        # It does not say when it has subscribed; a message it missed would show as a timeout.
        time.sleep(1.0)
        yield subscriber, copier
    finally:
        for process in (subscriber, copier):
            if process.poll() is None:
                process.kill()
            process.wait()


def wait_for_end(process: "subprocess.Popen[bytes]") -> None:
    """Wait without reaping: a zombie still says what CPU time it used."""
    deadline_s = time.monotonic() + 60
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{process.args!r} did not end")
        time.sleep(0.005)


def _load(stack: Stack, root: str, messages: int) -> Load:
    start_us = int(time.time() * 1e6) - 3_600_000_000
    stream = Stream("riv", _DEVICES, messages, start_us, 1_000_000, root=f"{root}/default")
    return Load(stack.mqtt_host, stack.mqtt_port, stream)


def _figures(
    messages: int, stored: int, seconds: float, cpu: dict[str, float], rest: dict[str, float]
) -> dict[str, float]:
    return {
        "msgs_per_s": messages / seconds,
        "msgs": float(messages),
        "lost": float(messages - stored),
        **{f"{name}_us": 1e6 * spent / messages for name, spent in cpu.items()},
        "total_us": 1e6 * sum(cpu.values()) / messages,
        **rest,
    }


def _count(stack: Stack, table: str) -> int:
    with psycopg.connect(stack.database_url) as conn:
        row = conn.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 -- our names
    return int(row[0]) if row else 0
