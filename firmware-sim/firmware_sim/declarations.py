"""The options every command shares, declared once, and how they become `Options`."""

import inspect
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from firmware_sim.connection import Broker
from firmware_sim.link import Pace
from firmware_sim.options import Backlog, Faults, OptionError, Options, Preset, TimeFormat

_FLEET = "Fleet"
_DATA = "Data faults (change which readings exist; --clean keeps them)"
_DELIVERY = "Delivery faults (change only how readings arrive; --clean drops them)"


def _option(text: str, panel: str, *names: str) -> Any:  # noqa: ANN401  -- typer's own type is Any
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=panel == _FLEET)


def declared_options(
    *,
    seed: Annotated[int, _option("Same seed and options: same bytes.", _FLEET)] = 1,
    tenant: Annotated[str, _option("Second level of every topic.", _FLEET)] = "default",
    prefix: Annotated[str, _option("Put before every device's name.", _FLEET)] = "",
    devices: Annotated[int, _option("Vehicles, each a fix per interval.", _FLEET)] = 40,
    readers: Annotated[int, _option("RFID readers at depot doors.", _FLEET)] = 4,
    sensors: Annotated[int, _option("Temperature and humidity sensors.", _FLEET)] = 6,
    interval: Annotated[float, _option("Seconds between two fixes.", _FLEET)] = 1.0,
    sensor_interval: Annotated[float, _option("Seconds between two measurements.", _FLEET)] = 10.0,
    duration: Annotated[
        float, _option("Simulated seconds; 0 goes on until stopped.", _FLEET, "--for")
    ] = 60.0,
    start: Annotated[
        str | None,
        _option("First instant, ISO 8601 or epoch ms. Default: so that the end is now.", _FLEET),
    ] = None,
    center: Annotated[str, _option("City centre as lon,lat.", _FLEET)] = "13.3777,52.5163",
    time_format: Annotated[
        TimeFormat, _option("How devices write t: epoch ms or ISO 8601.", _FLEET, "--time")
    ] = "ms",
    clean: Annotated[
        bool, _option("The same readings, each delivered once, in order.", _FLEET, "--clean")
    ] = False,
    faults: Annotated[
        Preset, _option("A ready mixture; the options below override it.", _FLEET)
    ] = "none",
    loss: Annotated[float | None, _option("Rate never published.", _DATA)] = None,
    jitter: Annotated[float | None, _option("GPS noise, sigma in metres.", _DATA)] = None,
    jumps: Annotated[float | None, _option("Rate of single fixes far off.", _DATA)] = None,
    jump_runs: Annotated[float | None, _option("Rate of fixes in runs far off.", _DATA)] = None,
    tunnels: Annotated[float | None, _option("Share of time without a fix.", _DATA)] = None,
    tunnel_s: Annotated[float | None, _option("Mean length of a tunnel, s.", _DATA)] = None,
    clock_skew: Annotated[
        float | None, _option("Constant per device, sigma in seconds.", _DATA)
    ] = None,
    clock_jumps: Annotated[
        float | None, _option("Share of time in the future or in 1970.", _DATA)
    ] = None,
    clock_jump_s: Annotated[float | None, _option("Mean length of a jump, s.", _DATA)] = None,
    tunnel_buffered: Annotated[
        bool,
        _option("Fixes go on in tunnels and come at the end.", _DELIVERY, "--tunnel-buffered"),
    ] = False,
    duplicates: Annotated[float | None, _option("Rate sent again, same bytes.", _DELIVERY)] = None,
    duplicate_late_s: Annotated[float | None, _option("How late at most, s.", _DELIVERY)] = None,
    reorder: Annotated[float | None, _option("Rate held back behind others.", _DELIVERY)] = None,
    reorder_window_s: Annotated[float | None, _option("How far at most, s.", _DELIVERY)] = None,
    offline: Annotated[
        float | None, _option("Share of time without network; sent afterwards.", _DELIVERY)
    ] = None,
    offline_s: Annotated[float | None, _option("Mean length of an outage, s.", _DELIVERY)] = None,
    backlog: Annotated[
        Backlog | None, _option("Which end of a backlog is sent first.", _DELIVERY)
    ] = None,
    malformed: Annotated[
        float | None, _option("Rate of extra messages that are no reading.", _DELIVERY)
    ] = None,
) -> Options:
    """Build the options a user gave; faults not named keep the preset's value."""
    lon, lat = _parse_center(center)
    named = {
        "loss": loss,
        "jitter_m": jitter,
        "jumps": jumps,
        "jump_runs": jump_runs,
        "tunnels": tunnels,
        "tunnel_s": tunnel_s,
        "clock_skew_s": clock_skew,
        "clock_jumps": clock_jumps,
        "clock_jump_s": clock_jump_s,
        "tunnel_buffered": tunnel_buffered or None,
        "duplicates": duplicates,
        "duplicate_late_s": duplicate_late_s,
        "reorder": reorder,
        "reorder_window_s": reorder_window_s,
        "offline": offline,
        "offline_s": offline_s,
        "backlog": backlog,
        "malformed": malformed,
    }
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    return Options(
        seed=seed,
        tenant=tenant,
        prefix=prefix,
        devices=devices,
        readers=readers,
        sensors=sensors,
        interval_s=interval,
        sensor_interval_s=sensor_interval,
        duration_s=duration,
        start_ms=START_UNSET if start is None else _parse_start(start),
        center_lon=lon,
        center_lat=lat,
        time_format=time_format,
        faults=replace(Faults.preset(faults), **given),
        clean=clean,
    )


