"""What the three programs have in common: their arguments, their database, and how they end."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from waymark.client import AsyncWaymark, Patience, WaymarkError

_ADDRESS = "http://127.0.0.1:8080"


def arguments(name: str, about: str) -> argparse.ArgumentParser:
    """The arguments all three take."""
    parser = argparse.ArgumentParser(
        f"python -m examples.{name}",
        description=about,
        epilog="The API key comes from API_KEY, as arguments are seen by everybody.",
    )
    address = os.environ.get("API_URL", _ADDRESS)
    parser.add_argument("--url", default=address, help=f"the api, or API_URL ({_ADDRESS})")
    parser.add_argument("--db", default=f"{name}.db", help=f"its own database ({name}.db)")
    parser.add_argument("--show", action="store_true", help="print what it knows as JSON, and end")
    return parser


def opened(path: str, schema: str, *, synchronous: str = "NORMAL") -> sqlite3.Connection:
    """The service's database; `with db:` is one transaction.

    Write-ahead logging lets `--show` read meanwhile. NORMAL may lose the last transactions with
    the machine's power, never part of one: as the cursor goes with them, they are asked for again.
    Who answers somebody that it is written down needs FULL.
    """
    try:
        db = sqlite3.connect(path, timeout=10)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {synchronous}")
        db.executescript(schema)
    except sqlite3.Error as exc:
        sys.exit(f"{path}: {exc}")
    return db


def client(url: str) -> AsyncWaymark:
    """A client that waits for the api as long as that is away: what is to be done is kept."""
    return AsyncWaymark(url, key=required("API_KEY"), patience=Patience(tries=sys.maxsize))


def required(name: str) -> str:
    """A setting without which nothing works."""
    value = os.environ.get(name)
    if not value:
        sys.exit(f"set {name}")
    return value


def show(truth: object) -> None:
    """Print what a service knows."""
    sys.stdout.write(json.dumps(truth, indent=2) + "\n")


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run until SIGTERM or SIGINT; what ends it otherwise is told in one line.

    Nothing is saved at the end: whatever a service knows it has written down already, or else a
    `kill -9` would take it.
    """
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        with suppress(asyncio.CancelledError):
            asyncio.run(_until_told(main))
    except Exception as exc:
        fault = _first(exc)
        if not isinstance(fault, WaymarkError | sqlite3.Error | OSError | ValueError):
            raise
        sys.exit(str(fault))


async def _until_told(main: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(main())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task


def _first(fault: BaseException) -> BaseException:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault
