"""What every command shares: its options, the settings, the consoles, and how it fails."""

# ruff: noqa: PLC0415  -- nothing slow is imported before a command needs it

import asyncio
import os
import sys
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from tracking.settings import Settings

DataDir = Annotated[Path, typer.Option(help="Folder of the embedded stack.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object, for programs.")]
DEFAULT_DATA_DIR = Path(".waymark")

out = Console()
err = Console(stderr=True)


def set_up(data_dir: Path | None = None) -> "Settings":
    """Read the settings and start to log.

    Where a variable is not set and `data_dir` holds a running embedded stack, it is meant.
    """
    from tracking.settings import load_settings
    from waymark.logs import set_up_logging

    overrides: dict[str, object] = {}
    if data_dir is not None:
        from waymark.embedded import running_stack
        from waymark.secret_key import secret_key_of

        stack = running_stack(data_dir)
        if stack is not None:
            found = stack._asdict() | {"secret_key": secret_key_of(data_dir)}
            overrides = {k: v for k, v in found.items() if f"WAYMARK_{k.upper()}" not in os.environ}
    settings = load_settings(**overrides)
    set_up_logging(settings.log_level)
    return settings


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a process's main coroutine on the fastest event loop there is."""
    if sys.platform == "win32":
        asyncio.run(work)
        return
    import uvloop

    uvloop.run(work)


def moment(option: str, text: str) -> datetime:
    """The time an option names.

    Raises:
        InputError: it is none, or says no time zone.
    """
    from tracking.errors import InputError

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or found.year < 1970:
        raise InputError(
            f"{option}: {text!r} is not a time like 2026-03-08T06:30:00Z",
            field=option.removeprefix("--").replace("-", "_"),
        )
    return found


def fail(message: str) -> NoReturn:
    """End with one line on stderr and exit status 2."""
    err.print(f"[bold red]waymark:[/] {escape(message)}", soft_wrap=True, highlight=False)
    sys.exit(2)
