"""Who is believed that a message is Waymark's."""

import base64
from typing import Any

import msgspec
import pytest

from tests.unit.client.test_following import event
from tracking.signing import new_secret, signed_headers
from waymark.client import Unintelligible
from waymark.client.webhooks import NotVerified, verify

SECRET, OTHER = new_secret(), new_secret()
BODY = msgspec.json.encode(event(7)["event"])
NOW_S = 1_780_000_000


def signed(*secrets: str, body: bytes = BODY, at_s: int = NOW_S) -> dict[str, str]:
    return signed_headers(secrets, "e7_1", at_s, body)


def verified(headers: dict[str, str], body: bytes = BODY, **more: Any) -> Any:  # noqa: ANN401
    return verify(headers, body, **{"secret": SECRET, "now_s": NOW_S, **more})


def test_what_is_signed_is_an_event() -> None:
    assert verified(signed(SECRET)).cursor == 7


def test_names_of_headers_are_written_in_any_case() -> None:
    headers = {name.title(): value for name, value in signed(SECRET).items()}
    assert verified(headers).cursor == 7


def test_while_a_secret_is_replaced_either_is_taken() -> None:
    assert verified(signed(OTHER, SECRET)).cursor == 7
    assert verified(signed(SECRET), secret=[OTHER, SECRET]).cursor == 7


def test_another_secret_or_body_or_id_or_time_is_not_believed() -> None:
    headers = signed(SECRET)
    for forged, body in (
        (signed(OTHER), BODY),
        (headers, BODY + b" "),
        ({**headers, "webhook-id": "e8_1"}, BODY),
        ({**headers, "webhook-timestamp": str(NOW_S + 1)}, BODY),
        (
            {**headers, "webhook-signature": headers["webhook-signature"].replace("v1,", "v2,")},
            BODY,
        ),
        ({**headers, "webhook-signature": ""}, BODY),
        ({**headers, "webhook-signature": "v1,\u00e9"}, BODY),
    ):
        with pytest.raises(NotVerified, match="no signature fits"):
            verified(forged, body)


@pytest.mark.parametrize("age_s", [-301, 301])
def test_what_is_not_fresh_is_not_believed(age_s: int) -> None:
    with pytest.raises(NotVerified, match="clocks differ"):
        verified(signed(SECRET, at_s=NOW_S - age_s))
    assert verified(signed(SECRET, at_s=NOW_S - age_s), tolerance_s=400).cursor == 7


def test_a_missing_header_is_named() -> None:
    headers = signed(SECRET)
    for name in headers:
        less = {other: value for other, value in headers.items() if other != name}
        with pytest.raises(NotVerified, match=name):
            verified(less)
    with pytest.raises(NotVerified, match="webhook-timestamp is no time"):
        verified({**headers, "webhook-timestamp": "soon"})


def test_a_secret_that_is_none_is_a_mistake_of_ours() -> None:
    for secret in ("", "whsec_", "whsec_%%", "hunter2!"):
        with pytest.raises(ValueError, match="the secret is none"):
            verified(signed(SECRET), secret=secret)


def test_what_is_signed_and_no_event_is_told_as_such() -> None:
    body = base64.b64encode(b"x")
    with pytest.raises(Unintelligible, match="a webhook"):
        verified(signed(SECRET, body=body), body)
