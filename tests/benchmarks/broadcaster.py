"""A bare server: what it costs to send a message to everybody with `websockets` alone.

    python -m tests.benchmarks.broadcaster RATE JOINED

Prints its port, then sends RATE positions a second to whoever is connected: each as a message by
itself with `broadcast`, or JOINED of them framed once and written together.
"""

import asyncio
import contextlib
import sys
import time
from itertools import count

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from tests.benchmarks.fixes import fix
from tracking.feed import encode_position


async def main(rate: int, joined: int) -> None:
    """Serve until killed."""
    clients: set[ServerConnection] = set()

    async def handler(client: ServerConnection) -> None:
        clients.add(client)
        with contextlib.suppress(Exception):
            await client.wait_closed()
        clients.discard(client)

    async with serve(handler, "127.0.0.1", 0, compression=None, max_queue=None) as server:
        sys.stdout.write(f"{next(iter(server.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        due_s = time.monotonic()
        for turn in count():
            due_s += joined / rate
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            texts = [encode_position(fix(turn * joined + n)).decode() for n in range(joined)]
            if joined == 1:
                broadcast(clients, texts[0])
                continue
            frames = b"".join(map(_framed, texts))
            for client in clients:
                client.transport.write(frames)


def _framed(text: str) -> bytes:
    return bytes((0x81, 126)) + len(text).to_bytes(2, "big") + text.encode()


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:])))
