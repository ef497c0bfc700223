"""What the live map must know before anybody gave it a key, and the map itself."""

from pathlib import Path
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from api.conventions.answers import answer
from api.document.route import documented
from api.schemas.parameters import NoQuery
from api.services import services_of

router = APIRouter(tags=["map"])

# Beside the packages in a checkout; a wheel has no map.
MAP_DIR = Path(__file__).parents[2] / "dashboards" / "map" / "dist"

_NO_MAP = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Waymark</title>
<body style="font: 1rem/1.6 system-ui; max-width: 40rem; margin: 4rem auto; padding: 0 1rem">
<h1>Waymark</h1><p>The api runs; the live map is not built. Run <code>make setup</code> in the
project's folder and load this page again.</p>
<p>The api describes itself at <a href="/v1/docs">/v1/docs</a>.</p></body></html>
"""


class MapConfig(msgspec.Struct, frozen=True):
    """`style_url` is the address of a MapLibre style, null for the plain canvas."""

    style_url: str | None


@router.get(
    "/v1/map/config",
    **documented("getMapConfig", MapConfig, example=MapConfig(None), problems=[422]),
)
async def config(request: Request, _: Annotated[NoQuery, Query()]) -> Response:
    """The address of a MapLibre style, null for the plain canvas."""
    return answer(MapConfig(services_of(request).settings.map_style_url))


def map_routes(map_dir: Path) -> APIRouter:
    """Serve the built map at `/`, or a page that tells how to build it."""
    routes = APIRouter(include_in_schema=False)
    files = StaticFiles(directory=map_dir, html=True, check_dir=False)

    # A route rather than a mount: a mount would also swallow wrong methods on the api's paths.
    @routes.get("/{path:path}")
    async def static(request: Request, path: str) -> Response:
        if path.startswith("v1/"):
            raise HTTPException(404)
        if not (map_dir / "index.html").is_file():
            if path:
                raise HTTPException(404)
            return HTMLResponse(_NO_MAP)
        response = await files.get_response(path or ".", request.scope)
        # Hashed names never change; the page that names them must be asked for each time.
        immutable = path.startswith("assets/")
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if immutable else "no-cache"
        )
        return response

    return routes
