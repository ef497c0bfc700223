"""A PostGIS of our own for a moment: Debian's PostgreSQL on a unix socket in a temporary folder."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import shapely
from numpy.typing import NDArray

_ROOT = Path("/usr/lib/postgresql")
_EXTENSIONS = Path("/usr/share/postgresql")


class PostGis:
    """One table of fences with a GiST index."""

    def __init__(self, url: str) -> None:
        self._conn = psycopg.connect(url, autocommit=True)
        self._conn.execute("CREATE EXTENSION postgis")
        self._conn.execute("SET jit = off")
        # It estimates every place to be in a thousandth of the fences and reads them all.
        self._conn.execute("SET enable_seqscan = off")

    def load(self, fences: NDArray[np.object_]) -> None:
        """These fences and no others."""
        conn = self._conn
        conn.execute("DROP TABLE IF EXISTS fence")
        conn.execute("CREATE TABLE fence (id int, area geometry)")
        with conn.cursor().copy("COPY fence FROM STDIN") as copy:
            for id_, wkb in enumerate(shapely.to_wkb(fences, hex=True)):
                copy.write_row((id_, wkb))
        conn.execute("CREATE INDEX ON fence USING gist (area)")
        conn.execute("VACUUM ANALYZE fence")

    def members(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> list[tuple[int, int]]:
        """Every (place, fence)."""
        cursor = self._conn.cursor(binary=True)
        cursor.execute(
            "SELECT place.i::int, fence.id "
            "FROM unnest(%s::float8[], %s::float8[]) WITH ORDINALITY place (lon, lat, i) "
            "JOIN fence ON st_intersects(fence.area, st_makepoint(place.lon, place.lat))",
            (lon.tolist(), lat.tolist()),
        )
        return cursor.fetchall()

    def close(self) -> None:
        """Leave; the server ends with its folder."""
        self._conn.close()


@contextlib.contextmanager
def postgis() -> Iterator[PostGis | None]:
    """Run one; None where none is installed."""
    found = sorted(
        (path.parent for path in _ROOT.glob("*/bin/postgres") if _has_postgis(path)),
        key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0),
    )
    if not found:
        yield None
        return
    binaries = found[-1]
    user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="wm-postgis-"))
    if user is not None:
        os.chown(folder, user, user)
    try:
        init = f"{binaries}/initdb -D {folder}/data -U postgres -A trust --no-locale --no-sync"
        subprocess.run(init.split(), check=True, capture_output=True, user=user)
        command = f"{binaries}/postgres -D {folder}/data -k {folder} -c listen_addresses="
        server = subprocess.Popen(
            [*command.split(), "-c", "fsync=off", "-c", "shared_buffers=512MB"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
        )
        try:
            with contextlib.closing(
                PostGis(_answering(f"postgresql://postgres@/postgres?host={folder}"))
            ) as postgis:
                yield postgis
        finally:
            # The fast shutdown; it does not wait for clients.
            server.send_signal(signal.SIGINT)
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_postgis(postgres: Path) -> bool:
    return (_EXTENSIONS / postgres.parents[1].name / "extension" / "postgis.control").is_file()


def _answering(url: str) -> str:
    deadline_s = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
        else:
            return url
