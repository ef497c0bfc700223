"""The HTTP and websocket process."""
