"""The benchmarks' own parts that can be wrong quietly: packets, schedule, record."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from ingest.decode import Decoder
from ingest.mqtt.reader import Reader
from tests.benchmarks.generator import Load
from tests.benchmarks.packets import FIRST_SEQ, Stream, payload_bytes, render
from tests.benchmarks.processes import Meter, Program, cpu_s
from tests.benchmarks.result import Goal, Result, Row, spread
from tests.benchmarks.samples import batches, messages
from tests.services import wait_until

START_US = 1_790_000_000_000_000
STREAM = Stream("abc", 20, 70, START_US, 1_000_000, first_step=3)


def test_packets_of_the_load_generator_decode_to_what_the_stream_says() -> None:
    decoder = Decoder()
    readings = decoder.decode(messages(STREAM))
    positions = readings.positions
    assert readings.rejects == []
    assert len(positions) == STREAM.messages
    assert [decoder.devices[key].name for key in positions.key_id] == [
        STREAM.device_names()[i % 20] for i in range(70)
    ]
    assert positions.seq.tolist() == [FIRST_SEQ + 3 + i // 20 for i in range(70)]
    assert positions.fix_time_us.tolist() == [START_US + 3_000_000 + i * 50_000 for i in range(70)]
    assert set(positions.seq.tolist()) == set(STREAM.seqs())
    assert STREAM.after(70) == 3 + 4
    assert positions.valid.all()
    assert (positions.course_deg == 90).all()


def test_packets_are_a_byte_stream_our_client_reads_whole_with_packet_ids_in_turn() -> None:
    packets = render(STREAM, connection=1, connections=4)
    received, controls = Reader(low=0, max_payload_bytes=1_000).feed(packets.tobytes(), 0, 1_000)
    assert controls == []
    assert [message.ticket for message in received] == list(range(1, len(packets) + 1))
    names = {message.topic.decode().split("/")[2] for message in received}
    assert names == {f"abc-{device:05d}" for device in range(1, 20, 4)}
    assert {len(message.payload) for message in received} == {payload_bytes()}


def test_payloads_have_the_length_the_measured_rivals_were_given() -> None:
    assert payload_bytes() == 173


def test_connections_that_would_tear_a_device_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="3 connections do not divide 20 devices"):
        render(STREAM, connections=3)


def test_batches_cover_a_stream_in_order_and_drop_the_rest() -> None:
    assert [len(batch) for batch in batches(STREAM, 30)] == [30, 30]
    assert [message.ticket for message in batches(STREAM, 30)[1]] == list(range(30, 60))


def test_a_load_survives_the_command_line() -> None:
    load = Load("127.0.0.1", 1883, STREAM, rate=10_000.0)
    assert Load.parse(load.argument()) == load


def test_a_result_is_one_json_record_of_the_documented_schema() -> None:
    result = _result()
    record = json.loads(json.dumps(result.record()))
    assert record["schema"] == 1
    assert list(record) == [
        "schema", "utc", "benchmark", "about", "machine", "conditions", "rows", "ratios", "goals",
    ]  # fmt: skip
    assert record["rows"][1] == {"case": "theirs", "role": "peer", "figures": {"us": 20.0}}
    assert [goal["met"] for goal in record["goals"]] == [True, False]
    assert record["machine"]["cores"] >= 1


def test_a_result_shows_every_figure_and_verdict_on_a_terminal() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(_result().table())
    for words in ("ours", "theirs", "12,346", "ours over theirs: 0.5", "met", "missed"):
        assert words in out.getvalue()


def test_the_spread_of_repeated_figures_is_their_median() -> None:
    assert spread({"us": [9.0, 1.0, 5.0]}) == {"us": 5.0}


def test_a_meter_counts_the_cpu_time_of_a_process_and_of_its_children_that_ended() -> None:
    busy = "import time\nwhile time.process_time() < 0.1: pass"
    with Program(
        "timeit",
        "-n1",
        "-r1",
        # It begins when there is a meter, and stays: of a process that is gone nothing can be read.
        "import subprocess, sys; sys.stdin.readline(); "
        f"subprocess.run([sys.executable, '-c', {busy!r}]); sys.stdin.read()",
    ) as program:
        meter = Meter({"it": program.pid})
        program.tell("go")
        wait_until(lambda: meter.read()["it"] >= 0.1, "the child's time is counted")
    assert cpu_s(program.pid) == 0


def test_a_program_that_fails_says_why() -> None:
    with (
        Program("tests.benchmarks.no_such_module") as program,
        pytest.raises(RuntimeError, match="No module named"),
    ):
        program.hear()


def test_every_benchmark_is_in_the_documentation() -> None:
    from tests.benchmarks.__main__ import NAMES  # noqa: PLC0415 -- it parses arguments when run

    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
    assert [name for name in NAMES if f"### `{name}`" not in text] == []


def _result() -> Result:
    return Result(
        "sample",
        "a sample",
        {"seconds": 1},
        [Row("ours", "waymark", {"us": 10.0, "n": 12_345.6}), Row("theirs", "peer", {"us": 20.0})],
        {"ours over theirs": 0.5},
        [Goal("enough", 3, 2), Goal("little", 3, 2, at_most=True)],
    )
