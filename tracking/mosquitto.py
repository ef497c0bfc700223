"""Mosquitto's password and ACL files, made of the devices' credentials. Pure.

A user of Mosquitto has one password, and one list of rights found by going through all lists, so
rights of users by name make a reload cost the square of their number: 6 s for 20,000 (2.0.11),
during which the broker answers nobody. `pattern` lines cover every user called `tenant/device` at
once, 1 s for 20,000; names are spelled out only where they differ from that.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tracking.broker_access import Foreign, Topics, foreign_topics, native_topics
from tracking.device_secrets import password_line
from tracking.store.device_credentials import BrokerUser

_NOTE = "# Written by `waymark broker mosquitto-files`; changes are lost.\n"


class Service(NamedTuple):
    """The user Waymark's own processes are at the broker, and what they read outside `wm/`."""

    username: str
    password: str
    filters: tuple[str, ...]


class MosquittoFiles(NamedTuple):
    """The text of each file. A listener for certificates needs an ACL of its own: patterns would
    let in whoever has a certificate, also one that was revoked here.
    """  # noqa: D205 -- one contract

    passwords: str
    acl: str
    acl_certificates: str
    service_passwords: str
    service_acl: str


def mosquitto_files(
    users: Iterable[BrokerUser], foreign: Foreign, service: Service | None
) -> MosquittoFiles:
    """Everything a broker must know now."""
    passwords: list[str] = []
    by_name: list[str] = []
    certificates: list[str] = []
    for user in users:
        if user.kind == "certificate":
            certificates += _rights(user, foreign, native=True)
        else:
            passwords.append(f"{user.identity.username}:{user.secret_hash}\n")
            by_name += _exceptions(user, foreign)
    patterns = "".join(f"pattern {line}\n" for line in _lines(native_topics("%u")))
    return MosquittoFiles(
        passwords="".join(passwords),
        acl=_NOTE + "".join(by_name) + "\n" + patterns,
        acl_certificates=_NOTE + "".join(certificates),
        service_passwords="" if service is None else _service_passwords(service),
        service_acl=_NOTE if service is None else _NOTE + _service_acl(service),
    )


def _exceptions(user: BrokerUser, foreign: Foreign) -> Iterator[str]:
    """What the patterns do not say of a user with a password."""
    who = user.identity
    is_other = who.username != f"{who.tenant}/{who.device}"
    if is_other or foreign_topics(who.tenant, who.device, foreign).publish:
        yield from _rights(user, foreign, native=is_other)
    if is_other:
        # What the patterns say of this name, which is no device's.
        yield from (f"topic deny {topic}\n" for topic in native_topics(who.username).publish)
        yield from (f"topic deny {topic}\n" for topic in native_topics(who.username).subscribe)


def _rights(user: BrokerUser, foreign: Foreign, *, native: bool) -> Iterator[str]:
    who = user.identity
    yield f"user {who.username}\n"
    if native:
        yield from (
            f"topic {line}\n" for line in _lines(native_topics(f"{who.tenant}/{who.device}"))
        )
    yield from (
        f"topic {line}\n" for line in _lines(foreign_topics(who.tenant, who.device, foreign))
    )


def _lines(topics: Topics) -> Iterator[str]:
    yield from (f"write {topic}" for topic in topics.publish)
    yield from (f"read {topic}" for topic in topics.subscribe)


def _service_passwords(service: Service) -> str:
    return f"{service.username}:{password_line(service.password)}\n"


def _service_acl(service: Service) -> str:
    """Waymark reads everything, and writes commands, replays, and what the doctor sends itself."""
    filters = ("wm/#", *service.filters, "waymark/doctor/#")
    return f"user {service.username}\n" + "".join(f"topic readwrite {name}\n" for name in filters)
