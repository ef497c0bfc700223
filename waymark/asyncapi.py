"""The AsyncAPI document: what goes over MQTT, Redis and the feed, of the types that are encoded.

It is assembled here because nothing else may know both the workers' payloads and the api's frames;
`waymark asyncapi` writes it to `api/reference/asyncapi.json`, which the api serves.
"""

from typing import Any, NamedTuple

import msgspec

from api.document.components import Schemas
from api.feed.frames import FRAMES
from api.feed.requests import Auth, Ping, Subscribe, Unsubscribe
from ingest.decoders.gather import Fix
from ingest.decoders.native import AckReading, SensorReading, StatusReading, TagReading
from tracking.alert_life import AlertView
from tracking.commands import CommandMessage
from tracking.feed import CloudEvent, Notice, PositionsMessage

Json = dict[str, Any]

_TENANT = {"description": "Whose"}
_DEVICE = {"description": "The device's name"}
_SERVERS: Json = {
    "mqtt": {
        "host": "localhost:1883",
        "protocol": "mqtt",
        "protocolVersion": "5",
        "description": "3.1.1 and 5; a device's own credential, which opens its own topics alone",
        "security": [{"$ref": "#/components/securitySchemes/device"}],
    },
    "redis": {
        "host": "localhost:6379",
        "protocol": "redis",
        "description": "Fan-out only, inside your network: what is missed here is in the database",
    },
    "feed": {
        "host": "localhost:8080",
        "protocol": "ws",
        "pathname": "/v1/feed",
        "description": "A credential as a header, or in the first message",
        "security": [{"$ref": "#/components/securitySchemes/bearer"}],
    },
}


class _Channel(NamedTuple):
    """One address, what goes over it, and whether Waymark sends or receives that."""

    name: str
    server: str
    address: str
    action: str
    kinds: tuple[type[msgspec.Struct], ...]
    description: str
    many: bool = False


def _described(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The same type without defaults that JSON has no word for: what is left out is unknown."""
    members: list[Any] = []
    for member in msgspec.structs.fields(kind):
        default: Any = member.default
        if isinstance(default, msgspec.Raw):
            members.append((member.encode_name, dict[str, Any] | msgspec.UnsetType, msgspec.UNSET))
        elif default is not msgspec.NODEFAULT:
            members.append((member.encode_name, member.type | msgspec.UnsetType, msgspec.UNSET))
        else:
            members.append((member.encode_name, member.type))
    return msgspec.defstruct(kind.__name__, members, namespace={"__doc__": kind.__doc__})


_FIX = _described(Fix)
_SENSOR = _described(SensorReading)
_TAG = _described(TagReading)
_STATUS = _described(StatusReading)
_ACK = _described(AckReading)
_CHANNELS = (
    _Channel("positions", "mqtt", "wm/{tenant}/{device}/pos", "receive", (_FIX,),
             "QoS 1; one reading, or an array of them", many=True),
    _Channel("sensors", "mqtt", "wm/{tenant}/{device}/sensor", "receive", (_SENSOR,),
             "QoS 1; one reading, or an array of them", many=True),
    _Channel("tags", "mqtt", "wm/{tenant}/{device}/tag", "receive", (_TAG,),
             "QoS 1; one reading, or an array of them", many=True),
    _Channel("status", "mqtt", "wm/{tenant}/{device}/status", "receive", (_STATUS,),
             "Retained; the last will says false. Also the words online and offline"),
    _Channel("acks", "mqtt", "wm/{tenant}/{device}/ack", "receive", (_ACK,),
             "A device's word on a command", many=True),
    _Channel("commands", "mqtt", "wm/{tenant}/{device}/cmd", "send", (CommandMessage,),
             "A command to a device"),
    _Channel("positionsFanout", "redis", "wm:{tenant}:positions", "send", (PositionsMessage,),
             "One message for each stored batch"),
    _Channel("eventsFanout", "redis", "wm:{tenant}:events", "send", (CloudEvent,),
             "One CloudEvents 1.0 object each, usually in the order of their cursors"),
    _Channel("alertsFanout", "redis", "wm:{tenant}:alerts", "send", (AlertView,),
             "Each alert whenever it changes"),
    _Channel("notices", "redis", "wm:notices", "send", (Notice,),
             "What was edited, for those who keep it in memory"),
    _Channel("commandNotices", "redis", "wm:commands", "send", (Notice,),
             "A command was queued"),
    _Channel("credentialNotices", "redis", "wm:credentials", "send", (Notice,),
             "Brokers must let in others than before"),
    _Channel("feedRequests", "feed", "/", "receive", (Auth, Subscribe, Unsubscribe, Ping),
             "What a client of the feed says"),
    _Channel("feed", "feed", "/", "send", FRAMES, "What the feed tells"),
)  # fmt: skip


def encoded() -> str:
    """The document as it is written to `api/reference/asyncapi.json`."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=1).decode() + "\n"


def document() -> Json:
    """The whole document."""
    schemas = Schemas([kind for channel in _CHANNELS for kind in channel.kinds])
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Waymark",
            "version": "1",
            "description": "What devices say over MQTT, what is fanned out through Redis, and the "
            "live feed. REST is in /v1/openapi.json.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _SERVERS,
        "channels": {channel.name: _channel(channel) for channel in _CHANNELS},
        "operations": {f"{one.action}{one.name[0].upper()}{one.name[1:]}": _operation(one)
                       for one in _CHANNELS},
        "components": {
            "schemas": schemas.components,
            "messages": _messages(schemas),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "device": {"type": "userPassword"},
            },
        },
    }  # fmt: skip


def _channel(channel: _Channel) -> Json:
    names = {"tenant": _TENANT, "device": _DEVICE}
    parameters = {name: told for name, told in names.items() if f"{{{name}}}" in channel.address}
    return {
        "address": channel.address,
        "description": channel.description,
        "servers": [{"$ref": f"#/servers/{channel.server}"}],
        "messages": {
            kind.__name__: {"$ref": f"#/components/messages/{_message_name(channel, kind)}"}
            for kind in channel.kinds
        },
    } | ({"parameters": parameters} if parameters else {})


def _operation(channel: _Channel) -> Json:
    return {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": channel.description,
        "messages": [
            {"$ref": f"#/channels/{channel.name}/messages/{kind.__name__}"}
            for kind in channel.kinds
        ],
    }


def _messages(schemas: Schemas) -> Json:
    found: Json = {}
    for channel in _CHANNELS:
        for kind in channel.kinds:
            schema = schemas.of(kind)
            if channel.many:
                schema = {"oneOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}
            found[_message_name(channel, kind)] = {"name": kind.__name__, "payload": schema}
    return found


def _message_name(channel: _Channel, kind: type) -> str:
    return f"{channel.name}.{kind.__name__}"
