"""How methods become requests."""

from datetime import UTC, datetime
from typing import Any

import pytest

from waymark.client import Event, Page
from waymark.client.calls import Call, path
from waymark.client.connecting import Address, check_credential
from waymark.client.nouns import Nouns

NOW = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)


class Asked:
    """A way that tells what it was asked."""

    def send(self, call: Call[Any]) -> Call[Any]:
        return call

    def rows(self, call: Call[Any]) -> Call[Any]:
        return call


WAYMARK: Any = Nouns(Asked())


def test_names_are_escaped() -> None:
    assert path("orders", "a/b c?d", "tracking") == "/v1/orders/a%2Fb%20c%3Fd/tracking"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        WAYMARK.assets.delete(name)


def test_parameters_are_repeated_and_left_out_and_times_have_their_zone() -> None:
    call = WAYMARK.shipments.list(status=["planned", "arriving"], delayed=True, start=NOW)
    assert call.target == (
        "/v1/shipments?status=planned&status=arriving&delayed=true"
        "&from=2026-03-08T06%3A30%3A00%2B00%3A00"
    )


def test_without_parameters_there_is_no_query() -> None:
    assert WAYMARK.shipments.get("s-1").target == "/v1/shipments/s-1"


def test_a_box_is_four_numbers() -> None:
    call = WAYMARK.devices.list(bbox=(5.0, 52.0, 5.3, 52.2))
    assert call.target == "/v1/devices?bbox=5.0%2C52.0%2C5.3%2C52.2"


def test_a_page_is_asked_for_by_its_cursor_and_all_else_as_before() -> None:
    call = WAYMARK.events.list(types=["trip.*"]).at("abc")
    assert call.target == "/v1/events?type=trip.%2A&order=asc&cursor=abc"
    assert call.answer == Page[Event]


def test_an_edit_over_a_version_says_so() -> None:
    call = WAYMARK.shipments.edit("s-1", {"attrs": {}}, only_over=3)
    assert call.headers == {"Content-Type": "application/json", "If-Match": '"3"'}


def test_an_attachment_has_only_the_times_that_are_given() -> None:
    call = WAYMARK.attachments.attach(("shipment", "s-1"), ("asset", "truck-12"), start=NOW)
    assert call.content == (
        b'{"load":{"kind":"shipment","id":"s-1"},"carrier":{"kind":"asset","id":"truck-12"},'
        b'"from":"2026-03-08T06:30:00Z"}'
    )


@pytest.mark.parametrize("url", ["localhost:8080", "", "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        Address.of(url)


def test_one_credential_is_given() -> None:
    for key, token in ((None, None), ("k", object())):
        with pytest.raises(ValueError, match="give a `key`, or a `token`"):
            check_credential(key, token)


def test_the_feed_is_beside_the_api() -> None:
    told = Address.of("https://t.example/waymark/").feed("t")
    assert told["uri"] == "wss://t.example/waymark/v1/feed"
