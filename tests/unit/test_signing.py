"""Signatures: the specification's own example, and secrets."""

import base64

from tracking.signing import new_secret, signed_headers

# https://github.com/standard-webhooks/standard-webhooks, and the test of its reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 -- published
ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'


def test_the_example_of_the_specification_is_signed_as_it_says() -> None:
    headers = signed_headers([SECRET], ID, TIMESTAMP, BODY)
    assert headers == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_every_secret_in_force_signs() -> None:
    other = new_secret()
    both = signed_headers([other, SECRET], ID, TIMESTAMP, BODY)["webhook-signature"]
    alone = signed_headers([SECRET], ID, TIMESTAMP, BODY)["webhook-signature"]
    assert both.split(" ")[1] == alone
    assert len(both.split(" ")) == 2


def test_a_new_secret_is_one_and_never_the_same() -> None:
    assert new_secret() != new_secret()
    assert len(base64.b64decode(new_secret().removeprefix("whsec_"))) == 32
