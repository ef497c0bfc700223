"""How often somebody is let in: per credential, per address, and how often they may guess."""

import ipaddress
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from starlette.datastructures import Headers

from api.conventions.problems import Problem
from tracking.access import Principal
from tracking.rates import Quota, Rates, Verdict
from tracking.settings import Settings

CREDENTIAL = "credential"
ADDRESS = "address"
# Credentials that were none, from one address.
FAILED = "failed"

# What a request showed of itself so far, in its ASGI scope.
_TOLD = "rates"
# Who watches over the process asks as often as it likes.
_FREE = ("/v1/health", "/metrics")
_SIGN_IN = "/v1/auth/"
# Brokers ask about every message of a fleet, from one address with one credential.
_BROKERS = "/v1/broker/"

Scope = Any


def rates_of(settings: Settings) -> Rates:
    """The quotas that the settings give."""
    return Rates(
        {
            CREDENTIAL: Quota(settings.rate_credential_per_min),
            ADDRESS: Quota(settings.rate_address_per_min),
            FAILED: Quota(settings.rate_failed_per_min),
        }
    )


class Gate:
    """Counts who comes in; `stood` tells of a credential whether it was good when last seen."""

    def __init__(self, rates: Rates, stood: Callable[[str], bool]) -> None:
        self._rates = rates
        self._stood = stood
        self._policy = ", ".join(
            f'"{kind}";q={quota.limit};w={quota.window_s:.0f}'
            for kind, quota in rates.quotas.items()
            if kind != FAILED
        )

    def enter(self, scope: Scope) -> None:
        """Let a request or socket in by its address.

        Raises:
            Problem: 429, it comes too often, or guesses.
        """
        if not self._rates.quotas or scope["path"].startswith(_FREE):
            return
        if scope["path"].startswith(_BROKERS) and self._stood(_bearer(scope)):
            return
        who = _household(scope["client"][0])
        verdict = self._rates.take(ADDRESS, who)
        if verdict is not None:
            _tell(scope, ADDRESS, verdict)
            self._check(ADDRESS, verdict, "requests from this address")
        guesses = self._rates.look(FAILED, who)
        # Others behind the same address go on with what was good a moment ago.
        if guesses is not None and not guesses.admitted and not self._stood(_bearer(scope)):
            self._check(FAILED, guesses, "credentials from this address that are none")

    def enter_as(self, principal: Principal, scope: Scope) -> None:
        """Let a request in by its principal.

        Raises:
            Problem: 429, they come too often.
        """
        if scope["path"].startswith(_BROKERS):
            return
        verdict = self._rates.take(CREDENTIAL, f"{principal.tenant_id}:{principal.actor}")
        if verdict is not None:
            _tell(scope, CREDENTIAL, verdict)
            self._check(CREDENTIAL, verdict, "requests with this credential")

    def failed(self, scope: Scope) -> None:
        """Note that what this request showed, or signed in with, was no good."""
        if scope["type"] == "websocket" or scope["path"].startswith(_SIGN_IN) or _bearer(scope):
            self._rates.take(FAILED, _household(scope["client"][0]))

    def headers(self, scope: Scope) -> dict[str, str]:
        """What an answer tells of quotas, as draft-ietf-httpapi-ratelimit-headers has it."""
        told: dict[str, Verdict] = scope.get("state", {}).get(_TOLD, {})
        if not told:
            return {}
        limits = ", ".join(
            f'"{kind}";r={verdict.remaining};t={math.ceil(verdict.reset_s)}'
            for kind, verdict in told.items()
        )
        return {"RateLimit": limits, "RateLimit-Policy": self._policy}

    def _check(self, kind: str, verdict: Verdict, what: str) -> None:
        if verdict.admitted:
            return
        raise Problem(
            429,
            f"too many {what}: {self._rates.quotas[kind].limit} are let in per minute",
            headers={"Retry-After": str(max(math.ceil(verdict.retry_s), 1))},
        )


@lru_cache(maxsize=4_096)
def address_of(host: str) -> str:
    """An IP address as it is kept, empty for what is none: a proxy may send anything."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""


@lru_cache(maxsize=4_096)
def _household(address: str) -> str:
    """Whom an address counts for: one IPv4 address, or the network of an IPv6 customer."""
    if ":" not in address:
        return address or "unknown"
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False).network_address)


def _bearer(scope: Scope) -> str:
    scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _tell(scope: Scope, kind: str, verdict: Verdict) -> None:
    scope.setdefault("state", {}).setdefault(_TOLD, {})[kind] = verdict
