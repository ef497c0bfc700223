"""What comes before a body: heads too large, too slow or broken; and headers on every answer."""

import asyncio
import json

import pytest

from api import edge, http
from tests.integration.api_site import Site, api_site


async def _answer(site: Site, *parts: bytes, ends: bool = True) -> bytes:
    """What the server says until it hangs up."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if ends:
            writer.write(b"Connection: close\r\n\r\n")
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def _status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    return int(answer[9:12])


async def test_a_url_and_headers_have_a_size(site: Site) -> None:
    long_url = b"GET /v1/rules?x=" + b"x" * http.MAX_URL_BYTES + b" HTTP/1.1\r\nHost: x\r\n"
    refused = await _answer(site, long_url)
    assert _status(refused) == 414
    problem = json.loads(refused.partition(b"\r\n\r\n")[2])
    assert problem["type"] == "urn:waymark:problem:url-too-long"
    many = b"".join(b"X-H%d: %b\r\n" % (i, b"x" * 1_000) for i in range(70))
    assert _status(await _answer(site, b"GET /v1/rules HTTP/1.1\r\nHost: x\r\n" + many)) == 431


async def test_a_header_without_an_end_is_not_kept(site: Site) -> None:
    endless = [b"x" * 16_384] * 40
    head = b"GET /v1/rules HTTP/1.1\r\nHost: x\r\nX-Endless: "
    answer = await _answer(site, head, *endless, ends=False)
    assert answer == b"" or _status(answer) == 431


async def test_a_large_body_behind_a_small_head_is_no_large_head(site: Site) -> None:
    body = b"[" + b" " * 300_000 + b"]"
    key = f"Authorization: Bearer {site.key}\r\nConnection: close\r\n\r\n".encode()
    head = b"POST /v1/fences/locate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
    assert _status(await _answer(site, head + key + body, ends=False)) == 422


async def test_who_does_not_finish_a_head_is_let_go(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "HEAD_WITHIN_S", 0.2)
    assert await _answer(site, b"GET /v1/rules HTTP/1.1\r\nHost:", ends=False) == b""
    assert await _answer(site, ends=False) == b""


async def test_who_does_not_finish_a_body_is_told_and_let_go(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "_BODY_WITHIN_S", 0.2)
    key = f"Authorization: Bearer {site.key}\r\n".encode()
    head = b"POST /v1/fences/locate HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    answer = await _answer(site, head + key + b"\r\n{", ends=False)
    assert _status(answer) == 408
    assert b"too-slow" in answer


async def test_what_is_no_http_is_a_problem_too(site: Site) -> None:
    refused = await _answer(site, b"\x16\x03\x01 nonsense\r\n", ends=False)
    assert _status(refused) == 400
    assert json.loads(refused.partition(b"\r\n\r\n")[2])["status"] == 400


@pytest.mark.parametrize("path", ["/v1/rules", "/v1/nothing", "/", "/v1/health/live"])
async def test_every_answer_carries_what_browsers_should_know(site: Site, path: str) -> None:
    told = (await site.client.get(path)).headers
    assert told["x-content-type-options"] == "nosniff"
    assert told["x-frame-options"] == "DENY"
    assert told["referrer-policy"] == "no-referrer"
    assert told["cross-origin-opener-policy"] == "same-origin"
    assert told["cross-origin-resource-policy"] == "same-origin"
    assert "geolocation=()" in told["permissions-policy"]
    assert "frame-ancestors 'none'" in told["content-security-policy"]
    assert "server" not in told
    assert "strict-transport-security" not in told
    if path.startswith("/v1/"):
        # Nobody else's cache keeps it; whoever asked may, to ask whether it is still so.
        assert told["cache-control"] in {"no-store", "private, no-cache"}


async def test_tls_is_insisted_on_by_setting(database_url: str, valkey_url: str) -> None:
    async with api_site(database_url, valkey_url, hsts_max_age_s=31_536_000) as site:
        told = (await site.client.get("/v1/rules")).headers
        assert told["strict-transport-security"] == "max-age=31536000"
