"""The settings: from the environment, once, with errors that name the variable."""

import json
import logging
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from tracking.errors import SettingsError
from tracking.settings import Settings, load_settings
from waymark.doctor.finding import without_password
from waymark.doctor.settings_table import markdown_table, settings_rows
from waymark.embedded.broker import MOSQUITTO_LIMITS
from waymark.logs import LineFormatter

ROOT = Path(__file__).parents[2]


def test_defaults_need_no_environment() -> None:
    settings = load_settings()
    assert settings.http_port == 8080
    assert settings.database_url.get_secret_value() == "postgresql://localhost/waymark"


def test_variables_are_read_with_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_BATCH_AGE_MS", "7.5")
    monkeypatch.setenv("WAYMARK_FORMATS", '{"fleet/+/gps": "owntracks"}')
    monkeypatch.setenv("WAYMARK_MQTT_GROUP", "")
    settings = load_settings()
    assert settings.batch_age_ms == 7.5
    assert settings.formats == {"fleet/+/gps": "owntracks"}
    assert not settings.mqtt_group


def test_overrides_beat_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_HTTP_PORT", "1234")
    assert load_settings(http_port=4321).http_port == 4321


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WAYMARK_HTTP_PORT", "70000"),
        ("WAYMARK_BATCH_MAX", "many"),
        ("WAYMARK_LOG_LEVEL", "LOUD"),
        ("WAYMARK_UNKNOWN_DEVICES", "ignore"),
        ("WAYMARK_FORMATS", '["owntracks"]'),
        ("WAYMARK_FORMATS", "{"),
        ("WAYMARK_SECRET_KEY", "short"),
        ("WAYMARK_ROADS", "google"),
        ("WAYMARK_ROADS", "osrm:http://[::1"),
        ("WAYMARK_ROADS_COSTING", "bicycle"),
        ("WAYMARK_ROADS_PER_S", "0"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=rf"^{variable}: [^\n]+$"):
        load_settings()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        pytest.param({"issuer": "http://login.example"}, "OIDC_0_ISSUER", id="no https"),
        pytest.param({"audience": ""}, "OIDC_0_AUDIENCE", id="no audience"),
        pytest.param({"tenant_claim": "org"}, "give tenant, or tenant_claim", id="two tenants"),
        pytest.param({"tenant": None}, "give tenant, or tenant_claim", id="no tenant"),
        pytest.param({"default_role": None}, "else nobody is let in", id="no role"),
        pytest.param({"role_claim": "roles"}, "role_claim and roles together", id="no mapping"),
        pytest.param({"default_role": "king"}, "OIDC_0_DEFAULT_ROLE", id="no such role"),
        pytest.param({"algorithms": ["HS256"]}, "OIDC_0_ALGORITHMS", id="unknown member"),
    ],
)
def test_a_provider_that_cannot_be_trusted_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object], named: str
) -> None:
    good = {
        "issuer": "https://login.example/acme",
        "audience": "waymark",
        "tenant": "acme",
        "default_role": "viewer",
    }
    monkeypatch.setenv("WAYMARK_OIDC", json.dumps([good]))
    assert load_settings().oidc[0].issuer == "https://login.example/acme"
    monkeypatch.setenv("WAYMARK_OIDC", json.dumps([good | wrong]))
    with pytest.raises(SettingsError, match=re.escape(named)):
        load_settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_settings().http_port = 1


def test_every_setting_says_what_it_means_in_one_line() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert "\n" not in field.description, name
        assert "|" not in field.description, f"{name}: would break the README's table"


def test_the_table_has_every_variable_and_never_a_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WAYMARK_DATABASE_URL", "postgresql://me:hunter2@db/waymark")
    monkeypatch.setenv("WAYMARK_MQTT_URL", "mqtts://me:hunter2@broker")
    monkeypatch.setenv("WAYMARK_REDIS_URL", "unix:///run/redis.sock?password=hunter2&db=1")
    monkeypatch.setenv("WAYMARK_SECRET_KEY", "hunter2 " * 5)
    rows = settings_rows(load_settings())
    assert [row.variable for row in rows] == [
        f"WAYMARK_{name.upper()}" for name in Settings.model_fields
    ]
    assert not [row for row in rows if "hunter2" in repr(row)]
    assert rows[0].value == "postgresql://me:***@db/waymark"
    table = markdown_table(rows)
    assert "| `WAYMARK_HTTP_PORT` | `8080` |" in table
    assert len(table.splitlines()) == len(rows) + 2


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mqtt://broker:1883", "mqtt://broker:1883"),
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql://u:p%40ss@host:5432/db", "postgresql://u:***@host:5432/db"),
        ("postgresql:///db?host=/run&password=x&user=y", "postgresql:///db?host=/run&password=***&user=y"),
        ("postgresql://u:a:b/c@host/db", "postgresql://u:***@host/db"),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_the_readme_shows_the_table_of_settings() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("no README.md beside the code")
    table = markdown_table(settings_rows(load_settings()))
    assert table in readme.read_text(), "paste the output of `waymark doctor --markdown`"


def test_the_deployed_broker_has_the_limits_of_the_embedded_one() -> None:
    text = (ROOT / "deploy" / "mosquitto" / "mosquitto.conf").read_text()
    deployed = dict(re.findall(r"^(\w+) (\d+)$", text, flags=re.MULTILINE))
    for name, value in MOSQUITTO_LIMITS.items():
        assert deployed[name] == str(value), name


def test_a_log_line_has_utc_time_level_name_and_extras() -> None:
    record = logging.makeLogRecord(
        {
            "name": "ingest.worker",
            "levelname": "WARNING",
            "msg": "waiting %s s",
            "args": (2,),
            "created": 1_769_860_800.123,
            "msecs": 123.0,
            "action": "retry",
        }
    )
    assert LineFormatter().format(record) == (
        "2026-01-31T12:00:00.123Z WARNING ingest.worker waiting 2 s action=retry"
    )
