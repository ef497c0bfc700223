"""The one seam to whoever knows the roads: Valhalla and OSRM by HTTP, Valhalla in this process.

A place further than a kilometre from any road has no way; by themselves the engines would take the
nearest road, however far, and tell the way from there.
"""

import asyncio
import importlib
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import aiohttp
import msgspec

from ingest.roads.answer import RoadPath, read_answer
from tracking.errors import RoadsUnavailable, SettingsError
from tracking.eta.nearby import Place
from tracking.roads import RoadSource

Costing = Literal["auto", "truck"]

# Slower answers are worth nothing: what was asked about has moved on.
TIMEOUT_S = 10.0
_NEAR_M = 1_000
# 100,000 points, which is across a continent, are some 800 KB.
_MAX_BYTES = 16_777_216
# As the answers of 154, 170, 171 and 442 say by HTTP.
_NO_WAY_CODES = {154, 170, 171, 442}


class Roads(Protocol):
    """Whoever knows the roads. Tasks share one."""

    async def path(self, points: Sequence[Place]) -> RoadPath | None:
        """The way through these places, two or more; None: there is none.

        Raises:
            RoadsUnavailable: It did not answer, or not to the point.
        """
        ...

    async def introduce(self) -> str:
        """Who answers, in words. Raises RoadsUnavailable as `path` does."""
        ...


@asynccontextmanager
async def open_roads(source: RoadSource, costing: Costing) -> AsyncIterator[Roads]:
    """Open a provider. A server need not be there yet; tiles must.

    Raises:
        SettingsError: The tiles are not there, or what reads them is not installed.
    """
    if source.kind == "valhalla-tiles":
        with ThreadPoolExecutor(1, "valhalla") as thread:
            # Loading an extract reads its index; the loop goes on.
            actor = await asyncio.get_running_loop().run_in_executor(thread, _actor, source.place)
            yield _ValhallaTiles(actor, costing, thread)
        return
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "Waymark/1", "Accept-Encoding": "identity"},
    ) as session:
        if source.kind == "osrm":
            yield _Osrm(session, source.place)
        else:
            yield _Valhalla(session, source.place, costing)


class _Valhalla:
    """A Valhalla server."""

    def __init__(self, session: aiohttp.ClientSession, url: str, costing: Costing) -> None:
        self._session, self._url, self._costing = session, url, costing

    async def path(self, points: Sequence[Place]) -> RoadPath | None:
        """As `Roads` says."""
        question = _valhalla_question(points, self._costing)
        return read_answer(
            *await _fetch(self._session, "POST", f"{self._url}/route", question.encode())
        )

    async def introduce(self) -> str:
        """As `Roads` says."""
        return _valhalla_status((await _fetch(self._session, "GET", f"{self._url}/status"))[0])


class _Osrm:
    """An OSRM server. What drives was decided when its data was prepared."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def path(self, points: Sequence[Place]) -> RoadPath | None:
        """As `Roads` says."""
        places = ";".join(f"{lon:.6f},{lat:.6f}" for lon, lat in points)
        near = ";".join([str(_NEAR_M)] * len(points))
        return read_answer(
            *await _fetch(
                self._session,
                "GET",
                f"{self._url}/route/v1/driving/{places}"
                f"?overview=full&geometries=polyline6&generate_hints=false&radiuses={near}",
            )
        )

    async def introduce(self) -> str:
        """As `Roads` says."""
        # It tells nothing of itself; that there is no road at sea is an answer as good as any.
        await self.path([(0.0, 0.0), (0.001, 0.0)])
        return "OSRM"


class _ValhallaTiles:
    """Valhalla as a library, in a thread of its own: an actor is no two threads' at once.

    Routing lets go of the interpreter, so the loop goes on meanwhile.
    """

    def __init__(
        self,
        actor: Any,  # noqa: ANN401 -- valhalla.Actor, of a package that need not be there
        costing: Costing,
        thread: ThreadPoolExecutor,
    ) -> None:
        self._actor, self._costing, self._thread = actor, costing, thread

    async def path(self, points: Sequence[Place]) -> RoadPath | None:
        """As `Roads` says."""
        question = _valhalla_question(points, self._costing)
        answer = await self._run(self._actor.route, question)
        return None if answer is None else read_answer(answer.encode())

    async def introduce(self) -> str:
        """As `Roads` says."""
        status = await self._run(self._actor.status)
        return _valhalla_status((status or "").encode())

    async def _run(self, act: Any, *args: str) -> str | None:  # noqa: ANN401 -- as above
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, act, *args)
        except RuntimeError as exc:
            # valhalla.ValhallaError is one, with a code.
            if getattr(exc, "code", None) in _NO_WAY_CODES:
                return None
            raise RoadsUnavailable(f"valhalla: {exc}") from exc
        return str(answer)


def _actor(place: str) -> Any:  # noqa: ANN401 -- as above
    try:
        valhalla = importlib.import_module("valhalla")
    except ImportError as exc:
        raise SettingsError(
            "WAYMARK_ROADS: valhalla-tiles takes Python 3.12 and `pip install waymark[roads]`"
        ) from exc
    tar = place.endswith(".tar")
    try:
        config = valhalla.get_config(
            tile_extract=place if tar else "", tile_dir="" if tar else place
        )
        # Given the settings themselves it leaves a file behind for each actor.
        with tempfile.TemporaryDirectory(prefix="waymark-roads-") as folder:
            file = Path(folder, "valhalla.json")
            file.write_text(json.dumps(config))
            return valhalla.Actor(file)
    except (OSError, AttributeError, RuntimeError) as exc:
        raise SettingsError(f"WAYMARK_ROADS: no tiles at {place}: {exc}") from exc


def _valhalla_question(points: Sequence[Place], costing: Costing) -> str:
    return json.dumps(
        {
            "locations": [
                {"lon": lon, "lat": lat, "search_cutoff": _NEAR_M} for lon, lat in points
            ],
            "costing": costing,
            "directions_type": "none",
            "format": "osrm",
            "shape_format": "polyline6",
        }
    )


class _Status(msgspec.Struct):
    version: str


def _valhalla_status(body: bytes) -> str:
    try:
        return f"Valhalla {msgspec.json.decode(body, type=_Status).version}"
    except msgspec.DecodeError as exc:
        raise RoadsUnavailable(f"no Valhalla: {exc}") from exc


async def _fetch(
    session: aiohttp.ClientSession, method: str, url: str, body: bytes | None = None
) -> tuple[bytes, int]:
    """What a server answers and its status; both engines tell what is wrong in the body."""
    try:
        async with session.request(method, url, data=body, allow_redirects=False) as response:
            answer = bytearray()
            async for part in response.content.iter_any():
                answer += part
                if len(answer) > _MAX_BYTES:
                    raise RoadsUnavailable("its answer has no end")
            return bytes(answer), response.status
    except TimeoutError as exc:
        raise RoadsUnavailable(f"no answer within {TIMEOUT_S:g} s") from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise RoadsUnavailable(str(exc) or type(exc).__name__) from exc
