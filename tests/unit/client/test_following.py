"""How the feed is followed: what is asked for, given out, told and given up."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.integration.api_site import NOON
from waymark.client import Event, FeedState, Forbidden, Gap, Patience, Refused, Unauthorized
from waymark.client.calls import Noun
from waymark.client.errors import Lost
from waymark.client.exchange import Answer, Authorize, Done, Give, Pause, Run, Send
from waymark.client.feed import Feed
from waymark.client.following import Following, Listen, Open, Say

PATIENCE = Patience(tries=2, first_s=1.0, longest_s=4.0, luck=lambda: 1.0)
Frame = dict[str, Any]
way: Any = None
FEED: Noun[Any] = Feed(way)


def events(since: int | None = None, **wanted: Any) -> Following[Event]:  # noqa: ANN401
    following: Following[Event] = Feed.events.following(FEED, since=since, **wanted)
    return following


def event(cursor: int, *, id_: str | None = None, revision: int = 1, at_s: float = 0) -> Frame:
    told = {
        "id": id_ or f"e{cursor}", "source": "/waymark/x", "type": "trip.started",
        "subject": "van-7", "time": NOON, "data": {}, "tenant": "x",
        "recorded_at": NOON + timedelta(seconds=at_s), "revision": revision, "status": "active",
        "late": False, "cursor": cursor,
    }  # fmt: skip
    return {"type": "event", "cursor": cursor, "event": told}


def snapshot(cursor: int, *positions: Frame) -> Frame:
    return {"type": "snapshot", "cursor": cursor, "more": False, "positions": positions}


def fix(device: str, at_s: float) -> Frame:
    time = NOON + timedelta(seconds=at_s)
    return {"device": device, "fix_time": time, "received_at": time, "lon": 5.0, "lat": 52.0}


class Played:
    """A stream over connections given in advance, until there is none left.

    Each is what it says, and then how it ends; what has no words could not be made.
    """

    def __init__(
        self,
        following: Following[Any],
        *connections: tuple[Sequence[Frame], Lost],
        tokens: tuple[str, ...] = ("t",),
        rest: Callable[[Send], list[Frame]] = lambda _: [],
    ) -> None:
        self.given: list[Any] = []
        self.said: list[Frame] = []
        self.opened: list[str] = []
        self.pauses: list[float] = []
        self.asked: list[str] = []
        self._left, self._tokens, self._rest = list(connections), list(tokens), rest
        self._frames: list[Frame] = []
        self._end = Lost("nothing")
        run = Run(following.script(PATIENCE))
        while self._speak(run) or self._do(run):
            assert not isinstance(run.effect, Done), "a stream has no end"

    def _do(self, run: Run) -> bool:
        """What is no speech; False where there are no connections left."""
        match run.effect:
            case Authorize():
                several = len(self._tokens) > 1
                run.told(self._tokens.pop(0) if several else self._tokens[0])
            case Give(item=item):
                self.given.append(item)
                run.told(None)
            case Pause(seconds=seconds):
                self.pauses.append(seconds)
                run.told(None)
            case Send() as sent:
                self.asked.append(sent.target)
                items = [one["event"] for one in self._rest(sent)]
                run.told(Answer(200, {}, msgspec.json.encode({"items": items, "next": None})))
            case _:
                return False
        return True

    def _speak(self, run: Run) -> bool:
        match run.effect:
            case Open(token=token) if self._left:
                self.opened.append(token)
                words, self._end = self._left.pop(0)
                self._frames = list(words)
                run.told(None) if words else run.failed(self._end)
            case Say(message=message):
                self.said.append(msgspec.json.decode(message))
                run.told(None)
            case Listen() if self._frames:
                run.told(msgspec.json.encode(self._frames.pop(0)))
            case Listen():
                run.failed(self._end)
            case _:
                return False
        return True

    @property
    def cursors(self) -> list[int]:
        return [one.cursor for one in self.given]


BROKE = Lost("the connection broke")


def test_a_stream_begins_where_it_is_told_to() -> None:
    played = Played(events(7, types=["trip.*"]), ([snapshot(7), event(8)], BROKE))
    assert played.cursors == [8]
    wanted = {"types": ["trip.*"], "positions": False}
    assert played.said == [{"op": "subscribe", "id": "s", "filter": wanted, "since": 7}]


def test_without_a_cursor_it_begins_now_and_goes_on_from_there() -> None:
    played = Played(events(), ([snapshot(20)], BROKE), ([snapshot(20), event(21)], BROKE))
    assert [one.get("since") for one in played.said] == [None, 20]
    assert played.cursors == [21]


def test_it_goes_on_from_the_last_event_or_heartbeat() -> None:
    beat = {"type": "heartbeat", "cursor": 15}
    played = Played(
        events(0),
        ([snapshot(0), event(3)], BROKE),
        ([snapshot(3), event(5), beat], BROKE),
        ([snapshot(15)], BROKE),
    )
    assert [one["since"] for one in played.said] == [0, 3, 15]


def test_what_comes_again_is_not_given_again() -> None:
    played = Played(events(0), ([snapshot(0), event(1), event(2), event(2), event(1)], BROKE))
    assert played.cursors == [1, 2]


def test_pauses_grow_until_a_connection_proves_good() -> None:
    dead: tuple[list[Frame], Lost] = ([], Lost("refused"))
    played = Played(events(), dead, dead, dead, dead, ([snapshot(1)], BROKE), dead)
    assert played.pauses == [1.0, 2.0, 4.0, 4.0, 1.0, 2.0]


def test_the_server_says_when_to_come_back() -> None:
    played = Played(events(), ([], Lost("full", code=503, retry_after_s=9.0)))
    assert played.pauses == [9.0]


def test_it_tells_how_it_fares() -> None:
    states: list[FeedState] = []
    status = {"type": "status", "live": False}
    connection = (
        [
            {"type": "ready", "live": True},
            snapshot(0),
            event(1),
            {"type": "heartbeat", "cursor": 1},
            status,
            {**status, "live": True},
        ],
        Lost("the api restarts", code=1012),
    )
    Played(events(0, on_state=states.append), connection)
    names = ["connecting", "catching_up", "live", "behind", "live", "away", "connecting"]
    assert [state.name for state in states] == names
    assert states[-2].detail == "the api restarts; trying again in 1.0 s"


def test_a_token_that_ends_is_renewed_on_the_open_connection() -> None:
    played = Played(
        events(),
        ([snapshot(1), {"type": "auth_expiring", "left_s": 60}, event(2)], BROKE),
        tokens=("old", "new"),
    )
    assert played.said[1] == {"op": "auth", "token": "new"}
    assert played.cursors == [2]


def test_a_refused_token_is_replaced_at_once_and_then_after_pauses() -> None:
    refused = ([{"type": "auth"}], Lost("no credential", code=4401))
    played = Played(
        events(), refused, refused, refused, ([snapshot(1), event(2)], BROKE),
        tokens=("a", "b", "c", "d"),
    )  # fmt: skip
    assert played.opened == ["a", "b", "c", "d"]
    assert played.pauses == [1.0, 2.0, 1.0]


def test_a_key_that_is_refused_ends_it() -> None:
    with pytest.raises(Unauthorized):
        Played(events(), ([snapshot(1)], Lost("revoked", code=4401)))


def test_who_may_not_read_the_feed_is_told_so() -> None:
    with pytest.raises(Forbidden, match="may not read"):
        Played(events(), ([{"type": "x"}], Lost("this credential may not read", code=4403)))


def test_a_filter_that_means_nothing_is_refused_by_name() -> None:
    fault = {"type": "error", "message": "bbox: latitudes", "field": "bbox"}
    with pytest.raises(Refused) as caught:
        Played(events(), ([fault], BROKE))
    assert caught.value.field == "bbox"


def test_an_event_log_that_begins_anew_is_read_from_where_it_was_left() -> None:
    """Of 10 to 12 the copy lacks 12, which was told again as 11 behind a new 10."""
    gap = {"type": "gap", "cursor": 13, "reason": "cursor_ahead"}
    again = [
        event(14, at_s=300),
        event(13, at_s=200),
        event(12, id_="e12", at_s=150),
        event(11, id_="e12", revision=2, at_s=140),
        event(10, id_="new", at_s=130),
        event(9, at_s=10),
    ]
    played = Played(
        events(10),
        ([snapshot(10), event(11, at_s=90), event(12, at_s=100)], BROKE),
        ([snapshot(13), gap, event(14, at_s=300)], BROKE),
        ([snapshot(14)], BROKE),
        rest=lambda _: again,
    )
    told = [(one.id, one.revision, one.cursor) for one in played.given]
    assert told[2:] == [("new", 1, 10), ("e12", 2, 11), ("e13", 1, 13), ("e14", 1, 14)]
    assert played.said[-1]["since"] == 14
    assert played.asked == ["/v1/events?order=desc&limit=1000"]


def test_a_cursor_that_is_not_known_ends_a_stream_that_cannot_tell_what_it_lacks() -> None:
    gap = {"type": "gap", "cursor": 13, "reason": "cursor_ahead"}
    with pytest.raises(Gap, match="knows no cursor 999: its last is 13") as caught:
        Played(events(999), ([snapshot(13), gap], BROKE))
    assert caught.value.head == 13


def test_a_stream_that_knows_when_it_was_left_goes_on_behind_a_gap() -> None:
    gap = {"type": "gap", "cursor": 13, "reason": "cursor_ahead"}
    known = NOON + timedelta(seconds=100)
    played = Played(
        events(999, known_until=known),
        ([snapshot(13), gap, event(14)], BROKE),
        rest=lambda _: [event(13, at_s=200), event(12, at_s=30)],
    )
    assert played.cursors == [13, 14]


def test_of_positions_each_device_s_newest_is_given_once_over_all_connections() -> None:
    following: Following[Any] = Feed.positions.following(FEED, shipments=["s-1"])
    moved = {"type": "positions", "updates": [fix("a", 2), fix("b", 1)]}
    played = Played(
        following,
        ([snapshot(1, fix("a", 1)), moved], BROKE),
        ([snapshot(1, fix("a", 2), fix("b", 3)), moved], BROKE),
    )
    given = [(one.device, (one.fix_time - NOON).seconds) for one in played.given]
    assert given == [("a", 1), ("a", 2), ("b", 1), ("b", 3)]
    assert played.said[1]["filter"] == {"types": [], "shipments": ["s-1"]}
    assert "since" not in played.said[1]


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({}, True),
        ({"types": ["trip.*"]}, True),
        ({"types": ["trip.ended", "stop.*"]}, False),
        ({"devices": ["van-7"]}, True),
        ({"devices": ["van-8"]}, False),
        ({"fences": ["depot"]}, False),
        ({"shipments": ["s-1"]}, False),
        ({"bbox": (4.0, 51.0, 6.0, 53.0)}, True),
        ({"bbox": (6.0, 51.0, 7.0, 53.0)}, False),
        ({"bbox": (170.0, 51.0, 6.0, 53.0)}, True),
    ],
)
def test_what_is_read_by_rest_is_chosen_as_the_feed_would(wanted: Frame, *, fits: bool) -> None:
    placed = event(1)["event"] | {"data": {"lon": 5.0, "lat": 52.0}}
    one = msgspec.convert(placed, Event)
    assert events(0, **wanted).tail.wanted.fits(one) is fits
