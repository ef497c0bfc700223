"""The AsyncAPI document: current, valid, and true of what is really sent.

`schemas/asyncapi-3.0.0.json` is that of the AsyncAPI Initiative (npm `@asyncapi/specs`, Apache-2.0)
without its descriptions.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from api.examples.alerts import ALERT
from api.examples.fleet import EVENT, POSITION
from api.feed import messages
from api.feed.frames import FRAMES
from api.feed.messages import Message, head_of
from api.feed.requests import requests
from api.routers.reference import FILES
from ingest.decoders.native import CHANNELS
from tracking.feed import (
    attachments_notice,
    commands_notice,
    credentials_notice,
    decode_event,
    encode_event,
    encode_position,
    encode_positions,
    fences_notice,
    live_event,
    webhooks_notice,
)
from waymark.asyncapi import encoded

DOCUMENT: dict[str, Any] = json.loads((FILES / "asyncapi.json").read_text())
ASYNCAPI = json.loads((Path(__file__).parents[1] / "schemas" / "asyncapi-3.0.0.json").read_text())

EVENT_JSON = msgspec.json.encode(EVENT)
PLACE = encode_position(POSITION)
HEAD = head_of("map")
SAID: list[Message] = [
    messages.ready_message(live=True),
    messages.snapshot_message(HEAD, 4711, [PLACE], more=False),
    messages.positions_message(HEAD, [PLACE, PLACE]),
    messages.event_message(HEAD, live_event(EVENT_JSON)),
    messages.event_message(head_of(None), live_event(EVENT_JSON)),
    messages.gap_message(HEAD, 12, "ahead"),
    messages.heartbeat_message(HEAD, 12),
    messages.heartbeat_message(head_of(None), None),
    messages.status_message(live=False),
    messages.pong_message(),
    messages.auth_expiring_message(60),
    messages.closing_message(1012, "the api restarts"),
    messages.error_message("invalid", "no", name=None, field="bbox"),
]
READINGS: dict[str, list[Any]] = {
    "positions": [
        {"t": 1772951400000, "lon": 5.1, "lat": 52.1},
        [{"t": "2026-03-08T06:30:00Z", "lon": 5.1, "lat": 52.1, "seq": 7, "attrs": {"a": 1}}],
    ],
    "sensors": [{"t": 1772951400000, "values": {"temperature_c": 4.2, "door": True}}],
    "tags": [{"t": 1772951400000, "epc": "3034257BF400B7800004CB2F", "rssi_dbm": -61}],
    "status": [{"online": True}],
    "acks": [{"id": "5f0c3b9a-7f5e-4b5e-8a53-0a5b7f6f2a11", "status": "accepted", "result": {}}],
}


def schema_of(channel: str, message: str) -> dict[str, Any]:
    told = DOCUMENT["components"]["messages"][f"{channel}.{message}"]
    return {**told["payload"], "components": DOCUMENT["components"]}


def assert_told(channel: str, message: str, payload: bytes) -> None:
    jsonschema.validate(json.loads(payload), schema_of(channel, message))


def messages_of(channel: str) -> list[str]:
    return list(DOCUMENT["channels"][channel]["messages"])


def test_the_served_document_is_the_one_the_types_make() -> None:
    assert (FILES / "asyncapi.json").read_text() == encoded(), (
        "run: waymark asyncapi > api/reference/asyncapi.json"
    )


def test_it_is_asyncapi_3() -> None:
    jsonschema.Draft7Validator(ASYNCAPI).validate(DOCUMENT)


def test_every_reference_leads_somewhere() -> None:
    for part in json.dumps(DOCUMENT).split('"$ref": "#/')[1:]:
        place: Any = DOCUMENT
        for name in part.partition('"')[0].split("/"):
            place = place[name]


def test_every_kind_of_frame_is_told() -> None:
    names = {frame.__struct_config__.tag: frame.__name__ for frame in FRAMES}
    assert set(messages_of("feed")) == set(names.values())
    assert {message.type for message in SAID} == names.keys()


@pytest.mark.parametrize("message", SAID, ids=lambda message: message.type)
def test_what_the_feed_says_is_as_told(message: Message) -> None:
    names = {frame.__struct_config__.tag: frame.__name__ for frame in FRAMES}
    assert_told("feed", names[message.type], message.body)
    for other in set(names.values()) - {names[message.type]}:
        with pytest.raises(jsonschema.ValidationError):
            assert_told("feed", other, message.body)


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("Auth", {"op": "auth", "token": "wmk_x"}),
        ("Subscribe", {"op": "subscribe", "id": "map", "filter": {"types": ["trip.*"]}}),
        ("Unsubscribe", {"op": "unsubscribe", "id": "map"}),
        ("Ping", {"op": "ping"}),
    ],
)
def test_what_a_client_may_say_is_as_told(name: str, request_: dict[str, Any]) -> None:
    payload = json.dumps(request_).encode()
    assert type(requests.decode(payload)).__name__ == name
    assert_told("feedRequests", name, payload)


def test_what_goes_through_redis_is_as_told() -> None:
    assert_told("positionsFanout", "PositionsMessage", encode_positions([POSITION]))
    assert_told("eventsFanout", "CloudEvent", encode_event(decode_event(EVENT_JSON)))
    assert_told("alertsFanout", "AlertView", msgspec.json.encode(ALERT))
    for channel, payload in (
        fences_notice("a", 1),
        attachments_notice("a", 1),
        webhooks_notice("a"),
    ):
        assert channel == DOCUMENT["channels"]["notices"]["address"]
        assert_told("notices", "Notice", payload)
    for name, (channel, payload) in (
        ("commandNotices", commands_notice("a")),
        ("credentialNotices", credentials_notice("a")),
    ):
        assert channel == DOCUMENT["channels"][name]["address"]
        assert_told(name, "Notice", payload)


@pytest.mark.parametrize("channel", READINGS)
def test_what_devices_say_is_as_told_and_understood(channel: str) -> None:
    told = DOCUMENT["channels"][channel]
    (message,) = told["messages"]
    reader: Any = CHANNELS[told["address"].rpartition("/")[2]]
    for reading in READINGS[channel]:
        assert_told(channel, message, json.dumps(reading).encode())
        for one in reading if isinstance(reading, list) else [reading]:
            reader.read(json.dumps(one).encode())


def test_what_no_device_may_say_is_not_told() -> None:
    wrongs: list[Any] = [{"t": 1, "lon": 181, "lat": 0}, {"lon": 1, "lat": 1}, []]
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            assert_told("positions", "Fix", json.dumps(wrong).encode())


def test_every_channel_of_devices_is_told() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    assert {f"wm/{{tenant}}/{{device}}/{name}" for name in CHANNELS} <= addresses
