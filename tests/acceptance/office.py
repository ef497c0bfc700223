"""Who plans and attaches in one tenant, what the api tells them, and the lorries of that tenant."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import httpx

from tests.acceptance.fronts import Api
from tests.acceptance.rig import World, environment
from tracking.store.keys import create_key
from tracking.store.tenants import create_tenant


class Office:
    """A tenant and a dispatcher's key to it. A context manager."""

    def __init__(self, world: World, api: Api, tenant: str) -> None:
        self.world = world
        self.tenant = tenant
        create_tenant(world.postgres.url(), tenant)
        key = create_key(world.postgres.url(), tenant, "office", "dispatcher")
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{api.port}/v1",
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=30,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def get(self, path: str, **params: str | int) -> Any:  # noqa: ANN401 -- JSON
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def has_seen(self, device: str, moment: datetime) -> bool:
        """Whether a device is known to have been somewhere at or after a moment."""
        answer = self.client.get(f"/devices/{device}/position")
        if answer.status_code == 404:
            return False
        return datetime.fromisoformat(answer.json()["fix_time"]) >= moment

    def drive(
        self, journey: Sequence[str], manifest: Path, *options: str
    ) -> subprocess.Popen[bytes]:
        """Start lorries on a journey, its file and options as `firmware-sim` takes them."""
        where = ["--mqtt", self.world.broker.url, "--tenant", self.tenant]
        with manifest.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "firmware_sim", "journey", *journey, *where,
                 "--manifest", str(manifest), *options],
                env=environment(), stdout=log, stderr=log,
            )  # fmt: skip


def truth_of(journey: Sequence[str]) -> list[dict[str, Any]]:
    """What truly happens in a journey, as `firmware-sim` tells it."""
    told = subprocess.run(
        [sys.executable, "-m", "firmware_sim", "truth", *journey],
        env=environment(), capture_output=True, check=True, text=True,
    )  # fmt: skip
    return [json.loads(line) for line in told.stdout.splitlines()]
