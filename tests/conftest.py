"""Fixtures: real servers once per run, a fresh migrated database per test."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg
import pytest
import redis
from hypothesis.configuration import set_hypothesis_home_dir
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.services import Mosquitto, Postgres, Valkey
from tracking.store.migrate import migrate

# A shell's background job is started with SIGINT ignored, and so would be every process the tests
# start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A developer's own settings must not decide a test.
for _name in list(os.environ):
    if _name.startswith("WAYMARK_") and not _name.startswith("WAYMARK_TEST_"):
        del os.environ[_name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: at the end one worker would have all of it to itself."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


# Its default, `.hypothesis` at the root, would be collected and warned about.
set_hypothesis_home_dir(Path(__file__).parents[1] / ".pytest_cache" / "hypothesis")

# A superuser's URL of a server that preloads timescaledb; see docs/embedded.md.
_TIMESCALE_URL = os.environ.get("WAYMARK_TEST_TIMESCALE_URL")
# Of storage, each of which has a template.
FLAVOURS = ["native", "timescale"] if _TIMESCALE_URL else ["native"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL without TimescaleDB; a test that stops it starts it again."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def _native_template(postgres_server: Postgres) -> Iterator["Template"]:
    with Template(postgres_server.url()) as template:
        yield template


@pytest.fixture(scope="session")
def _timescale_template() -> Iterator["Template"]:
    assert _TIMESCALE_URL is not None
    with Template(_TIMESCALE_URL) as template:
        yield template


@pytest.fixture(params=FLAVOURS)
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database with every migration applied, on each flavour of storage there is."""
    template: Template = request.getfixturevalue(f"_{request.param}_template")
    name = template.clone()
    yield template.url(name)
    template.drop(name)


@pytest.fixture
def own_server(postgres_server: Postgres, database_url: str) -> Postgres:
    """The server of `database_url`, for a test that stops it; skips where it is not ours."""
    if str(postgres_server.folder) not in database_url:
        pytest.skip("the server of WAYMARK_TEST_TIMESCALE_URL is not the tests' to stop")
    return postgres_server


@pytest.fixture
def empty_database_url(postgres_server: Postgres) -> Iterator[str]:
    """A fresh database without any migration."""
    name = f"wm_empty_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield postgres_server.url(name)
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """One Valkey, emptied after every test that uses it."""
    with Valkey() as server:
        yield server.url


@pytest.fixture(autouse=True)
def _empty_valkey(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "valkey_url" in request.fixturenames:
        with redis.Redis.from_url(request.getfixturevalue("valkey_url")) as client:
            client.flushall()


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Mosquitto]:
    """One broker for the run: a test that stops it starts it again, and names its own topics."""
    with Mosquitto() as server:
        yield server


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recordings beside the project, or another by WAYMARK_TEST_DATA."""
    default = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("WAYMARK_TEST_DATA", default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set WAYMARK_TEST_DATA to the folder that has it")
    return folder


class Template:
    """A migrated database on one server, cloned for each test (tens of ms, against a migration)."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._name = f"wm_template_{uuid.uuid4().hex[:12]}"

    def url(self, database: str) -> str:
        """Return a URL, as a user would write it, for another database of this server."""
        parts = {**conninfo_to_dict(self._server_url), "dbname": database}
        query = "&".join(f"{key}={value}" for key, value in parts.items())
        return f"postgresql:///?{query}"

    def clone(self) -> str:
        name = f"wm_test_{uuid.uuid4().hex[:12]}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, self._name)
        return name

    def drop(self, name: str) -> None:
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def __enter__(self) -> Self:
        self._execute("CREATE DATABASE {}", self._name)
        migrate(self.url(self._name))
        return self

    def __exit__(self, *_: object) -> None:
        self.drop(self._name)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as conn:
            conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
