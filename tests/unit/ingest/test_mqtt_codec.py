"""The MQTT bytes we write and read, without a socket."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mqtt import ProtocolError, codec
from ingest.mqtt.reader import PINGRESP, PUBACK, Control, Message, Reader

LOW = 1 << 16
PLENTY = 1_000_000
NOW_US = 1_700_000_000_000_000

publishes = st.builds(
    lambda topic, size, qos, dup, retain, ident: (topic, bytes(size), qos, dup, retain, ident),
    st.text("abc/é", min_size=1, max_size=30),
    st.sampled_from([0, 1, 90, 126, 127, 128, 173, 16_300, 16_384, 40_000]),
    st.sampled_from([0, 1]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 65_535),
)
controls = st.sampled_from([b"\xd0\x00", b"\x40\x02\x12\x34"])
packets = st.lists(
    st.one_of(publishes, controls),
    max_size=12,
    # One packet id twice is a message sent again, which has its own test.
    unique_by=lambda packet: packet[5] if isinstance(packet, tuple) else object(),
)
Packet = bytes | tuple[str, bytes, int, bool, bool, int]


def reader(max_payload_bytes: int = PLENTY) -> Reader:
    return Reader(low=LOW, max_payload_bytes=max_payload_bytes)


def wire(packet: Packet) -> bytes:
    if isinstance(packet, bytes):
        return packet
    topic, payload, qos, dup, retain, ident = packet
    data = codec.publish(topic, payload, qos=qos, retain=retain, packet_id=ident)
    return bytes([data[0] | dup << 3]) + data[1:]


def expected(packets: list[Packet], most: int) -> tuple[list[Message], list[Control]]:
    messages = [
        Message(
            topic.encode(),
            payload[:most],
            LOW + ident if qos else -1,
            NOW_US,
            retain,
            len(payload) > most,
        )
        for topic, payload, qos, _, retain, ident in (p for p in packets if isinstance(p, tuple))
    ]
    answers = [
        Control(PINGRESP, b"") if p == b"\xd0\x00" else Control(PUBACK, b"\x12\x34")
        for p in packets
        if isinstance(p, bytes)
    ]
    return messages, answers


def feed_all(
    target: Reader, chunks: list[bytes], room: int = PLENTY
) -> tuple[list[Message], list[Control]]:
    messages: list[Message] = []
    answers: list[Control] = []
    for chunk in [*chunks, b""]:
        data = chunk
        while True:
            some, others = target.feed(data, NOW_US, room)
            assert len(some) <= room
            messages += some
            answers += others
            if not target.held:
                break
            data = b""
    return messages, answers


@given(
    packets,
    st.lists(st.integers(0, 100_000), max_size=20),
    st.sampled_from([1, 3, PLENTY]),
    st.sampled_from([10, 100, 17_000, PLENTY]),
)
def test_any_packets_cut_anywhere_with_any_room_and_limit_read_the_same(
    sent: list[Packet], cuts: list[int], room: int, most: int
) -> None:
    stream = b"".join(wire(packet) for packet in sent)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    chunks = [stream[a:b] for a, b in pairwise(edges)]

    target = reader(most)

    assert feed_all(target, chunks, room) == expected(sent, most)
    assert target.redelivered == sum(p[3] for p in sent if isinstance(p, tuple))


def test_a_stream_cut_into_single_bytes_reads_the_same() -> None:
    sent: list[Packet] = [("a/b", b"x" * 200, 1, False, False, 7), b"\xd0\x00"]
    sent.append(("c", b"y" * 17_000, 1, True, False, 8))
    stream = b"".join(wire(packet) for packet in sent)

    got = feed_all(reader(150), [stream[i : i + 1] for i in range(len(stream))])

    assert got == expected(sent, 150)


def test_no_message_is_read_without_room_but_what_precedes_it_is() -> None:
    target = reader()
    ping_then_message = b"\xd0\x00" + codec.publish("t", b"x", qos=1, packet_id=3)

    messages, answers = target.feed(ping_then_message, NOW_US, 0)

    assert (messages, answers) == ([], [Control(PINGRESP, b"")])
    assert target.held
    assert [m.ticket for m in target.feed(b"", NOW_US, 1)[0]] == [LOW + 3]


def test_an_oversize_payload_keeps_its_head_and_memory_stays_small() -> None:
    target = reader(1_000)
    stream = codec.publish("t", b"x" * 50_000_000, qos=1, packet_id=9)
    stream += codec.publish("t", b"next", qos=1, packet_id=10)

    held = 0
    messages: list[Message] = []
    for at in range(0, len(stream), 65_536):
        messages += target.feed(stream[at : at + 65_536], NOW_US, PLENTY)[0]
        held = max(held, len(target._data) + sum(map(len, target._parts)))

    assert messages == [
        Message(b"t", b"x" * 1_000, LOW + 9, NOW_US, truncated=True),
        Message(b"t", b"next", LOW + 10, NOW_US),
    ]
    assert held <= 2 * 65_536


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", "is this an MQTT port", id="http"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", "is this an MQTT port", id="tls alert"),
        pytest.param(b"\x32\xff\xff\xff\xff\x01", "more than four bytes", id="endless length"),
        pytest.param(b"\x32\x05\x00\x09abc", "shorter than its topic", id="topic past the end"),
        pytest.param(b"\x32\x00\xd0\x00\xd0\x00", "shorter than its topic", id="empty publish"),
        pytest.param(b"\x32\x05\x00\x01a\x00\x00", "packet id 0", id="id zero"),
        pytest.param(b"\x34\x05\x00\x01a\x00\x07", "QoS 2", id="QoS 2"),
        pytest.param(b"\x36\x05\x00\x01a\x00\x07", "QoS 3", id="QoS 3"),
        pytest.param(b"\x90\xff\xff\xff\x7f", "control packet of", id="huge control"),
        pytest.param(b"\x82\x03\x00\x01a", "is this an MQTT port", id="a client's packet"),
    ],
)
def test_a_broken_stream_is_named(stream: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        reader().feed(stream, NOW_US, PLENTY)


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused_but_never_crashes(noise: bytes) -> None:
    try:
        reader(10).feed(noise, NOW_US, PLENTY)
    except ProtocolError:
        return


def test_pubacks_of_many_ids_are_one_block_of_bytes() -> None:
    assert codec.pubacks([1, 0xFFFF]) == b"\x40\x02\x00\x01\x40\x02\xff\xff"
    assert codec.pubacks([]) == b""


def test_only_tickets_of_this_connection_are_settled_and_each_once() -> None:
    target = reader()
    stream = b"".join(codec.publish("t", b"", qos=1, packet_id=i) for i in (1, 2, 0xFFFF))
    target.feed(stream, NOW_US, PLENTY)

    assert target.settle([LOW + 1, 5, -1, LOW - 1, LOW + 0xFFFF, LOW + 1]) == [1, 0xFFFF]
    assert target.settle([LOW + 1, LOW + 7]) == []


@pytest.mark.parametrize("size", [1, 50_000], ids=["small", "oversize"])
def test_a_copy_sent_again_before_its_first_is_settled_is_dropped(size: int) -> None:
    target = reader(1_000)
    first = codec.publish("t", bytes(size), qos=1, packet_id=7)
    again = bytes([first[0] | 8]) + first[1:]
    other = codec.publish("t", b"x", qos=1, packet_id=8)

    def tickets(stream: bytes) -> list[int]:
        messages = target.feed(stream[:100], NOW_US, PLENTY)[0]
        messages += target.feed(stream[100:], NOW_US, PLENTY)[0]
        return [message.ticket for message in messages]

    assert tickets(again) == [LOW + 7], "its first copy went to an earlier connection"
    assert tickets(again + other) == [LOW + 8]
    assert target.redelivered == 1
    target.settle([LOW + 7])
    assert tickets(again) == [LOW + 7]
    assert target.redelivered == 2


def test_connect_asks_for_a_kept_session_and_carries_the_credentials() -> None:
    packet = codec.connect(client_id="w", keepalive_s=30, username="ü", password="p")  # noqa: S106 -- an example

    assert packet == b"\x10\x14\x00\x04MQTT\x04\xc0\x00\x1e\x00\x01w\x00\x02\xc3\xbc\x00\x01p"


def test_subscribe_asks_qos_1_for_each_filter() -> None:
    assert codec.subscribe(1, ["a", "b/#"]) == b"\x82\x0c\x00\x01\x00\x01a\x01\x00\x03b/#\x01"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (1, "3.1.1"),
        (2, "WAYMARK_MQTT_CLIENT_ID"),
        (3, "unavailable"),
        (4, "WAYMARK_MQTT_URL"),
        (5, "authorise"),
        (77, "unknown code 77"),
    ],
)
def test_each_refused_connection_says_what_to_do(code: int, says: str) -> None:
    assert says in (codec.connack_refusal(code, client_id="w") or "")


def test_an_accepted_connection_and_granted_subscriptions_are_no_refusal() -> None:
    assert codec.connack_refusal(0, client_id="w") is None
    assert codec.suback_refusal(["a", "b"], b"\x01\x00") is None


def test_a_refused_filter_is_named_and_the_group_blamed_only_when_there_is_one() -> None:
    plain = codec.suback_refusal(["wm/#", "owntracks/#"], b"\x01\x80") or ""
    shared = codec.suback_refusal(["$share/g/wm/#"], b"\x80") or ""

    assert "owntracks/#" in plain
    assert "wm/#" not in plain
    assert "WAYMARK_MQTT_GROUP" not in plain
    assert "WAYMARK_MQTT_GROUP" in shared


def test_a_suback_of_the_wrong_length_is_a_refusal() -> None:
    assert "1 code(s)" in (codec.suback_refusal(["a", "b"], b"\x01") or "")
