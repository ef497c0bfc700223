"""CPU per message of decoding, on one core: topic and payload to numpy columns."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ingest.decode import Decoder
from ingest.decoders.gather import Fix
from ingest.mqtt import Message
from tests.benchmarks.naive import Position
from tests.benchmarks.packets import payload_bytes
from tests.benchmarks.result import Result, Role, Row
from tests.benchmarks.samples import batches, cpu_us, stream

_BATCH = 5_000
_DEVICES = 10_000


def run(*, quick: bool) -> Result:
    """Ours, what others decode a payload with, and the payload alone."""
    pieces = batches(stream(_DEVICES, _BATCH * (10 if quick else 40)), _BATCH)
    decoder = Decoder(formats={"owntracks/#": "owntracks"})
    for piece in pieces[: _DEVICES // _BATCH]:
        decoder.decode(piece)
    cases: list[tuple[str, Role, Callable[[Sequence[Message]], object]]] = [
        ("topic and payload to columns", "waymark", decoder.decode),
        ("pydantic validate_json", "peer", _each(Position.model_validate_json)),
        ("json.loads", "peer", _each(json.loads)),
        ("msgspec struct with ranges", "bound", _each(msgspec.json.Decoder(Fix).decode)),
    ]
    result = Result(
        "decode",
        "CPU of decoding native positions, one core",
        {"batch": _BATCH, "devices": _DEVICES, "payload_bytes": payload_bytes()},
    )
    for case, role, work in cases:
        result.rows.append(Row(case, role, {"us": cpu_us(work, pieces, _BATCH)}))
    ours, pydantic, _, bound = (row.figures["us"] for row in result.rows)
    result.ratios = {"over the bound": ours / bound, "over pydantic": ours / pydantic}
    return result


def _each(read: Callable[[bytes], Any]) -> Callable[[Sequence[Message]], object]:
    return lambda piece: [read(message.payload) for message in piece]
