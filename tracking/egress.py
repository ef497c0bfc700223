"""Which addresses outside may be reached on behalf of whoever typed a URL. Pure.

A target's address is a tenant's to choose, so it must not lead back into our own network. What a
name resolves to is judged where a socket is made, by the address it is about to connect to:
nothing is resolved twice, so a name that changes its answer gains nothing.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, Self

from yarl import URL

from tracking.errors import SettingsError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's special-purpose registries, and what clouds answer their machines on.
_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's metadata"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "special-purpose"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "special-purpose"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
    )
)
_GLOBAL_6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# 127.1, 2130706433, 0x7f000001 and 017700000001 are 127.0.0.1 to a resolver.
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?", re.IGNORECASE)


class Egress(NamedTuple):
    """What may be reached: public addresses and those in `allowed`, on `ports` (none: on all)."""

    allowed: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset()
    http: bool = False

    @classmethod
    def of(cls, allowed: Iterable[str], ports: Iterable[int], *, http: bool) -> Self:
        """From settings.

        Raises:
            SettingsError: a network is none.
        """
        try:
            return cls(tuple(ip_network(text) for text in allowed), frozenset(ports), http)
        except ValueError as exc:
            raise SettingsError(f"WAYMARK_WEBHOOK_ALLOW_NETS: {exc}") from exc

    def refusal(self, host: str, port: int) -> str | None:
        """Why a socket may not connect to this literal address and port, None if it may."""
        try:
            what = self._refused(ip_address(host))
        except ValueError:
            return f"{host} is no address"
        return self._port_fault(port) if what is None else f"{host} is refused: {what}"

    def url_fault(self, url: str) -> str | None:
        """What is wrong with the URL of a target, as far as it can be told without resolving."""
        try:
            parsed = URL(url)
            host, port = parsed.host, parsed.port
        except ValueError as exc:
            return str(exc)
        if parsed.scheme not in {"http", "https"} or not host or port is None:
            return "give a URL like https://example.com/hook"
        if parsed.scheme == "http" and not self.http:
            return "http is off here: use https"
        if parsed.user is not None or parsed.password is not None:
            return "credentials belong into `headers`, not into the URL"
        return self._host_fault(host, port)

    def _host_fault(self, host: str, port: int) -> str | None:
        if _is_address(host):
            return self.refusal(host, port)
        if _NUMERIC.fullmatch(host):
            return f"{host} is not a canonical IPv4 address"
        return self._port_fault(port)

    def _port_fault(self, port: int) -> str | None:
        if self.ports and port not in self.ports:
            return f"port {port} is not among the permitted ones"
        return None

    def _refused(self, address: Address) -> str | None:
        seen = _unwrapped(address)
        if any(seen in network for network in self.allowed if network.version == seen.version):
            return None
        if isinstance(seen, IPv6Address):
            if seen.sixtofour is not None:
                return "6to4"
            if seen not in _GLOBAL_6:
                return _named(seen) or "special-purpose"
        return _named(seen)


def _named(address: Address) -> str | None:
    for network, what in _REFUSED:
        if network.version == address.version and address in network:
            return what
    return None


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, mapped or by NAT64; else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
