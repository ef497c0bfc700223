"""`firmware-sim run | journey | truth | plan | depots`: the command line and nothing else."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from firmware_sim.declarations import (
    START_UNSET,
    Wire,
    declared_options,
    declared_wire,
    started,
    taking,
)
from firmware_sim.itinerary import read_itineraries
from firmware_sim.journey import Journey
from firmware_sim.manifest import Ledger
from firmware_sim.options import NEW_YEAR_MS, OptionError, Options
from firmware_sim.plan import Simulation
from firmware_sim.publisher import Progress, Publisher
from firmware_sim.readings import Delivery
from firmware_sim.roads import City

app = typer.Typer(
    name="firmware-sim",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help=(
        "Simulated vehicles, RFID readers and sensors that publish over MQTT and can misbehave.\n\n"
        "The same seed and options give the same bytes per device, at any speed. A manifest says "
        "exactly what was published."
    ),
)

_RUN_EXAMPLES = """[bold]Examples[/bold]

A fleet of 50 devices for a minute, in real time:
    firmware-sim run --mqtt mqtt://localhost:1883

On and on, as a demonstration, with everyday faults:
    firmware-sim run --for 0 --faults mild

An hour of 200 vehicles as fast as the broker takes it, and a manifest to compare with:
    firmware-sim run --devices 200 --for 3600 --start 2026-01-01 --fast --faults harsh --manifest f

The same readings again, each once and in order: the same command with
    --clean

Topics are wm/TENANT/DEVICE/CHANNEL. Ctrl-C delivers what was made and ends with 0."""

_PLAN_EXAMPLES = """[bold]Examples[/bold]

What the first vehicle would send, backlog and all:
    firmware-sim plan --devices 1 --readers 0 --sensors 0 --offline 0.3 --offline-s 10

Count the kinds of malformed messages:
    firmware-sim plan --malformed 0.2 | jq -r .malformed | sort | uniq -c"""


_JOURNEY_EXAMPLES = """[bold]Examples[/bold]

A planned day of two lorries within seconds, GPS noise and all:
    firmware-sim journey day.json --speed 3600 --start 2026-03-08T05:00Z --interval 12 --jitter 6

The same bytes, late, shuffled and some of them twice:
    firmware-sim journey day.json --start 2026-03-08T05:00Z --interval 12 --jitter 6 --fast \
        --reorder 1 --reorder-window-s 86400 --duplicates 0.2

When it truly turned, stood still and was in the tunnel:
    firmware-sim truth day.json --start 2026-03-08T05:00Z

The README says what the file looks like."""

# A journey's file says who drives where and for how long.
_OF_A_TOWN = ("devices", "readers", "sensors", "sensor_interval", "center", "duration")

_File = Annotated[Path, typer.Argument(help="What the vehicles do, JSON.", show_default=False)]


@app.command(epilog=_RUN_EXAMPLES)
@taking(declared_wire, declared_options)
def run(wire: Wire, options: Options) -> None:
    """Publish to a broker until the end, and until the broker has acknowledged all of it."""
    _publish(Simulation(started(options, wire.pace.speed)), wire)


@app.command(epilog=_JOURNEY_EXAMPLES)
@taking(declared_wire, declared_options, without=_OF_A_TOWN)
def journey(wire: Wire, options: Options, file: _File) -> None:
    """Publish what vehicles say that do as a file tells them: legs, stops, jams, wrong turns."""
    options, scene = _journey(file, options)
    _publish(Simulation(started(options, wire.pace.speed), scene), wire)


@app.command(epilog=_JOURNEY_EXAMPLES)
@taking(declared_options, without=_OF_A_TOWN)
def truth(options: Options, file: _File) -> None:
    """Print what truly happens in a journey and when, one JSON line each; no broker needed.

    Without --start it starts on 2026-01-01, so that the output never changes.
    """
    options, scene = _journey(file, options)
    start_ms = NEW_YEAR_MS if options.start_ms == START_UNSET else options.start_ms
    for happened in scene.happened:
        sys.stdout.write(json.dumps(happened.line(start_ms)) + "\n")


@app.command(epilog=_PLAN_EXAMPLES)
@taking(declared_options)
def plan(options: Options) -> None:
    """Print what a run would publish, in order, one JSON line per message; no broker needed.

    Without --start the simulation starts on 2026-01-01, so that the output never changes.
    """
    if options.start_ms == START_UNSET:
        options = replace(options, start_ms=NEW_YEAR_MS)
    for piece in Simulation(options).slices():
        for delivery in piece.deliveries:
            sys.stdout.write(json.dumps(_planned(delivery)) + "\n")


@app.command()
@taking(declared_options)
def depots(options: Options) -> None:
    """Print the depots' outlines as GeoJSON, to make fences of; every vehicle passes one."""
    city = City(options.seed, options.center_lon, options.center_lat)
    features = [
        {
            "type": "Feature",
            "properties": {"name": depot.name},
            "geometry": {"type": "Polygon", "coordinates": [depot.ring]},
        }
        for depot in city.depots
    ]
    sys.stdout.write(json.dumps({"type": "FeatureCollection", "features": features}) + "\n")


