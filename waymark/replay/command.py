"""The command `waymark replay`: its options, checked and made into one job."""

import math
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tracking.errors import InputError, WaymarkError
from waymark.replay.named import NAMED, load
from waymark.replay.source import Format

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INTERRUPTED = 130  # what a shell reports for SIGINT


class Order(StrEnum):
    """The order of publishing at full speed."""

    FILE = "file"
    TIME = "time"


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="GPX, GeoJSON, CSV (each also .gz or .zip) or OwnTracks .rec", show_default=False
        ),
    ],
    *,
    file_format: Annotated[
        Format | None, typer.Option("--format", help="Read the files as this format")
    ] = None,
    mapping: Annotated[
        str | None,
        typer.Option(help=f"Column mapping: {', '.join(NAMED)}, or a .json file"),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=COLUMN, such as lon=Longitude; repeatable")
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=UNIT, such as speed=mph, kmh, mps or kn; repeatable"),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(help="auto, iso, epoch_s, epoch_ms or a pattern such as '%d/%m/%Y %H:%M'"),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of times without one, such as Africa/Cairo")
    ] = None,
    device_column: Annotated[str | None, typer.Option(help="Column that names the device")] = None,
    device: Annotated[str | None, typer.Option(help="One device for every row")] = None,
    device_prefix: Annotated[str, typer.Option(help="Put before each device's name")] = "",
    tenant: Annotated[str, typer.Option(help="Tenant to publish as")] = "default",
    mqtt: Annotated[
        str | None, typer.Option(help="Broker URL; default WAYMARK_MQTT_URL", show_default=False)
    ] = None,
    window: Annotated[
        int, typer.Option(min=1, max=60_000, help="Messages in flight, at most")
    ] = 1_000,
    speed: Annotated[
        str,
        typer.Option(help="max, or recorded seconds per second: 1, 10, 60; sorts by time"),
    ] = "max",
    sort: Annotated[
        Order, typer.Option(help="Order at full speed: as found in the files, or by time")
    ] = Order.FILE,
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move all times so that they meet the present")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read and count only; needs no broker")
    ] = False,
    show: Annotated[
        int, typer.Option("--print", min=0, help="With --check, print the first N messages")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Summary as one JSON object")] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(help="Write the rows skipped, and those the server will refuse, as CSV"),
    ] = None,
) -> None:
    """Publish recordings through MQTT, as if the devices were sending them.

    Rows keep the order of the file and their own times. Nothing is dropped silently: the summary
    counts every row as published or skipped, and under which reason.
    """
    # Half a second of imports, which `waymark --help` need not wait for.
    from waymark.replay.dispatch import TableOptions  # noqa: PLC0415
    from waymark.replay.job import Job, execute  # noqa: PLC0415
    from waymark.replay.session import Plan  # noqa: PLC0415

    try:
        pace = _speed(speed)
        finished = execute(
            Job(
                files=tuple(files),
                file_format=file_format,
                table=TableOptions(
                    mapping=None if mapping is None else load(mapping),
                    columns=_columns(column, device_column, device),
                    units=dict(_pairs(unit, "--unit speed=kmh")),
                    time_format=time_format,
                    timezone=timezone,
                    device=device,
                ),
                plan=Plan(
                    tenant=_tenant(tenant),
                    device_prefix=device_prefix,
                    # A check waits for nothing, but shows the order a paced replay would have.
                    speed=None if check else pace,
                    sort_by_time=sort is Order.TIME or pace is not None,
                    shift_to_now=shift_to_now,
                ),
                mqtt_url=mqtt,
                window=window,
                check=check,
                show=show,
                as_json=as_json,
                rejects=rejects,
            )
        )
    except WaymarkError as exc:
        typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(2) from exc
    if not finished:
        raise typer.Exit(_INTERRUPTED)


def _pairs(given: Sequence[str] | None, example: str) -> Iterator[tuple[str, str]]:
    for text in given or ():
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise InputError(f"{text!r} is no pair: write it as in {example}", field=name or None)
        yield name.strip(), value.strip()


def _columns(
    given: Sequence[str] | None, device_column: str | None, device: str | None
) -> dict[str, str | list[str]]:
    if device_column is not None and device is not None:
        raise InputError("give --device-column or --device, not both", field="device")
    columns: dict[str, str | list[str]] = dict(_pairs(given, "--column lon=Longitude"))
    if device_column is not None:
        columns["device"] = device_column
    return columns


def _tenant(name: str) -> str:
    if not _TENANT.fullmatch(name):
        raise InputError(
            f"{name!r} is no tenant's name: 1 to 64 of A-Z a-z 0-9 . _ -", field="tenant"
        )
    return name


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < math.inf:
        raise InputError(f"--speed is max or a number above 0, not {text!r}", field="speed")
    return speed
