"""`waymark api` as a process: how it starts and how it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from api.app import _listen
from tests.integration.api_site import Site, client_of
from tests.integration.feed_client import feed_client
from tests.services import TIMEOUT_FACTOR, free_port, wait_until
from tracking.store.keys import create_key

ROOT = Path(__file__).parents[2]


@contextmanager
def api_process(
    tmp_path: Path, *, output: int = subprocess.PIPE, **settings: str | int
) -> Iterator[subprocess.Popen[bytes]]:
    """`waymark api` for the time of the context; a pipe that nobody reads holds it up when full."""
    environment = {f"WAYMARK_{name.upper()}": str(value) for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "waymark", "api"],
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/health/live", trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_says_goodbye_to_clients_and_ends_with_success(
    tmp_path: Path, database_url: str, valkey_url: str, number: signal.Signals
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    key = create_key(database_url, "default", "test")
    with api_process(
        tmp_path, database_url=database_url, redis_url=valkey_url, http_port=port
    ) as process:
        await asyncio.to_thread(wait_until, lambda: answers(url), "the api answers")
        async with client_of(url, key) as http, feed_client(Site(url, key, http)) as feed:
            await feed.subscribe()
            process.send_signal(number)
            with pytest.raises(ConnectionClosed) as caught:
                await feed.receive()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1012
        assert await asyncio.to_thread(process.wait, 10 * TIMEOUT_FACTOR) == 0


def test_a_taken_port_is_one_line_and_not_a_trace(tmp_path: Path, valkey_url: str) -> None:
    taken = int(valkey_url.partition("127.0.0.1:")[2].partition("/")[0])
    with api_process(tmp_path, http_port=taken) as process:
        output, _ = process.communicate(timeout=20 * TIMEOUT_FACTOR)
    assert process.returncode == 2
    assert b"WAYMARK_HTTP_PORT" in output
    assert b"Traceback" not in output


def test_an_answer_does_not_wait_for_the_client_s_delayed_ack() -> None:
    """Asyncio turns Nagle's algorithm off where the socket names TCP; that is 40 ms an answer."""
    with _listen("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP
