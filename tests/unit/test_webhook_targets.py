"""Targets: which events they want, what their secrets are, and how events read in words."""

from typing import Any

import pytest

from tests.integration.api_site import NOON
from tracking.errors import InputError
from tracking.feed import EventRecord
from tracking.seal import Seal
from tracking.settings import load_settings
from tracking.times import to_us
from tracking.webhooks import (
    AlertsWanted,
    Letter,
    Matcher,
    Secrets,
    SigningKey,
    Wanted,
    channel_fault,
    check_headers,
    sealed,
    unsealed,
)
from tracking.wording import TEXT, TITLE, check_template, rendered

SEAL = Seal("a secret key for tests, 32 characters")


def record(type_: str = "fence.entered", subject: str = "van-7", **data: Any) -> EventRecord:  # noqa: ANN401 -- JSON
    return EventRecord(
        "e1", "default", type_, subject, to_us(NOON), to_us(NOON), 1, "active", late=False,
        cursor=4, data=data,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "event", "fits"),
    [
        (Wanted(), record(), True),
        (Wanted(types=("fence.*",)), record(), True),
        (Wanted(types=("*",)), record(), True),
        (Wanted(types=("trip.*",)), record(), False),
        (Wanted(devices=("van-7",)), record(), True),
        (Wanted(devices=("van-8",)), record(), False),
        (Wanted(fences=("depot",)), record(fence="depot"), True),
        (Wanted(fences=("depot",)), record(fence="yard"), False),
        (Wanted(fences=("depot",)), record("trip.started"), False),
        (Wanted(shipments=("s-1",)), record("stop.arrived", "shipment/s-1", shipment="s-1"), True),
        (Wanted(shipments=("s-1",)), record("stop.arrived", "shipment/s-2", shipment="s-2"), False),
        (Wanted(bbox=(5, 52, 6, 53)), record(lon=5.1, lat=52.1), True),
        (Wanted(bbox=(6, 52, 7, 53)), record(lon=5.1, lat=52.1), False),
        (Wanted(bbox=(6, 52, 7, 53)), record(), True),
        (Wanted(types=("fence.*",), devices=("van-8",)), record(), False),
        (Wanted(alerts=AlertsWanted()), record(), False),
        (Wanted(alerts=AlertsWanted()), record("alert.opened", rule="r", severity="info"), True),
        (
            Wanted(alerts=AlertsWanted(severities=("critical",))),
            record("alert.opened", rule="r", severity="info"),
            False,
        ),
        (
            Wanted(alerts=AlertsWanted(rules=("r",), severities=("info",))),
            record("alert.opened", rule="r", severity="info"),
            True,
        ),
        (Wanted(alerts=AlertsWanted(rules=("q",))), record("alert.opened", rule="r"), False),
        (
            Wanted(types=("fence.*", "alert.*"), alerts=AlertsWanted(severities=("critical",))),
            record(),
            True,
        ),
        (Wanted(), record("webhook.disabled", subject="me"), False),
        (Wanted(), record("webhook.disabled", subject="another"), True),
    ],
)
def test_everything_given_must_fit(wanted: Wanted, event: EventRecord, *, fits: bool) -> None:
    assert Matcher("me", wanted).wants(Letter.of(event)) is fits


def test_a_replaced_secret_signs_along_for_its_time() -> None:
    first = Secrets((SigningKey("one"),))
    second = first.rotated("two", 100, 50)
    third = second.rotated("three", 120, 50)
    assert second.keys_at(149) == ["two", "one"]
    assert second.keys_at(150) == ["two"]
    assert third.keys_at(149) == ["three", "two", "one"]
    assert third.keys_at(160) == ["three", "two"]
    assert first.rotated("two", 100, 0).keys_at(100) == ["two"]


def test_secrets_open_for_their_own_target_and_key_only() -> None:
    secrets = Secrets((SigningKey("whsec_x"),), {"X-Token": "t"}, "slack://a/b/c")
    closed = sealed(SEAL, 1, "orders", secrets)
    assert b"slack" not in closed
    assert unsealed(SEAL, 1, "orders", closed) == secrets
    assert unsealed(SEAL, 2, "orders", closed) is None
    assert unsealed(SEAL, 1, "other", closed) is None
    assert unsealed(Seal("another secret key, 32 characters"), 1, "orders", closed) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "x"},
        {"content-length": "5"},
        {"Webhook-Id": "x"},
        {"webhook-signature": "x"},
        {"X Y": "x"},
        {"": "x"},
        {"X-Split": "a\r\nHost: b"},
        {"X-Umlaut": "ü"},
    ],
)
def test_headers_that_are_ours_or_cannot_be_sent_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        check_headers(headers)
    assert caught.value.field == "headers"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("slack://a/b/c", None),
        ("SLACK://a/b/c", None),
        ("json://127.0.0.1", "use one of these schemas: slack, syslog"),
        ("syslog://", "about the server itself"),
        ("slack://a/b/c?template=/etc/passwd", "template would be read on the server"),
        ("slack://a/b/c?x=1&KeyFile=/k", "keyfile would be read"),
        ("nothing", "use one of these"),
    ],
)
def test_channels_take_permitted_schemas_and_no_files(url: str, fault: str | None) -> None:
    found = channel_fault(url, {"slack", "syslog"})
    if fault is None:
        assert found is None
    else:
        assert found is not None
        assert fault in found


def test_events_read_as_sentences_in_the_time_of_the_place() -> None:
    event = record(fence="depot", depth={"m": 3})
    assert rendered(TITLE, event, "UTC") == "van-7 entered depot"
    assert (
        rendered(TEXT, event, "Europe/Amsterdam")
        == "van-7 entered depot at Sun 08 Mar 2026 13:00:00 CET."
    )
    assert rendered("$data.depth.m|$data.none|${data.fence}s|$$", event, "UTC") == "3||depots|$"
    assert rendered("$what", record("sensor.breached"), "UTC") == "sensor breached"
    moved = record("shipment.status_changed", "shipment/s-1", to="in_transit")
    assert rendered(TITLE, moved, "UTC") == "shipment/s-1 is now in_transit"
    alert = record("alert.opened", rule="night", severity="critical")
    assert rendered("$subject $what", alert, "UTC") == "van-7 raised critical alert night"


@pytest.mark.parametrize("template", ["$nobody", "$ 5", "${type", "${data.a[0]}", "${data}"])
def test_a_template_that_says_nothing_of_an_event_is_refused(template: str) -> None:
    with pytest.raises(InputError) as caught:
        check_template(template, "text")
    assert caught.value.field == "text"


def test_a_template_reaches_members_of_the_event_and_nothing_of_python() -> None:
    text = "$data.__class__|$data.x.__init__|$data.list.append|${data.x.y}"
    check_template(text, "text")
    assert rendered(text, record(x={"y": "{0.__class__}"}, list=[1]), "UTC") == "|||{0.__class__}"


def test_lists_in_settings_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_WEBHOOK_ALLOW_NETS", "10.0.0.0/8, fd00::/8")
    monkeypatch.setenv("WAYMARK_WEBHOOK_PORTS", "443,9443")
    monkeypatch.setenv("WAYMARK_CHANNELS", "")
    monkeypatch.setenv("WAYMARK_CORS_ORIGINS", "https://a.example,https://b.example")
    settings = load_settings()
    assert settings.webhook_allow_nets == ["10.0.0.0/8", "fd00::/8"]
    assert settings.webhook_ports == [443, 9443]
    assert settings.channels == []
    assert settings.cors_origins == ["https://a.example", "https://b.example"]
