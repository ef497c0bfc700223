"""The doctor on healthy servers, on sick ones and on none."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.identity_site import SECRET, people_of
from tests.integration.oidc_provider import provider
from tests.integration.road_stand_in import broken, stand_in
from tests.services import Mosquitto, Postgres, Valkey, free_port
from tracking.settings import Settings, load_settings
from waymark.doctor import Finding, examine
from waymark.doctor.identity import check_identity
from waymark.doctor.roads import check_roads

ROOT = Path(__file__).parents[2]


def settings_for(**urls: str) -> Settings:
    nowhere = f"127.0.0.1:{free_port()}"
    defaults = {
        "database_url": f"postgresql://{nowhere}/waymark",
        "redis_url": f"redis://{nowhere}",
        "mqtt_url": f"mqtt://{nowhere}",
    }
    return load_settings(**{**defaults, **urls})


def found(settings: Settings) -> dict[tuple[str, str], Finding]:
    return {(finding.server, finding.what): finding for finding in examine(settings)}


def doctor(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "waymark", "doctor", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=60,
    )


def test_healthy_servers_get_no_complaint_and_status_0(
    database_url: str, valkey_url: str, mosquitto: Mosquitto
) -> None:
    run = doctor(
        "--json",
        WAYMARK_DATABASE_URL=database_url,
        WAYMARK_REDIS_URL=valkey_url,
        WAYMARK_MQTT_URL=mosquitto.url,
        WAYMARK_SECRET_KEY=SECRET,
    )
    document = json.loads(run.stdout)
    checks = {(c["server"], c["what"]): c["verdict"] for c in document["checks"]}
    # The test's own PostgreSQL trades safety for speed, and the doctor sees that.
    assert checks.pop(("database", "durable")) == "warn"
    assert set(checks.values()) == {"ok"}, document["checks"]
    assert len(checks) == 11
    assert document["ok"] is True
    assert len(document["settings"]) == len(Settings.model_fields)
    assert run.returncode == 0


def test_without_a_secret_key_it_says_that_nobody_signs_in_by_password() -> None:
    finding = found(settings_for())["api", "sign-in"]
    assert finding.verdict == "warn"
    assert "WAYMARK_SECRET_KEY" in finding.found


async def test_another_secret_key_than_the_database_was_used_with_is_found_out(
    database_url: str, valkey_url: str
) -> None:
    async with people_of(database_url, valkey_url) as people:
        await people.join("ann@acme.example")
        await people.sign_in("ann@acme.example")
    for secret, verdict in ((SECRET, "ok"), (SECRET[::-1], "warn")):
        settings = load_settings(database_url=database_url, secret_key=secret)
        (finding,) = await asyncio.to_thread(lambda given: list(check_identity(given)), settings)
        assert finding.verdict == verdict, finding


def test_an_oidc_provider_is_asked_for_its_keys() -> None:
    with provider() as remote:
        told = {"issuer": remote.issuer, "audience": "x", "tenant": "y", "default_role": "viewer"}
        _, there = check_identity(load_settings(oidc=[told]))
        remote.stop()
        _, gone = check_identity(load_settings(oidc=[told]))
    assert (there.verdict, gone.verdict) == ("ok", "fail")
    assert remote.issuer in gone.found


def test_absent_servers_are_named_with_what_to_do_and_status_1() -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    run = doctor(
        WAYMARK_DATABASE_URL=f"postgresql://me:hunter2@{nowhere}/waymark",
        WAYMARK_REDIS_URL=f"redis://:hunter2@{nowhere}",
        WAYMARK_MQTT_URL=f"mqtt://me:hunter2@{nowhere}",
    )
    assert run.returncode == 1
    assert run.stdout.count("\nfail") == 3
    assert run.stdout.count("waymark up") == 3
    assert "hunter2" not in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_a_wrong_setting_is_one_line_and_status_2() -> None:
    run = doctor(WAYMARK_HTTP_PORT="eighty")
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("waymark: WAYMARK_HTTP_PORT: ")
    assert run.stderr.count("\n") == 1


def test_a_database_without_the_schema_is_told_to_migrate(empty_database_url: str) -> None:
    schema = found(settings_for(database_url=empty_database_url))["database", "schema"]
    assert schema.verdict == "fail"
    assert "0001_core" in schema.found
    assert schema.advice == "run `waymark migrate`"


def test_a_redis_that_asks_for_a_password_is_not_called_absent() -> None:
    with Valkey("--requirepass", "hunter2") as server:
        finding = found(settings_for(redis_url=server.url))["redis", "reachable"]
    assert finding.verdict == "fail"
    assert "password" in finding.advice


def test_a_database_that_is_not_there_is_not_called_an_absent_server(
    postgres_server: Postgres,
) -> None:
    finding = found(settings_for(database_url=postgres_server.url("nowhere")))
    assert finding["database", "reachable"].advice.startswith("create it")


def test_a_broker_that_refuses_the_user_is_not_called_absent(tmp_path: Path) -> None:
    (tmp_path / "passwords").touch(mode=0o600)
    with Mosquitto("allow_anonymous false", f"password_file {tmp_path}/passwords") as broker:
        finding = found(settings_for(mqtt_url=broker.url))["broker", "reachable"]
    assert finding.verdict == "fail"
    assert "Not authorized" in finding.found


def test_a_broker_that_forbids_the_topics_is_told_which(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic read nothing/#\n")
    (tmp_path / "acl").chmod(0o600)
    with Mosquitto(f"acl_file {tmp_path}/acl") as broker:
        findings = found(settings_for(mqtt_url=broker.url))
    assert findings["broker", "reachable"].verdict == "ok"
    assert findings["broker", "delivers"].verdict == "fail"
    assert "wm/" in findings["broker", "delivers"].advice


def test_a_broker_that_drops_what_it_queues_is_found_out() -> None:
    with Mosquitto("max_queued_messages 1000", "max_inflight_messages 20") as broker:
        finding = found(settings_for(mqtt_url=broker.url))["broker", "queues"]
    assert finding.verdict == "warn"
    assert "of 1,100 messages" in finding.found
    assert "max_queued_messages" in finding.advice


def test_the_doctor_leaves_no_session_behind(mosquitto: Mosquitto) -> None:
    list(examine(settings_for(mqtt_url=mosquitto.url)))
    mosquitto.restart()  # writes the store
    assert b"waymark-doctor" not in (mosquitto.folder / "mosquitto.db").read_bytes()


@pytest.mark.parametrize("url", ["http://broker", "mqtt://", "mqtt://host:port"])
def test_a_broker_url_that_cannot_be_read_names_its_variable(url: str) -> None:
    finding = found(settings_for(mqtt_url=url))["broker", "settings"]
    assert finding.verdict == "fail"
    assert "WAYMARK_MQTT_URL" in finding.found


async def roads_of(**settings: str) -> Finding:
    # The doctor starts a loop of its own, which it cannot within this one.
    (finding,) = await asyncio.to_thread(lambda: list(check_roads(settings_for(**settings))))
    return finding


async def test_whoever_knows_the_roads_says_who_it_is() -> None:
    async with stand_in() as server:
        told = await roads_of(roads=f"valhalla:{server.url}")
        assert (told.verdict, told.found) == ("ok", f"Valhalla 3.9.1 at valhalla:{server.url}")
        told = await roads_of(roads=f"osrm:{server.url}")
        assert (told.verdict, told.found) == ("ok", f"OSRM at osrm:{server.url}")


@pytest.mark.parametrize(
    "roads", ["valhalla:http://me:secret@127.0.0.1:{}", "osrm:http://127.0.0.1:{}"]
)
async def test_roads_that_do_not_answer_are_found_out(roads: str) -> None:
    told = await roads_of(roads=roads.format(free_port()))
    assert told.verdict == "fail"
    assert "Cannot connect" in told.found
    assert "WAYMARK_ROADS" in told.advice
    assert "secret" not in told.found


async def test_something_else_where_the_roads_should_be_is_found_out() -> None:
    async with stand_in() as server:
        server.answer = broken
        told = await roads_of(roads=f"osrm:{server.url}")
        assert told.verdict == "fail"
        assert "HTTP 502" in told.found


async def test_tiles_that_are_not_there_are_found_out() -> None:
    told = await roads_of(roads="valhalla-tiles:/nowhere")
    assert (told.verdict, told.what) == ("fail", "settings")
