"""The embedded stack with its real servers: what a user's machine does to it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg
import pytest
import redis

from tests.services import free_port, wait_until
from tracking.errors import InputError, WaymarkError
from waymark.embedded import EmbeddedStack, running_stack
from waymark.embedded import folder as folder_module
from waymark.embedded.server import answers

ROOT = Path(__file__).parents[2]

# A stack in a process of its own, which says READY and waits for its stdin to end.
STACK = """
import sys
from pathlib import Path
from waymark.embedded import EmbeddedStack
with EmbeddedStack(Path(sys.argv[1]), mqtt_port=int(sys.argv[2])) as stack:
    print(*[server.pid for server in stack.servers], stack._lifeline._guard.pid, flush=True)
    sys.stdin.read()
"""


@contextmanager
def stack_process(data_dir: Path) -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """A stack whose parent can be killed; yields it and the ids of its servers and guard."""
    with subprocess.Popen(
        [sys.executable, "-c", STACK, str(data_dir), str(free_port())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        stdout: IO[str] | None = process.stdout
        assert stdout is not None
        try:
            yield process, [int(pid) for pid in stdout.readline().split()]
        finally:
            process.kill()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory where there is some: each stack made here syncs a whole database."""
    shm = Path("/dev/shm")  # noqa: S108  -- a private folder is made in it
    memory = shm if os.access(shm, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="wm-", dir=memory) as folder:
        yield Path(folder)


def count(stack: EmbeddedStack) -> int:
    with psycopg.connect(stack.database_url) as conn:
        row = conn.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def keep_a_row(stack: EmbeddedStack) -> None:
    with psycopg.connect(stack.database_url) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS kept (i serial)")
        conn.execute("INSERT INTO kept DEFAULT VALUES")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def orphans(data_dir: Path) -> list[int]:
    """Processes that name this stack on their command line."""
    mark = os.fsencode(data_dir)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and not gone(int(entry.name)):
            try:
                if mark in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_all_three_answer_and_a_restart_keeps_data_and_port(place: Path) -> None:
    stack = EmbeddedStack(place / "data")
    with stack:
        keep_a_row(stack)
        port = stack.broker.port
        assert redis.Redis.from_url(stack.redis_url).ping()
        assert answers(port)
        assert running_stack(place / "data") == (
            stack.database_url,
            stack.redis_url,
            stack.mqtt_url,
        )
    assert running_stack(place / "data") is None
    assert not answers(port)
    assert orphans(place / "data") == []
    with stack:
        assert count(stack) == 1
        assert stack.broker.port == port


def test_killing_the_parent_leaves_no_process_and_the_next_start_has_the_data(
    place: Path,
) -> None:
    data = place / "data"
    with stack_process(data) as (parent, pids):
        addresses = running_stack(data)
        assert addresses is not None
        with psycopg.connect(addresses.database_url) as conn:
            conn.execute("CREATE TABLE kept (i serial)")
            conn.execute("INSERT INTO kept DEFAULT VALUES")
        parent.kill()
        for pid in pids:
            wait_until(lambda pid=pid: gone(pid), f"process {pid} ends")  # type: ignore[misc]
    assert orphans(data) == []
    with EmbeddedStack(data, mqtt_port=free_port()) as stack:
        assert count(stack) == 1


def test_a_start_right_after_kill_9_waits_for_the_old_servers_to_end(place: Path) -> None:
    with stack_process(place / "data") as (parent, pids):
        parent.kill()
        parent.wait()
        with EmbeddedStack(place / "data", mqtt_port=free_port()) as stack:
            assert all(gone(pid) for pid in pids)
            assert stack.postgres.pid not in pids


def test_killing_parent_and_guard_leaves_orphans_that_the_next_start_clears(
    place: Path,
) -> None:
    data = place / "data"
    with stack_process(data) as (parent, pids):
        *servers, guard = pids
        os.kill(guard, signal.SIGKILL)
        parent.kill()
        parent.wait()
        assert not any(gone(pid) for pid in servers)
        with EmbeddedStack(data, mqtt_port=free_port()) as stack:
            assert all(gone(pid) for pid in servers)
            keep_a_row(stack)
            assert count(stack) == 1
    assert orphans(data) == []


def test_lock_files_that_name_a_living_stranger_do_not_stop_a_start(place: Path) -> None:
    """As after a container's restart, where process ids begin anew."""
    data = place / "data"
    with EmbeddedStack(data) as stack:
        keep_a_row(stack)
    pid_file = data / "postgres" / "postmaster.pid"
    # A stranger under the database's own user, whom PostgreSQL would take for a postmaster.
    owner = (data / "postgres").stat()
    as_owner = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], **as_owner) as stranger:  # type: ignore[call-overload]
        pid_file.write_text(f"{stranger.pid}\n{data / 'postgres'}\n1\n5432\n{data / 'run'}\n\n\n")
        (data / "run" / ".s.PGSQL.5432.lock").write_text(f"{stranger.pid}\n")
        with stack:
            assert count(stack) == 1
        assert stranger.poll() is None
        stranger.kill()


