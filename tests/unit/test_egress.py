"""Where webhooks may lead: every address that could be ours, in every spelling, is refused."""

import pytest

from tracking.egress import Egress
from tracking.errors import SettingsError

PUBLIC = Egress.of([], [443], http=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255",
        "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16",
        "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1",
        "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.88.99.1",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
        "2001:db8::1", "2001::1", "3fff::1", "100::1", "5f00::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1",
        "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::1",
        "2002:808:808::1", "no address", "",
    ],
)  # fmt: skip
def test_an_address_that_may_be_ours_is_refused(address: str) -> None:
    assert PUBLIC.refusal(address, 443) is not None


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8",
     "64:ff9b::8.8.8.8"],
)  # fmt: skip
def test_a_public_address_may_be_reached(address: str) -> None:
    assert PUBLIC.refusal(address, 443) is None


def test_a_permitted_network_is_permitted_in_every_guise() -> None:
    egress = Egress.of(["10.1.0.0/16", "fd00:1::/32"], [], http=True)
    assert egress.refusal("10.1.2.3", 8080) is None
    assert egress.refusal("::ffff:10.1.2.3", 8080) is None
    assert egress.refusal("fd00:1::5", 8080) is None
    assert egress.refusal("10.2.0.1", 8080) is not None
    assert egress.refusal("127.0.0.1", 8080) is not None


def test_another_port_is_refused_at_the_socket_too() -> None:
    assert PUBLIC.refusal("8.8.8.8", 25) == "port 25 is not among the permitted ones"
    assert PUBLIC.refusal("8.8.8.8", 443) is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://example.com/hook?a=1", None),
        ("https://[2606:4700::1111]/", None),
        ("http://example.com/", "http is off here"),
        ("ftp://example.com/", "give a URL like"),
        ("gopher://127.0.0.1/", "give a URL like"),
        ("/relative", "give a URL like"),
        ("https://", "give a URL like"),
        ("https://user:pass@example.com/", "credentials belong"),
        ("https://example.com:22/", "port 22"),
        ("https://127.0.0.1/", "loopback"),
        ("https://[::1]/", "loopback"),
        ("https://[::ffff:127.0.0.1]/", "loopback"),
        ("https://2130706433/", "not a canonical"),
        ("https://0x7f000001/", "not a canonical"),
        ("https://017700000001/", "not a canonical"),
        ("https://0x7f.1/", "not a canonical"),
        ("https://127.1/", "not a canonical"),
        ("https://127.0.0.1./", "not a canonical"),
        ("https://example.com:99999/", ""),
        ("https://[::1/", ""),
    ],
)
def test_a_url_is_judged_before_anything_is_resolved(url: str, fault: str | None) -> None:
    found = PUBLIC.url_fault(url)
    if fault is None:
        assert found is None
    else:
        assert found is not None
        assert fault in found


def test_a_network_that_is_none_is_a_fault_of_the_settings() -> None:
    with pytest.raises(SettingsError, match="WAYMARK_WEBHOOK_ALLOW_NETS"):
        Egress.of(["10.0.0.1/8"], [], http=False)
