"""What the feed says, byte by byte."""

import json

import pytest
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from api.feed.messages import (
    Message,
    error_message,
    event_message,
    gap_message,
    head_of,
    heartbeat_message,
    positions_message,
    server_sent,
    snapshot_message,
    status_message,
    websocket_deflated,
    websocket_text,
)
from tests.unit.api.live import event

HEAD = head_of('my "map"')


def parsed(data: bytes, *extensions: Extension) -> Frame:
    """One frame as the websockets library reads it, and nothing behind it."""
    reader = StreamReader()
    reader.feed_data(data)
    parsing = Frame.parse(reader.read_exact, mask=False, extensions=extensions)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    assert not reader.buffer
    frame: Frame = done.value.value
    return frame


class TestMessages:
    @pytest.mark.parametrize(
        "message",
        [
            positions_message(HEAD, [b'{"device":"a"}']),
            event_message(HEAD, event(3)),
            snapshot_message(HEAD, 7, [b"{}", b"{}"], more=True),
            gap_message(HEAD, 7, "cursor_ahead"),
            heartbeat_message(HEAD, 7),
        ],
        ids=lambda message: message.type,
    )
    def test_each_is_json_with_the_name_the_client_chose(self, message: Message) -> None:
        body = json.loads(message.body)
        assert body["type"] == message.type
        assert body["id"] == 'my "map"'
        assert body.get("cursor") == message.cursor

    def test_they_tell_what_they_are_about(self) -> None:
        assert json.loads(event_message(HEAD, event(3)).body)["event"] == {"cursor": 3}
        snapshot = json.loads(snapshot_message(HEAD, 7, [b"{}"], more=False).body)
        assert (snapshot["cursor"], snapshot["more"], snapshot["positions"]) == (7, False, [{}])
        assert json.loads(status_message(live=True).body) == {"type": "status", "live": True}
        error = json.loads(error_message("invalid", 'say "id"', name=None, field="id").body)
        assert error["message"] == 'say "id"'
        assert error["field"] == "id"

    def test_without_a_name_they_have_none(self) -> None:
        assert "id" not in json.loads(event_message(head_of(None), event(3)).body)


class TestWebsocketFrames:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
    def test_they_are_what_the_library_would_write(self, size: int) -> None:
        body = b"x" * size
        frame = parsed(websocket_text(Message("m", body)))
        assert frame == Frame(Opcode.TEXT, body)

    def test_a_compressed_one_unpacks_by_itself(self) -> None:
        body = b'{"device":"t1"}' * 5_000
        packed = websocket_deflated(Message("m", body))
        assert len(packed) < len(body) / 8
        for _ in range(2):
            assert parsed(packed, PerMessageDeflate(True, True, 15, 15)).data == body  # noqa: FBT003


class TestServerSentEvents:
    def test_they_name_their_type_and_where_to_resume(self) -> None:
        assert server_sent(Message("event", b"{}", 4711)) == b"id: 4711\nevent: event\ndata: {}\n\n"
        assert server_sent(Message("positions", b"{}")) == b"event: positions\ndata: {}\n\n"

    def test_a_heartbeat_is_a_comment_that_moves_the_last_event_id(self) -> None:
        assert server_sent(heartbeat_message(b"{", 5)) == b": heartbeat\nid: 5\n\n"
        assert server_sent(heartbeat_message(b"{", None)) == b": heartbeat\n\n"
