"""Every route, attacked: without a credential, with another tenant's, with each role, with rubbish.

Routes are those of the OpenAPI document, so a new one is attacked by being there. `world.py` tells
what there is to steal.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import psycopg
import pytest
from websockets.sync.client import connect

from api.app import create_app
from api.document.openapi import operations_of
from tests.conftest import FLAVOURS
from tests.integration.api_site import ThreadedSite
from tests.integration.world import Land, rows_of
from tests.services import TIMEOUT_FACTOR
from tracking.access import ROLES
from tracking.settings import load_settings
from tracking.store.keys import create_key

pytestmark = pytest.mark.long

# What may be asked without a credential: it tells nothing of any tenant.
OPEN = {
    ("GET", "/v1/auth/jwks.json"),
    ("GET", "/v1/health"),
    ("GET", "/v1/health/live"),
    ("GET", "/v1/health/ready"),
    ("GET", "/v1/map/config"),
    ("GET", "/v1/share/{token}"),  # the token is the credential
    ("POST", "/v1/auth/invite"),
    ("POST", "/v1/auth/refresh"),
    ("POST", "/v1/auth/revoke"),
    ("POST", "/v1/auth/token"),
}
# What only admins may, down from these paths.
ADMINS = ("/v1/api-keys", "/v1/audit", "/v1/privacy", "/v1/users", "/v1/webhooks")
# What changes nothing of the tenant's although it is no GET: every role may.
ASKING = (
    "/v1/areas/devices",
    "/v1/auth/",
    "/v1/broker/",
    "/v1/fences/locate",
    "/v1/fences/preview",
    "/v1/rules/test",
)
# PUT makes what is not there: another tenant's id is as free as any.
MAKING = {("PUT", "/v1/fences/{id}"), ("PUT", "/v1/rules/{id}"), ("PUT", "/v1/webhooks/{id}")}
# Answers that do not end; a test of their own looks into them.
STREAMS = {"/v1/feed/sse"}
# Lists in which the world has nothing to find, or that are about the one who asks.
UNMARKED = {
    "/v1/auth/me",
    "/v1/auth/sessions",
    "/v1/auth/sessions/{id}",
    "/v1/privacy/retention",
    "/v1/visits",
}
SECRET_KEY = "a secret key of the tests, of thirty-two bytes and more"  # noqa: S105 -- as it says
# What every route reads alike gets the first two.
RUBBISH = ["\x00", "99999999999999999999", "-1e999", "'\"; --\U0001f4a5" * 50]
BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"\xff\xfe",
    b'{"\\u0000": 1e999}',
    b"[" * 20_000,
    b'{"id": 1, "name": [], "shape": 7, "fences": {}, "email": {}, "device": [1]}',
]

# What the document leaves out, and who attacks it.
HIDDEN = {
    "/metrics",  # for scrapers: numbers of the process
    "/track/assets/{name}",  # files
    "/track/{token}",  # a page without data
    "/v1/asyncapi.json",  # descriptions of the api
    "/v1/docs",
    "/v1/docs/reference.js",
    "/v1/feed",  # test_a_socket_shows_a_tenant_only_its_own
    "/v1/openapi.json",
    "/{path}",  # the files of the map
}

APP = create_app(load_settings())
DOCUMENT = APP.openapi()


class Route(NamedTuple):
    """One operation of the api."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path

    @property
    def operation(self) -> dict[str, Any]:
        told: dict[str, Any] = DOCUMENT["paths"][self.path][self.method.lower()]
        return told

    def absent(self, value: str | None = None) -> str:
        """The path with ids that are nobody's, or with `value` for each."""
        return re.sub(r"\{(\w+)\}", lambda found: value or self._nobody_s(found[1]), self.path)

    def _nobody_s(self, name: str) -> str:
        for parameter in map(_resolved, self.operation.get("parameters", ())):
            if parameter["name"] == name and parameter["in"] == "path":
                schema = parameter["schema"]
                if schema.get("type") == "integer":
                    return "987654"
                if schema.get("format") == "uuid":
                    return "11111111-2222-4333-8444-555555555555"
        return "nobody-s"

    def example(self) -> tuple[bytes | None, dict[str, str]]:
        """The documented body and its type."""
        if "requestBody" not in self.operation:
            return None, {}
        media_type, content = next(iter(self.operation["requestBody"]["content"].items()))
        return json.dumps(content["example"]).encode(), {"Content-Type": media_type}


