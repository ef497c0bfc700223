"""`waymark up`, its supervisor, and the commands that find its stack."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.services import TIMEOUT_FACTOR, free_port, wait_until
from tracking.errors import WaymarkError
from waymark.lifeline import Lifeline
from waymark.supervisor import Program, Supervisor, notify_ready

ROOT = Path(__file__).parents[2]
WAYMARK = [sys.executable, "-m", "waymark"]


@contextmanager
def running(data_dir: Path, **env: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, str]]]:
    """`waymark up --json` in a process of its own, and the line it printed when ready."""
    ports = f"--http-port {free_port()} --mqtt-port {free_port()}".split()
    with subprocess.Popen(
        [*WAYMARK, "up", "--json", "--data-dir", str(data_dir), *ports],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **env},
    ) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.terminate()
            try:
                process.wait(40)
            finally:
                process.kill()


def descendants(pid: int) -> dict[int, str]:
    """The living processes below `pid`, with their command lines."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdigit():
                continue
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found |= {int(entry.name): command, **descendants(int(entry.name))}
    return found


def worker_of(pid: int, command: str) -> int | None:
    commands = descendants(pid).items()
    return next((child for child, line in commands if f"waymark {command}" in line), None)


def health(http: str) -> int:
    status, _ = got(http, "/v1/health")
    return status


def got(http: str, path: str) -> tuple[int, str]:
    address = urlsplit(http)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def answers(http: str) -> bool:
    with contextlib.suppress(OSError):
        return got(http, "/")[0] == 200
    return False


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_up_prints_one_line_heals_what_is_killed_and_drains_on_sigterm(tmp_path: Path) -> None:
    with running(tmp_path / "data") as (process, entrances):
        assert set(entrances) == {"ready", "http", "mqtt", "database", "redis", "api_key"}
        assert health(entrances["http"]) == 200
        for command in ("ingest", "api", "monitor"):
            victim = worker_of(process.pid, command)
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            wait_until(
                lambda c=command, v=victim: worker_of(process.pid, c) not in {None, v},  # type: ignore[misc]
                f"{command} runs again",
            )
        doctor = subprocess.run(
            [*WAYMARK, "doctor", "--json", "--data-dir", str(tmp_path / "data")],
            capture_output=True,
            cwd=ROOT,
            check=False,
        )
        assert json.loads(doctor.stdout)["ok"], doctor.stdout
        # It finds the secret key of the folder, too.
        assert "no WAYMARK_SECRET_KEY" not in doctor.stdout.decode()
        left = descendants(process.pid)
        process.terminate()
        assert process.wait(40 * TIMEOUT_FACTOR) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
        assert not [line for pid, line in left.items() if alive(pid)]


def test_each_process_shows_its_metrics_on_a_port_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path / "data", WAYMARK_METRICS_PORT=str(port)):
        for place, name in enumerate(("ingest", "monitor", "deliver")):
            metrics = f"http://127.0.0.1:{port + place}"
            # The monitor does not say when it is ready.
            wait_until(lambda m=metrics: answers(m), f"{name} answers")  # type: ignore[misc]
            status, shown = got(metrics, "/metrics")
            assert status == 200
            assert f"waymark_{name}" in shown


def test_killing_up_leaves_no_process_and_the_next_one_has_the_same_key(tmp_path: Path) -> None:
    with running(tmp_path / "data") as (process, entrances):
        secret = tmp_path / "data" / "secret_key"
        assert secret.stat().st_mode & 0o777 == 0o600
        made = secret.read_text()
        left = descendants(process.pid)
        assert len(left) >= 8  # two guards, three servers, three processes
        process.kill()
        for pid, line in left.items():
            wait_until(lambda p=pid: not alive(p), f"{line} ends", 40)  # type: ignore[misc]
    with running(tmp_path / "data") as (_, again):
        assert again["api_key"] == entrances["api_key"]
        assert secret.read_text() == made


def test_an_interrupt_while_starting_leaves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with subprocess.Popen(
        [*WAYMARK, "up", "--data-dir", str(data)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until((data / "lock").exists, "it has begun")
        left = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    for pid, line in left.items():
        wait_until(lambda p=pid: not alive(p), f"{line} ends")  # type: ignore[misc]


def test_a_taken_http_port_is_one_line_and_status_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = subprocess.run(
            [*WAYMARK, "up", "--data-dir", str(tmp_path / "data"), "--http-port", str(port)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == (
        f"waymark: port {port} on 127.0.0.1 is taken by another program: "
        "choose another with --http-port\n"
    )
    assert not (tmp_path / "data").exists()


def test_help_is_quick_and_names_every_command() -> None:
    started_s = time.perf_counter()
    shown = subprocess.run(
        [*WAYMARK, "--help"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert time.perf_counter() - started_s < 5 * TIMEOUT_FACTOR
    for command in ("up", "ingest", "api", "monitor", "migrate", "doctor", "replay", "key"):
        assert f" {command} " in shown.stdout


@pytest.fixture
def lifeline() -> Iterator[Lifeline]:
    line = Lifeline()
    yield line
    line.close()


def supervisor_of(lifeline: Lifeline, folder: Path, *programs: Program) -> Supervisor:
    return Supervisor(programs, lifeline=lifeline, env={}, log_dir=folder)


def test_a_process_that_keeps_dying_at_start_is_reported_with_its_last_words(
    lifeline: Lifeline, tmp_path: Path
) -> None:
    supervisor = supervisor_of(
        lifeline, tmp_path, Program("ingest-0", ("ingest", "--index", "minus one"), notifies=True)
    )
    supervisor.start()
    with pytest.raises(WaymarkError, match=r"ingest-0 does not start: .*ingest-0\.log"):
        supervisor.wait_ready()
    supervisor.stop()


def test_readiness_is_told_by_the_process_and_only_for_itself(
    lifeline: Lifeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = supervisor_of(lifeline, tmp_path, Program("x", ("--help",), notifies=True))
    monkeypatch.setenv("NOTIFY_SOCKET", str(supervisor._folder / "notify"))
    notify_ready()  # from this process, which it does not supervise
    supervisor.heal()
    assert supervisor._ready == set()
    supervisor.stop()
    notify_ready()  # nobody is there any more, and that is no error
