"""WAYMARK_MQTT_* into a session's options."""

import socket
from pathlib import Path

import pytest

from ingest.mqtt import session_options
from tracking.errors import SettingsError
from tracking.settings import load_settings


def test_a_full_url_is_taken_apart() -> None:
    settings = load_settings(
        mqtt_url="mqtts://ing%40est:p%2Fw@broker.example:9999/", mqtt_group="g"
    )

    options = session_options(settings, 2)

    assert (options.host, options.port) == ("broker.example", 9999)
    assert (options.username, options.password) == ("ing@est", "p/w")
    assert options.tls is not None
    assert options.group == "g"
    assert options.client_id == f"waymark-{socket.gethostname()}-2"
    assert options.filters == ("wm/#", "owntracks/#")
    assert "p/w" not in repr(options)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("mqtt://localhost", "localhost", 1883),
        ("mqtts://h", "h", 8883),
        ("mqtt://[::1]:1884", "::1", 1884),
    ],
)
def test_ports_default_by_scheme(url: str, host: str, port: int) -> None:
    options = session_options(load_settings(mqtt_url=url), 0)

    assert (options.host, options.port) == (host, port)


def test_a_chosen_client_id_is_the_first_workers_and_numbered_from_the_second() -> None:
    settings = load_settings(mqtt_client_id="truck-ingest")

    assert session_options(settings, 0).client_id == "truck-ingest"
    assert session_options(settings, 1).client_id == "truck-ingest-1"


def test_an_empty_group_means_no_shared_subscription() -> None:
    assert session_options(load_settings(mqtt_group=""), 0).group is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mqtt_url": "http://h"}, "scheme 'http'"),
        ({"mqtt_url": "broker:1883"}, "scheme 'broker'"),
        ({"mqtt_url": "mqtt://"}, "no host"),
        ({"mqtt_url": "mqtt://h:0"}, "no host or port"),
        ({"mqtt_url": "mqtt://h:99999"}, "cannot be read"),
        ({"mqtt_url": "mqtt://u:se/cret@h"}, "percent-encoded"),
        ({"mqtt_url": "mqtt://u:se#cret@h"}, "percent-encoded"),
        ({"mqtt_url": "mqtt://h/topic"}, "after the port"),
        ({"mqtt_url": "mqtt://:secret@h"}, "user name"),
        ({"mqtt_url": "mqtt://h", "mqtt_ca_file": "ca.pem"}, "mqtts://"),
        ({"mqtt_url": "mqtts://h", "mqtt_ca_file": "/none.pem"}, "WAYMARK_MQTT_CA_FILE"),
        ({"mqtt_url": "mqtts://h", "mqtt_cert_file": "/none.pem"}, "WAYMARK_MQTT_CERT_FILE"),
        ({"mqtt_url": "mqtts://h", "mqtt_key_file": "k"}, "WAYMARK_MQTT_CERT_FILE"),
        ({"mqtt_group": "a/b"}, "WAYMARK_MQTT_GROUP"),
        ({"formats": {"a/#/b": "owntracks"}}, "WAYMARK_FORMATS"),
        ({"formats": {"a+/b": "owntracks"}}, "WAYMARK_FORMATS"),
        ({"formats": {"": "owntracks"}}, "WAYMARK_FORMATS"),
    ],
)
def test_nonsense_is_refused_by_name_without_showing_the_password(
    settings: dict[str, object], says: str
) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        session_options(load_settings(**settings), 0)

    assert "secret" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")

    with pytest.raises(SettingsError, match="WAYMARK_MQTT_CA_FILE"):
        session_options(
            load_settings(mqtt_url="mqtts://h", mqtt_ca_file=str(tmp_path / "ca.pem")), 0
        )