def _resolved(parameter: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in parameter:
        return parameter
    found: dict[str, Any] = DOCUMENT["components"]["parameters"][parameter["$ref"].split("/")[-1]]
    return found


ROUTES = [Route(method.upper(), path) for (method, path), _ in operations_of(DOCUMENT)]
CLOSED = [route for route in ROUTES if route.key not in OPEN]
READING = [r for r in CLOSED if r.method == "GET" and r.path not in STREAMS]
WRITING = [route for route in ROUTES if route.method != "GET"]
of_each = pytest.mark.parametrize("route", CLOSED, ids=str)


class World(NamedTuple):
    """The two tenants and where they are."""

    url: str
    database_url: str
    red: Land
    blue: Land


@pytest.fixture(scope="module", params=FLAVOURS)
def world(request: pytest.FixtureRequest, valkey_url: str) -> Iterator[World]:
    template = request.getfixturevalue(f"_{request.param}_template")
    name = template.clone()
    url = template.url(name)
    site = ThreadedSite(
        url,
        valkey_url,
        secret_key=SECRET_KEY,
        rate_address_per_min=0,
        rate_credential_per_min=0,
        rate_failed_per_min=0,
    )
    with site as (address, _):
        red, blue = (Land(url, address, mark) for mark in ("redmark", "bluemark"))
        yield World(address, url, red, blue)
        red.close()
        blue.close()
    template.drop(name)


@pytest.fixture(scope="module")
def stranger(world: World) -> Iterator[httpx.Client]:
    """A client without a credential."""
    with httpx.Client(base_url=world.url, trust_env=False, timeout=20 * TIMEOUT_FACTOR) as client:
        yield client


def _ask(client: httpx.Client, route: Route, path: str, **asked: Any) -> httpx.Response:  # noqa: ANN401 -- as httpx takes it
    """The answer; of one that does not end, its head."""
    with client.stream(route.method, path, **asked) as answer:
        if route.path not in STREAMS or answer.status_code != 200:
            answer.read()
    return answer


def _as(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _problem(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    return problem


def _paths(routes: Iterable[Any]) -> Iterator[str]:
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is None:
            yield re.sub(r":\w+\}", "}", route.path)
        else:
            yield from _paths(router.routes)


def test_no_route_is_hidden_from_these_attacks() -> None:
    assert set(_paths(APP.routes)) - set(DOCUMENT["paths"]) == HIDDEN


def test_every_route_has_something_to_steal(world: World) -> None:
    """A noun without a seed would be attacked in vain: give it one in world.py."""
    missing = set()
    for route in CLOSED:
        try:
            world.red.path(route.path)
        except KeyError as exc:
            missing.add(f"{exc} for {route.path}")
    assert missing == set()


@of_each
def test_nobody_is_let_in_without_a_valid_credential(
    route: Route, world: World, stranger: httpx.Client
) -> None:
    path = world.red.path(route.path)
    for shown in (None, "Basic dTpw", "Bearer wmk_" + "A" * 43, "Bearer a.b.c"):
        headers = {} if shown is None else {"Authorization": shown}
        answer = _ask(stranger, route, path, headers=headers)
        assert answer.status_code == 401, (shown, answer.text)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert world.red.mark not in answer.text
        _problem(answer)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.key in OPEN], ids=str)
def test_what_is_open_tells_nothing_of_anybody(
    route: Route, world: World, stranger: httpx.Client
) -> None:
    body, headers = route.example()
    answer = _ask(stranger, route, route.path, content=body, headers=headers)
    assert answer.status_code < 500
    for land in (world.red, world.blue):
        assert land.mark not in answer.text


@of_each
def test_a_role_may_exactly_what_it_is_for(
    route: Route, world: World, stranger: httpx.Client
) -> None:
    if route.path.startswith(ADMINS):
        able = {"admin"}
    elif route.method == "GET" or route.path.startswith(ASKING):
        able = set(ROLES)
    else:
        able = {"admin", "dispatcher", "service"}
    for role in ROLES:
        headers = _as(world.blue.keys[role])
        # Ids that are nobody's and an empty body: whoever may gets no further than that.
        answer = _ask(stranger, route, route.absent(), headers=headers, content=b"{}")
        refused = answer.status_code == 403 and "use one of" in answer.text
        assert refused is (role not in able), (role, answer.status_code, answer.text)


@of_each
def test_a_scope_that_is_for_something_else_opens_nothing(
    route: Route, world: World, stranger: httpx.Client
) -> None:
    scopes = ["ledger:read"] if "ledger" not in route.path else ["rules:read"]
    key = _scoped(world, tuple(scopes))
    answer = _ask(stranger, route, route.absent(), headers=_as(key), content=b"{}")
    assert answer.status_code == 403, answer.text
    assert "scope" in _problem(answer)["detail"]


_made: dict[tuple[str, tuple[str, ...]], str] = {}


def _scoped(world: World, scopes: tuple[str, ...]) -> str:
    if (world.url, scopes) not in _made:
        key = create_key(world.database_url, "bluemark", "scoped", "admin", scopes=scopes)
        _made[world.url, scopes] = key
    return _made[world.url, scopes]


@pytest.mark.parametrize("route", READING, ids=str)
def test_the_owner_finds_what_others_do_not(
    route: Route, world: World, stranger: httpx.Client
) -> None:
    """What makes the attacks below mean something: there is something to find."""
    path, params = world.red.path(route.path), world.red.params.get(route.path)
    mine = stranger.get(path, params=params, headers=_as(world.red.keys["admin"]))
    if route.path not in UNMARKED:
        assert mine.status_code == 200, mine.text
        assert world.red.mark in mine.text
    theirs = stranger.get(path, params=params, headers=_as(world.blue.keys["admin"]))
    if "{" in route.path or any(world.red.mark in value for value in (params or {}).values()):
        assert theirs.status_code in ({403, 404} if route.path in UNMARKED else {404})
        # A refusal may repeat what was asked for.
        told = _problem(theirs)["detail"]
        for asked in (*world.red.ids.values(), *(params or {}).values()):
            told = told.replace(asked, "")
        assert world.red.mark not in told
    else:
        assert theirs.status_code in {200, 403}
        assert world.red.mark not in theirs.text


def test_no_write_of_another_tenant_reaches_a_row(world: World, stranger: httpx.Client) -> None:
    """With the owner's ids in path and body; what the owner has is compared as a whole."""
    before = rows_of(world.database_url, world.red.rows.tenant_id)
    wrong = []
    for route in [r for r in CLOSED if r.method != "GET"]:
        body, headers = route.example()
        if route.key in world.red.bodies:
            body = json.dumps(world.red.bodies[route.key]).encode()
        answer = _ask(
            stranger,
            route,
            world.red.path(route.path),
            content=body,
            headers={**headers, **_as(world.blue.keys["admin"])},
        )
        expected = {404} if "{" in route.path else set(range(200, 500))
        if route.key in MAKING:
            expected = {200, 201, 404, 412, 422}
        if route.path.startswith("/v1/auth/"):
            expected = {403, 404}
        if answer.status_code not in expected:
            wrong.append((str(route), answer.status_code, answer.text[:200]))
    assert wrong == []
    assert rows_of(world.database_url, world.red.rows.tenant_id) == before


def test_every_change_leaves_a_line_in_the_audit_log(world: World, stranger: httpx.Client) -> None:
    """By a tenant of its own, which is gone afterwards; what is made first, what is ended last."""
    land = Land(world.database_url, world.url, "greenmark")
    key = _as(land.keys["admin"])
    changed, told = set(), set()
    for route in sorted(WRITING, key=lambda route: route.method == "DELETE"):
        if route.key in OPEN or route.path.startswith(ASKING):
            continue
        body, headers = route.example()
        if route.key in land.bodies:
            body = json.dumps(land.bodies[route.key]).encode()
        request_id = re.sub(r"[^A-Za-z]", "-", str(route))[:64]
        answer = stranger.request(
            route.method,
            land.path(route.path),
            content=body,
            headers={**headers, **key, "X-Request-Id": request_id},
        )
        assert answer.status_code < 500, answer.text
        if answer.is_success:
            changed.add((str(route), request_id))
    with psycopg.connect(world.database_url) as conn:
        told = {row[0] for row in conn.execute("SELECT request_id FROM audit_log")}
    land.close()
    assert len(changed) > 25, "most examples can be sent as they are"
    assert {route for route, request_id in changed if request_id not in told} == set()


@pytest.mark.parametrize("route", WRITING, ids=str)
def test_a_body_too_large_is_refused_before_it_is_read(route: Route, world: World) -> None:
    async def answer() -> bytes:
        host, _, port = world.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"{route.method} {world.red.path(route.path)} HTTP/1.1\r\nHost: x\r\n"
        key = f"Authorization: Bearer {world.red.keys['admin']}\r\n"
        writer.write(f"{head}{key}Content-Length: 67108865\r\n\r\n".encode())
        async with asyncio.timeout(20 * TIMEOUT_FACTOR):
            first = await reader.readline()
        writer.close()
        return first

    assert b" 413 " in asyncio.run(answer())


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_rubbish_is_refused_and_breaks_nothing(
    route: Route, world: World, stranger: httpx.Client
) -> None:
    headers = _as(world.blue.keys["admin"])
    answers = []
    for rubbish in RUBBISH if "{" in route.path else ():
        path = route.absent(quote(rubbish[:100], safe=""))
        answers.append(_ask(stranger, route, path, headers=headers, content=b"{}"))
    path = route.absent()
    for given in route.operation.get("parameters", ()):
        parameter = _resolved(given)
        if parameter["in"] == "query":
            answers += [
                _ask(stranger, route, path, headers=headers, params={parameter["name"]: value})
                for value in (RUBBISH[:2] if "$ref" in given else RUBBISH)
            ]
    if route.method != "GET":
        answers += [_ask(stranger, route, path, headers=headers, content=body) for body in BODIES]
        answers.append(_ask(stranger, route, path, headers=headers, params={"no": "1"}))
    for answer in answers:
        # Some rubbish is a name like any other; none is our fault.
        assert answer.status_code < 500, (answer.request.url, answer.request.content, answer.text)
        # Brokers are answered in their own words.
        if answer.status_code >= 400 and not route.path.startswith("/v1/broker/"):
            _problem(answer)


def test_a_stream_shows_a_tenant_only_its_own(world: World, stranger: httpx.Client) -> None:
    for land, other in ((world.red, world.blue), (world.blue, world.red)):
        told, key = "", _as(land.keys["viewer"])
        with stranger.stream("GET", "/v1/feed/sse?since=0", headers=key) as answer:
            for line in answer.iter_lines():
                told += line
                if land.mark in line and "fence.entered" in line:
                    break
        assert other.mark not in told


def test_a_socket_shows_a_tenant_only_its_own(world: World) -> None:
    """A hook for every other door: what REST refuses, no stream may tell."""
    url = world.url.replace("http", "ws", 1) + "/v1/feed"
    found = {}
    for land in (world.red, world.blue):
        with connect(url, additional_headers=_as(land.keys["viewer"]), proxy=None) as socket:
            subscribe = {"op": "subscribe", "id": "all", "filter": {}, "since": 0}
            socket.send(json.dumps(subscribe))
            socket.send('{"op": "ping"}')
            told = ""
            while "fence.entered" not in told:
                told += str(socket.recv(timeout=20 * TIMEOUT_FACTOR))
            found[land.mark] = told
    assert "bluemark" not in found["redmark"]
    assert "redmark" not in found["bluemark"]
