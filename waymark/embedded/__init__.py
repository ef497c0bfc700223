"""The embedded stack: PostgreSQL, Valkey and an MQTT broker from wheels, as child processes."""

from waymark.embedded.stack import Addresses, EmbeddedStack, running_stack

__all__ = ["Addresses", "EmbeddedStack", "running_stack"]
