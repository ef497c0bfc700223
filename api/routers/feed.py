"""The live feed's address; `api.session` is what happens on it."""

from fastapi import APIRouter, WebSocket

from api.services import services_of
from api.session import serve_socket

router = APIRouter()


@router.websocket("/v1/feed")
async def feed(websocket: WebSocket) -> None:
    """Positions and events as they happen."""
    await websocket.accept()
    await serve_socket(websocket, services_of(websocket))
