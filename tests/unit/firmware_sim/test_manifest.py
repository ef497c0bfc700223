import io
import json
from hashlib import sha256
from typing import Any

from firmware_sim import Delivery, Faults, Options, Reading, plan
from firmware_sim.manifest import Ledger
from firmware_sim.plan import Simulation
from firmware_sim.schedule import Schedule


def reading(n: int = 0, malformed: str | None = None) -> Reading:
    body = {"lon": 1.5, "lat": 2.5}
    return Reading("van", "pos", n, 1000 + n, n, body, b"payload %d" % n, (), malformed)


def delivery(of: Reading, copy: int = 0) -> Delivery:
    return Delivery(0, 0, copy, "wm/t/van/pos", of, copy)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_reading_is_written_once_when_its_last_delivery_is_acknowledged() -> None:
    out = io.StringIO()
    ledger = Ledger(out)
    one = reading()
    ledger.planned(one, 2)
    ledger.sent(delivery(one))
    ledger.acked(delivery(one))
    assert lines(out) == []
    ledger.sent(delivery(one, 1))
    ledger.sent(delivery(one, 1))  # sent again after a reconnect
    ledger.acked(delivery(one, 1))
    assert lines(out) == [
        {
            "device": "van",
            "channel": "pos",
            "t": 1000,
            "seq": 0,
            "payload_sha256": sha256(b"payload 0").hexdigest(),
            "lon": 1.5,
            "lat": 2.5,
            "made_ms": 0,
            "faults": [],
            "published": 3,
            "acked": True,
            "malformed": None,
        }
    ]


def test_at_the_end_the_unacknowledged_are_told_and_the_unsent_are_not() -> None:
    out = io.StringIO()
    ledger = Ledger(out)
    for n in range(3):
        ledger.planned(reading(n), 1)
    ledger.sent(delivery(reading(0)))
    ledger.acked(delivery(reading(0)))
    ledger.sent(delivery(reading(1)))
    ledger.close(ending="stopped")
    *said, last = lines(out)
    assert [(line["seq"], line["acked"]) for line in said] == [(0, True), (1, False)]
    summary = last["summary"]
    assert summary["ending"] == "stopped"
    assert (summary["readings"], summary["unacked"]) == (2, 1)
    assert (summary["published"], summary["acked"]) == (2, 1)


def test_a_lost_reading_is_told_with_no_publication() -> None:
    out = io.StringIO()
    ledger = Ledger(out)
    ledger.planned(reading()._replace(faults=("loss",)), 0)
    (line,) = lines(out)
    assert (line["published"], line["acked"], line["faults"]) == (0, False, ["loss"])
    assert ledger.close()["lost"] == 1


def test_a_malformed_message_claims_no_reading() -> None:
    out = io.StringIO()
    ledger = Ledger(out)
    extra = reading(malformed="nan")
    ledger.planned(reading(), 1)
    ledger.planned(extra, 1)
    ledger.sent(delivery(extra))
    ledger.acked(delivery(extra))
    (line,) = lines(out)
    assert (line["t"], line["seq"], line["malformed"]) == (None, None, "nan")
    summary = ledger.close()
    assert (summary["readings"], summary["malformed"]) == (0, 1)


def test_content_comes_first_and_can_not_hide_the_bookkeeping() -> None:
    made = plan(Options(devices=1, readers=4, sensors=1, duration_s=20))
    out = io.StringIO()
    ledger = Ledger(out)
    for each in made.deliveries:
        ledger.planned(each.reading, 1)
        ledger.sent(each)
        ledger.acked(each)
    for line, each in zip(lines(out), made.deliveries, strict=True):
        message = json.loads(each.reading.payload)
        assert {k: v for k, v in message.items() if k != "seq"}.items() <= line.items()
        assert line["seq"] == each.reading.seq
        assert line["payload_sha256"] == sha256(each.reading.payload).hexdigest()


def schedule(duration_s: float, faults: Faults) -> tuple[Schedule, Ledger]:
    options = Options(devices=2, readers=0, sensors=0, duration_s=duration_s, faults=faults)
    ledger = Ledger()
    return Schedule(Simulation(options), ledger), ledger


def test_a_schedule_gives_what_is_due_and_no_more_than_there_is_room_for() -> None:
    due, _ = schedule(30, Faults())
    assert [d.at_ms < 5_000 for d in due.take(4_999, 1_000)] == [True] * 10
    assert due.take(4_999, 1_000) == []
    assert len(due.take(10**9, 7)) == 7
    assert len(due.take(10**9, 1_000)) == 43
    assert due.take(10**9, 1) == []
    assert due.is_exhausted


def test_a_schedule_cut_short_forgets_the_future_and_keeps_the_held() -> None:
    due, ledger = schedule(0, Faults(duplicates=1.0, duplicate_late_s=500))
    before = due.take(9_010, 1_000)
    due.cut(9_010)
    after = due.take(float("inf"), 10_000)
    assert due.is_exhausted
    assert after
    assert all(d.reading.made_ms <= 9_010 for d in after)
    # Every reading made has its first delivery and all four of its copies.
    assert len(before) + len(after) == 5 * len({d.reading.key for d in before + after})
    assert ledger.close()["readings"] == 0
