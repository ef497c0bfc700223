"""Channels: people are told in words, by Apprise, and it cannot be led into our network either."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from tests.integration.api_site import Rows
from tests.integration.hooks_rig import (
    ROOT,
    admin_site,
    deliver_process,
    deliveries,
    eventually,
    hook,
    hook_of,
    receiver,
    status,
)


async def test_people_are_told_in_words_and_the_url_is_never_shown_again(
    tmp_path: Path, database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url, channels=["json"]) as site, receiver() as there:
        url = there.url.replace("http:", "json:") + "?+X-Key=hunter2"
        await hook(
            site.client, url, id="people", kind="apprise", time_zone="Europe/Amsterdam",
            text="$subject $what, $time",
        )  # fmt: skip
        told = await hook_of(site.client, "people")
        assert told["url"] is None
        assert "hunter2" not in str(told)
        assert (await site.client.put("/v1/webhooks/people", json=told)).status_code == 200
        with Rows(database_url) as rows:
            rows.event("van-7", "fence.entered", data={"fence": "depot"})
        with deliver_process(tmp_path, database_url, valkey_url, CHANNELS="json"):
            await there.until(1)
            said = json.loads(there.received[0].body)
            assert said["title"] == "van-7 entered depot"
            assert said["message"] == "van-7 entered depot, Sun 08 Mar 2026 13:00:00 CET"
            assert there.received[0].headers["x-key"] == "hunter2"
            there.answer = status(500)
            with Rows(database_url) as rows:
                rows.event("van-8", "trip.started")
            [kept] = await eventually(
                lambda: deliveries(site.client, "people", state="retrying"), bool, "it is kept"
            )
            assert kept["attempts"][0]["error"]
            assert "hunter2" not in str(kept)


async def test_a_channel_cannot_be_led_into_our_network(
    tmp_path: Path, database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url, channels=["json"]) as site, receiver() as there:
        await hook(site.client, there.url.replace("http:", "json:"), id="people", kind="apprise")
        with deliver_process(
            tmp_path, database_url, valkey_url, CHANNELS="json", WEBHOOK_ALLOW_NETS=""
        ):
            await site.client.post("/v1/webhooks/people/test")
            [dead] = await eventually(
                lambda: deliveries(site.client, "people", state="dead"), bool, "it was tried"
            )
        assert "loopback" in dead["attempts"][0]["error"]
        assert there.received == []


async def test_channels_are_off_unless_a_setting_permits_them(
    tmp_path: Path, database_url: str, valkey_url: str
) -> None:
    async with admin_site(database_url, valkey_url, channels=["json"]) as site, receiver() as there:
        await hook(site.client, there.url.replace("http:", "json:"), id="people", kind="apprise")
        with deliver_process(tmp_path, database_url, valkey_url):
            await site.client.post("/v1/webhooks/people/test")
            [dead] = await eventually(
                lambda: deliveries(site.client, "people", state="dead"), bool, "it was tried"
            )
        assert "WAYMARK_CHANNELS" in dead["attempts"][0]["error"]
        assert there.received == []


async def test_off_the_main_thread_no_program_is_started_and_nothing_private_reached() -> None:
    program = """
import socket, subprocess, threading
from deliver.channels import Channels
from tracking.egress import Egress
Channels(["json"], Egress())
server = socket.create_server(("127.0.0.1", 0))
tries = {
    "connect": lambda: socket.create_connection(server.getsockname(), 1),
    "datagram": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "local": lambda: socket.socket(socket.AF_UNIX).connect("/run/x"),
    "program": lambda: subprocess.run(["true"]),
}
def attempt(name):
    try:
        tries[name]()
    except PermissionError:
        print(name)
for name in tries:
    thread = threading.Thread(target=attempt, args=(name,))
    thread.start()
    thread.join()
subprocess.run(["true"], check=True)
socket.create_connection(server.getsockname(), 1).close()
"""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["connect", "datagram", "local", "program"]