# Epoch ms 0: no simulation starts in 1970 on purpose, its clock jumps go there.
START_UNSET = 0


def started(options: Options, speed: float) -> Options:
    """*options* with a start, if none was given, that makes a run at *speed* end at the present.

    Raises:
        OptionError: the run has no end and would overtake the present.
    """
    if options.start_ms != START_UNSET:
        return options
    lead_s = 0.0
    if speed != 1.0:
        if not options.duration_s:
            raise OptionError("for: a run at another speed than 1 needs --for or --start")
        lead_s = options.duration_s * (1.0 - (1.0 / speed if speed else 0.0))
    return replace(options, start_ms=int((time.time() - lead_s) * 1000))


@dataclass(frozen=True, slots=True)
class Wire:
    """Where to publish, how fast, and what to leave behind."""

    broker: Broker
    pace: Pace
    manifest: Path | None
    as_json: bool


def declared_wire(
    *,
    mqtt: Annotated[
        str, typer.Option(help="mqtt://user:password@host:port, or mqtts:// for TLS.")
    ] = "mqtt://127.0.0.1:1883",
    speed: Annotated[
        float, typer.Option(help="Simulated seconds per second; 0 is as fast as possible.")
    ] = 1.0,
    fast: Annotated[bool, typer.Option("--fast", help="The same as --speed 0.")] = False,
    catch_up: Annotated[
        bool, typer.Option("--catch-up", help="What lies in the past at once, then real time.")
    ] = False,
    connections: Annotated[
        int, typer.Option(help="MQTT connections; 0: one per device up to 50 devices, else 8.")
    ] = 0,
    window: Annotated[
        int, typer.Option(help="Unacknowledged messages per connection at most.")
    ] = 100,
    drain: Annotated[
        float, typer.Option(help="Seconds without a PUBACK after the end before giving up.")
    ] = 60.0,
    status: Annotated[
        bool, typer.Option(help="Publish retained online and offline, and set last wills.")
    ] = True,
    commands: Annotated[
        bool, typer.Option(help="Take commands on cmd and answer them on ack.")
    ] = True,
    manifest: Annotated[
        Path | None, typer.Option(help="Write what was published to this file, JSON lines.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one line of JSON on standard output.")
    ] = False,
) -> Wire:
    """Build what a user said about publishing."""
    pace = Pace(
        speed=0.0 if fast else speed,
        catch_up=catch_up,
        connections=connections,
        window=window,
        drain_s=drain,
        status=status,
        commands=commands,
    )
    return Wire(Broker.parse(mqtt), pace, manifest, as_json)


def taking(
    *declarations: Callable[..., Any], without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a Typer command of a function that takes what *declarations* build first.

    Their options follow the command's own; those named in *without* keep their defaults.
    """

    def command_of(command: Callable[..., None]) -> Callable[..., None]:
        shared = [
            {
                name: option
                for name, option in inspect.signature(declaration).parameters.items()
                if name not in without
            }
            for declaration in declarations
        ]
        own = list(inspect.signature(command).parameters.values())[len(declarations) :]

        @wraps(command)
        def call(**given: Any) -> None:  # noqa: ANN401  -- what Typer parsed
            built = [
                declaration(**{name: given.pop(name) for name in options})
                for declaration, options in zip(declarations, shared, strict=True)
            ]
            command(*built, **given)

        parameters = [
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for p in (*own, *(option for options in shared for option in options.values()))
        ]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in parameters}
        return call

    return command_of


def _parse_center(text: str) -> tuple[float, float]:
    try:
        lon, lat = (float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"center: {text!r} is not like 13.3777,52.5163 (lon,lat)") from None
    return lon, lat


def _parse_start(text: str) -> int:
    if text.isdigit():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise OptionError(f"start: {text!r} is neither ISO 8601 nor epoch ms") from None
    # A time without zone is UTC here; a simulation must not depend on where it runs.
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
