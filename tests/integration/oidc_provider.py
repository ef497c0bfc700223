"""A small OIDC provider in a process of its own: discovery, keys that can be rotated, tokens."""

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.services import free_port


class Provider:
    """The server's side; `python -m tests.integration.oidc_provider PORT` runs it."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}/realms/acme"
        self.keys: dict[str, tuple[str, Any]] = {}
        self.asked = 0

    def rotate(self, algorithm: str = "ES256") -> str:
        """Have one key only, a new one."""
        kid = f"key-{time.monotonic_ns()}"
        self.keys = {kid: (algorithm, _private(algorithm))}
        return kid

    async def discovery(self, _: web.Request) -> web.Response:
        uri = f"{self.issuer}/certs"
        return web.json_response({"issuer": self.issuer, "jwks_uri": uri, "more": "members"})

    async def certs(self, _: web.Request) -> web.Response:
        self.asked += 1
        keys = []
        for kid, (algorithm, private) in self.keys.items():
            handler = jwt.algorithms.get_default_algorithms()[algorithm]
            public = json.loads(handler.to_jwk(private.public_key()))
            keys.append(public | {"kid": kid, "use": "sig", "alg": algorithm})
        return web.json_response({"keys": keys})

    async def token(self, request: web.Request) -> web.Response:
        """A token with the claims and header asked for."""
        asked = await request.json()
        kid, (algorithm, private) = next(iter(self.keys.items()))
        claims = {
            "iss": self.issuer,
            "aud": "waymark",
            "sub": "f:1:ann",
            "email": "ann@acme.example",
            "realm_access": {"roles": ["offline_access", "fleet-dispatcher"]},
            "iat": int(time.time()),
            "exp": int(time.time()) + 300,
        } | asked.get("claims", {})
        header = {"kid": kid} | asked.get("header", {})
        kept = {name: value for name, value in claims.items() if value is not None}
        return web.Response(text=jwt.encode(kept, private, algorithm, headers=header))

    async def turn(self, request: web.Request) -> web.Response:
        return web.Response(text=self.rotate(request.query["algorithm"]))

    async def count(self, _: web.Request) -> web.Response:
        return web.Response(text=str(self.asked))


def _private(algorithm: str) -> Any:  # noqa: ANN401 -- of any kind
    match algorithm:
        case "EdDSA":
            return Ed25519PrivateKey.generate()
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return rsa.generate_private_key(65537, 2048)


class Remote:
    """The tests' side."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.issuer = f"http://127.0.0.1:{port}/realms/acme"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.integration.oidc_provider", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def token(self, claims: Mapping[str, object] | None = None, **header: str) -> str:
        """A token of Ann's, with other claims and headers where given; None leaves a claim out."""
        return self._ask("/token", {"claims": claims or {}, "header": header})

    def rotate(self, algorithm: str = "ES256") -> str:
        return self._ask(f"/turn?algorithm={algorithm}")

    def fetches(self) -> int:
        """How often its keys were asked for."""
        return int(self._ask("/count"))

    def _ask(self, path: str, body: object = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self._port}{path}"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, data) as answer:
            text: bytes = answer.read()
        return text.decode()


@contextmanager
def provider() -> Iterator[Remote]:
    """A provider that runs; a test that stops it starts it again, with new keys."""
    remote = Remote(free_port())
    try:
        remote.start()
        yield remote
    finally:
        remote.stop()


async def _serve(port: int) -> None:
    served = Provider(port)
    served.rotate()
    app = web.Application()
    realm = "/realms/acme"
    app.router.add_get(f"{realm}/.well-known/openid-configuration", served.discovery)
    app.router.add_get(f"{realm}/certs", served.certs)
    app.router.add_post("/token", served.token)
    app.router.add_get("/turn", served.turn)
    app.router.add_get("/count", served.count)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
