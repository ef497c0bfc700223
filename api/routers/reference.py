"""What the api says of itself besides OpenAPI: AsyncAPI, and a page for people."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

router = APIRouter(prefix="/v1", include_in_schema=False)

FILES = Path(__file__).parents[1] / "reference"
_CACHED = {"Cache-Control": "no-cache"}


@router.get("/asyncapi.json")
async def asyncapi() -> FileResponse:
    """What goes over MQTT, Redis and the feed; made by `waymark asyncapi`."""
    return FileResponse(FILES / "asyncapi.json", headers=_CACHED)


@router.get("/docs")
async def page() -> FileResponse:
    """The reference, which needs nothing from elsewhere."""
    return FileResponse(FILES / "index.html", headers=_CACHED)


@router.get("/docs/reference.js")
async def script() -> FileResponse:
    """What renders the OpenAPI document."""
    return FileResponse(FILES / "reference.js", headers=_CACHED, media_type="text/javascript")