def test_a_folder_in_use_is_refused_with_the_process_that_holds_it(place: Path) -> None:
    with EmbeddedStack(place / "data"):
        with pytest.raises(WaymarkError, match=rf"in use by process {os.getpid()}: stop it"):
            EmbeddedStack(place / "data").start()
        assert running_stack(place / "data") is not None


def test_two_folders_hold_two_stacks_side_by_side(place: Path) -> None:
    with EmbeddedStack(place / "a") as a, EmbeddedStack(place / "b") as b:
        keep_a_row(a)
        keep_a_row(a)
        keep_a_row(b)
        assert (count(a), count(b)) == (2, 1)
        assert a.broker.port != b.broker.port


def test_a_taken_mqtt_port_is_refused_in_one_sentence_and_nothing_is_left(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} on 127.0.0.1 is taken") as caught:
            EmbeddedStack(place / "data", mqtt_port=port).start()
    assert caught.value.field == "mqtt_port"
    assert orphans(place / "data") == []
    assert running_stack(place / "data") is None


def test_a_folder_that_cannot_be_made_is_refused_in_one_sentence(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(InputError, match=r"cannot keep data in .*not a directory.*--data-dir"):
        EmbeddedStack(place / "file" / "data").start()


def test_data_of_another_major_version_are_refused(place: Path) -> None:
    with EmbeddedStack(place / "data"):
        pass
    (place / "data" / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(WaymarkError, match="was made by PostgreSQL 9"):
        EmbeddedStack(place / "data").start()


def test_supervise_revives_every_killed_server_with_its_data_and_port(place: Path) -> None:
    with EmbeddedStack(place / "data") as stack:
        keep_a_row(stack)
        port = stack.broker.port
        stack.supervise()
        before = {server.pid for server in stack.servers}
        for server in stack.servers:
            server.kill()
        for server in stack.servers:
            wait_until(lambda s=server: s.pid and s.pid not in before, "revived")  # type: ignore[misc]
        stack.wait_ready()
        assert count(stack) == 1
        assert redis.Redis.from_url(stack.redis_url).ping()
        assert stack.broker.port == port


def test_a_server_stopped_on_purpose_stays_down_until_started(place: Path) -> None:
    with EmbeddedStack(place / "data") as stack:
        stack.valkey.stop()
        stack.postgres.kill()
        wait_until(lambda: "PostgreSQL" in stack.heal(), "PostgreSQL is revived")
        assert stack.valkey.pid is None
        stack.valkey.start()
        assert redis.Redis.from_url(stack.redis_url).ping()


def test_a_killed_guard_is_replaced_and_still_leaves_no_orphan(place: Path) -> None:
    with EmbeddedStack(place / "data") as stack:
        guard = stack._lifeline._guard
        guard.kill()
        guard.wait()
        stack.heal()
        assert stack._lifeline._guard.pid != guard.pid
        pids = [server.pid for server in stack.servers]
        # What the kernel does when this process dies.
        os.close(stack._lifeline._fd)
        stack._lifeline._fd = -1
        for pid in pids:
            assert pid is not None
        wait_until(lambda: all(not s.child.alive for s in stack.servers), "the guard stops them")


def test_where_a_socket_path_is_too_long_a_password_guards_a_loopback_port(
    place: Path,
) -> None:
    deep = place / ("d" * 60) / ("e" * 60)
    with EmbeddedStack(deep) as stack:
        assert "127.0.0.1" in stack.database_url
        keep_a_row(stack)
        assert count(stack) == 1
        assert redis.Redis.from_url(stack.redis_url).ping()
        user, _, _ = stack.database_url.partition("@")
        _, _, password = user.rpartition(":")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(stack.database_url.replace(password, "wrong"))


def test_iotcore_serves_where_no_mosquitto_is_installed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waymark.embedded.broker.mosquitto", lambda: None)
    with EmbeddedStack(place / "data") as stack:
        assert stack.broker.kind == "iotcore"
        assert answers(stack.broker.port)
        stack.broker.kill()
        wait_until(stack.heal, "the broker is revived")
        assert answers(stack.broker.port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs its servers as somebody else")
def test_root_runs_no_server_as_root_and_opens_closed_folders_to_one_user_only(
    place: Path,
) -> None:
    home = place / "home"
    home.mkdir(mode=0o700)
    with EmbeddedStack(home / "data") as stack:
        for server in stack.servers:
            if server.name != "iotcore":
                assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        keep_a_row(stack)
    assert home.stat().st_mode & 0o007 == 0
    # The list: owner, the one user with the right to pass, group, mask, others.
    raw = os.getxattr(home, "system.posix_acl_access")
    entries = list(folder_module._ACL_ENTRY.iter_unpack(raw[4:]))
    assert [(tag, permissions) for tag, permissions, _ in entries] == [
        (0x01, 7),
        (0x02, 1),
        (0x04, 0),
        (0x10, 1),
        (0x20, 0),
    ]
