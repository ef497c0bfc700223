"""When a call is sent, sent again, and given up."""

from typing import Any

import msgspec
import pytest

from waymark.client import (
    ChangedMeanwhile,
    Conflict,
    Forbidden,
    NotFound,
    Patience,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    Unintelligible,
    WaymarkError,
)
from waymark.client.calls import Call
from waymark.client.errors import Lost
from waymark.client.exchange import Answer, Authorize, Done, Pause, Run, Send, exchange

READ = Call("GET", "/v1/things/a", dict)
WRITE = Call("POST", "/v1/things", dict, body={"a": 1})
PATIENCE = Patience(tries=4, first_s=1.0, longest_s=8.0, luck=lambda: 1.0)
OK = Answer(200, {}, b'{"a":1}')


def problem(status: int, field: str | None = None, **headers: str) -> Answer:
    body = {
        "type": "urn:waymark:problem:x", "title": "X", "status": status, "detail": "why",
        "field": field, "request_id": "r1",
    }  # fmt: skip
    return Answer(status, headers, msgspec.json.encode(body))


class Played:
    """A script against answers given in advance; what it did meanwhile."""

    def __init__(
        self, call: Call[Any], *answers: Answer | Lost, tokens: tuple[str, ...] = ("t",)
    ) -> None:
        self.sent: list[Send] = []
        self.pauses: list[float] = []
        self.authorized: list[str | None] = []
        left, bring = list(answers), list(tokens)
        run = Run(exchange(call, PATIENCE))
        while not isinstance(effect := run.effect, Done):
            match effect:
                case Send():
                    self.sent.append(effect)
                    answer = left.pop(0)
                    if isinstance(answer, Lost):
                        run.failed(answer)
                    else:
                        run.told(answer)
                case Pause(seconds=seconds):
                    self.pauses.append(seconds)
                    run.told(None)
                case Authorize(refused=refused):
                    self.authorized.append(refused)
                    run.told(bring.pop(0) if len(bring) > 1 else bring[0])
        assert left == []
        self.value = effect.value


def test_an_answer_is_told_at_once() -> None:
    played = Played(READ, OK)
    assert played.value == {"a": 1}
    assert played.pauses == []
    assert played.sent[0].headers["Authorization"] == "Bearer t"
    assert "Idempotency-Key" not in played.sent[0].headers


@pytest.mark.parametrize("fault", [Lost("broke"), *(problem(n) for n in (429, 502, 503, 504))])
@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
def test_what_passes_is_sent_again_after_growing_pauses(
    fault: Answer | Lost, call: Call[Any]
) -> None:
    played = Played(call, fault, fault, fault, OK)
    assert played.value == {"a": 1}
    assert played.pauses == [1.0, 2.0, 4.0]


def test_a_write_is_sent_again_under_one_key_and_each_write_under_its_own() -> None:
    played = Played(WRITE, Lost("broke"), OK)
    first, again = (sent.headers["Idempotency-Key"] for sent in played.sent)
    assert first == again
    assert Played(WRITE, OK).sent[0].headers["Idempotency-Key"] != first
    chosen = Call("POST", "/v1/things", dict, body={}, key="order-77")
    assert Played(chosen, OK).sent[0].headers["Idempotency-Key"] == "order-77"


def test_it_is_given_up_after_so_many_tries() -> None:
    with pytest.raises(Unavailable, match="broke") as caught:
        Played(READ, *[Lost("broke")] * 4)
    assert "/v1/things/a" in str(caught.value)


def test_the_server_says_when_to_come_back() -> None:
    later = problem(503, **{"retry-after": "3"})
    assert Played(READ, later, OK).pauses == [3.0]


def test_nobody_waits_longer_than_they_would() -> None:
    later = problem(429, **{"retry-after": "60"})
    with pytest.raises(RateLimited) as caught:
        Played(READ, later)
    assert caught.value.retry_after_s == 60


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused), (401, Unauthorized), (403, Forbidden), (404, NotFound), (409, Conflict),
        (412, ChangedMeanwhile), (413, Refused), (422, Refused), (500, Unavailable),
        (302, Unintelligible),
    ],
)  # fmt: skip
def test_a_refusal_that_stays_one_is_raised_at_once(status: int, kind: type[WaymarkError]) -> None:
    with pytest.raises(kind) as caught:
        Played(READ, problem(status, "name"))
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.field, error.request_id) == (status, "name", "r1")
    assert "why" in str(error)
    assert "r1" in str(error)


def test_a_proxy_s_page_is_told_as_it_is() -> None:
    with pytest.raises(Refused, match="status 405: <h1>No</h1>"):
        Played(READ, Answer(405, {}, b"<h1>No</h1>"))


def test_a_request_still_being_carried_out_is_waited_for() -> None:
    running = problem(409, **{"retry-after": "1"})
    assert Played(WRITE, Lost("broke"), running, OK).value == {"a": 1}


def test_a_refused_token_is_renewed_once() -> None:
    played = Played(READ, problem(401), OK, tokens=("old", "new"))
    assert played.authorized == [None, "old"]
    assert [sent.headers["Authorization"] for sent in played.sent] == ["Bearer old", "Bearer new"]
    with pytest.raises(Unauthorized):
        Played(READ, problem(401), problem(401), tokens=("old", "new"))


def test_what_is_no_answer_of_the_api_is_told_as_such() -> None:
    with pytest.raises(Unintelligible, match="GET /v1/things/a"):
        Played(READ, Answer(200, {}, b"[1]"))


def test_pauses_are_shortened_by_luck_by_half_at_most() -> None:
    pauses = Patience(first_s=1.0, longest_s=4.0, luck=lambda: 0.0).pauses()
    assert [next(pauses) for _ in range(4)] == [0.5, 1.0, 2.0, 2.0]


def test_who_is_cancelled_in_the_middle_may_do_it_again() -> None:
    run = Run(exchange(READ, PATIENCE))
    assert run.effect == run.effect == Authorize()
    run.told("t")
    assert run.effect is run.effect
