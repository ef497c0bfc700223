"""The life of a command, and what goes over the wire."""

import json
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tracking.commands import (
    ENDED,
    STATES,
    Downlink,
    State,
    Word,
    after_answer,
    downlink_message,
    event_data,
)

ID = UUID("0c1de0b4-3f7a-4a53-9d8e-6f1f5a0b7c22")
WORDS: tuple[Word, ...] = ("delivered", "succeeded", "failed")


@given(st.sampled_from(STATES), st.lists(st.sampled_from(WORDS)))
def test_answers_lead_forward_and_what_has_ended_stays(first: State, words: list[Word]) -> None:
    history: list[State] = [first]
    for word in words:
        state = after_answer(history[-1], word)
        if state is not None:
            history.append(state)
    order = ["queued", "sent", "delivered"]
    for before, after in pairwise(history):
        assert before not in ENDED
        assert after in ENDED or order.index(before) < order.index(after)
    assert len(history) <= 3
    said = [word for word in words if word != "delivered"]
    if first not in ENDED and said:
        assert history[-1] == said[0]


def test_a_command_on_the_wire_and_in_events() -> None:
    downlink = Downlink(ID, "acme", "van", "interval", b'{"interval_s":10}', 1_772_953_200_000_000)
    assert json.loads(downlink_message(downlink)) == {
        "id": str(ID),
        "name": "interval",
        "payload": {"interval_s": 10},
        "expires_at": "2026-03-08T07:00:00Z",
    }
    assert event_data(ID, "interval", "queued") == {
        "command": str(ID),
        "name": "interval",
        "state": "queued",
    }
    assert event_data(ID, "x", "failed", b'{"why": 1}')["result"] == {"why": 1}