def main() -> None:
    """Run the command line; a user's mistake is one line and exit status 2."""
    try:
        app()
    except OptionError as error:
        sys.stderr.write(f"firmware-sim: {error}\n")
        sys.exit(2)
    except BrokenPipeError:
        # `firmware-sim plan | head` is no mistake.
        sys.stderr.close()
        sys.exit(0)


def _journey(file: Path, options: Options) -> tuple[Options, Journey]:
    """The scene a file describes, and *options* for as long and for as many as there are in it."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise OptionError(f"journey: cannot read {file}: {reason}") from error
    scene = Journey(read_itineraries(text), options)
    count, duration_s = len(scene.devices), scene.duration_s
    return replace(options, devices=count, readers=0, sensors=0, duration_s=duration_s), scene


def _publish(simulation: Simulation, wire: Wire) -> None:
    with _opened(wire.manifest) as out, _progress(simulation.options) as show:
        publisher = Publisher(simulation, wire.broker, wire.pace, Ledger(out), show)
        with _signals(publisher.request_stop):
            summary = publisher.run()
    sys.stdout.write((json.dumps(summary) if wire.as_json else _sentence(summary)) + "\n")
    if summary["ending"] == "gave up":
        raise typer.Exit(1)


def _planned(delivery: Delivery) -> dict[str, Any]:
    reading = delivery.reading
    try:
        payload = {"payload": reading.payload.decode()}
    except UnicodeDecodeError:
        payload = {"payload_latin1": reading.payload.decode("latin-1")}
    return {
        "at_ms": delivery.at_ms,
        "topic": delivery.topic,
        **payload,
        "copy": delivery.copy,
        "faults": reading.faults,
        "malformed": reading.malformed,
    }


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        out = path.open("w", encoding="utf-8")
    except OSError as error:
        raise OptionError(f"manifest: cannot write {path}: {error.strerror}") from error
    with out:
        yield out


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the run in order, the second at once."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: stop()) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


@contextmanager
def _progress(options: Options) -> Iterator[Callable[[Progress], None]]:
    """A line that is rewritten on a terminal; elsewhere only news about the connection."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, transient=True, auto_refresh=False) as live:
            yield lambda now: live.update(Text(_status_line(now, options)), refresh=True)
        return
    last: list[str | None] = [None]

    def tell(now: Progress) -> None:
        refusal = now.refusal if now.connected == 0 else None
        if refusal != last[0]:
            last[0] = refusal
            news = f"no connection: {refusal}; trying again" if refusal else "connected"
            sys.stderr.write(f"firmware-sim: {news}\n")

    yield tell


def _status_line(now: Progress, options: Options) -> str:
    end = f" of {options.duration_s:.0f}" if options.duration_s else ""
    rate = now.acked / now.elapsed_s if now.elapsed_s else 0.0
    line = (
        f"{now.simulated_s:.0f}{end} s  {now.published:,} sent  {now.acked:,} acknowledged "
        f"({rate:,.0f}/s)  {now.held:,} held  {now.connected}/{now.connections} connected"
    )
    return f"{line}  [{now.refusal}; trying again]" if now.refusal else line


def _sentence(summary: dict[str, Any]) -> str:
    return (
        f"{summary['ending']}: {summary['readings']:,} readings in {summary['acked']:,} "
        f"acknowledged messages, {summary['elapsed_s']:.1f} s, {summary['acked_per_s']:,.0f}/s; "
        f"{summary['lost']:,} lost, {summary['malformed']:,} malformed, "
        f"{summary['unacked']:,} unacknowledged"
    )
