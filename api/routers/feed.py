"""The live feed's address; `api.dialogue` is what happens on it."""

from fastapi import APIRouter, WebSocket

from api.dialogue import serve_socket
from api.services import services_of

router = APIRouter()


@router.websocket("/v1/feed")
async def feed(websocket: WebSocket) -> None:
    """Positions and events as they happen."""
    await websocket.accept()
    await serve_socket(websocket, services_of(websocket))
