"""Who may say and hear what at the MQTT broker. Pure.

A device publishes on its own topics, hears its own commands, and nothing else. Both are lists of
whole topics: an answer is a look-up, so wildcards, `$share`, `$SYS`, empty levels and whatever
else a topic may hold are refused for not being in the list, not for being recognised.
"""

import re
from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

NATIVE_PREFIX = "wm"
# The same pattern as the CHECK on tenant.name: nothing else can exist.
TENANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DEVICE_NAME = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
UPLINK = ("pos", "sensor", "tag", "status", "ack")
DOWNLINK = "cmd"

# What follows `user/device` in the topics an OwnTracks app or tracker publishes on.
_OWNTRACKS_UPLINK = (
    *("", "/beacon", "/dump", "/event", "/info", "/start", "/status", "/step"),
    *("/voltage", "/waypoint", "/waypoints"),
)

# Sessions of Waymark's own, `waymark-<host>-<index>` and those of the doctor, hold what nobody has
# acknowledged yet: whoever connects under such a name takes it.
_RESERVED_CLIENT_ID = "waymark"

Access = Literal["publish", "subscribe", "receive"]


class Identity(NamedTuple):
    """The device a credential stands for, and the user name it shows."""

    tenant: str
    device: str
    username: str


class Foreign(NamedTuple):
    """Topics outside `wm/` that are read: the levels before `user/device`, and whose they are."""

    tenant: str = ""
    roots: tuple[str, ...] = ()

    @classmethod
    def of(cls, formats: Iterable[str], tenant: str) -> "Foreign":
        """From the filters of WAYMARK_FORMATS and WAYMARK_FOREIGN_TENANT."""
        roots = []
        for topic_filter in formats:
            levels = topic_filter.split("/")
            while levels and levels[-1] in {"+", "#"}:
                levels.pop()
            # A wildcard further ahead stands for no one device's topics.
            if levels and not {"+", "#"} & set(levels):
                roots.append("/".join(levels))
        return cls(tenant, tuple(dict.fromkeys(roots)))


class Topics(NamedTuple):
    """Whole topics, each without wildcards."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def native_topics(path: str) -> Topics:
    """The topics below `wm/`; `path` is `tenant/device`, or what stands for it in a pattern."""
    base = f"{NATIVE_PREFIX}/{path}"
    return Topics(tuple(f"{base}/{channel}" for channel in UPLINK), (f"{base}/{DOWNLINK}",))


def foreign_topics(tenant: str, device: str, foreign: Foreign) -> Topics:
    """The topics outside `wm/` of the device that is called `user:device` for them."""
    user, _, unit = device.partition(":")
    if tenant != foreign.tenant or not user or not unit:
        return Topics((), ())
    bases = [f"{root}/{user}/{unit}" for root in foreign.roots]
    return Topics(
        tuple(base + suffix for base in bases for suffix in _OWNTRACKS_UPLINK),
        tuple(f"{base}/{DOWNLINK}" for base in bases),
    )


def may(identity: Identity, access: Access, topic: str, foreign: Foreign) -> bool:
    """Whether a device may publish on a topic, subscribe to it as a filter, or receive on it."""
    of_device = identity.tenant, identity.device
    for topics in (native_topics("/".join(of_device)), foreign_topics(*of_device, foreign)):
        if topic in (topics.publish if access == "publish" else topics.subscribe):
            return True
    return False


def may_connect(identity: Identity, client_id: str) -> bool:
    """Whether a device may connect under a client id: not as Waymark, nor as another device.

    Connecting under a name ends whoever had it and takes the session over.
    """
    if client_id.startswith(_RESERVED_CLIENT_ID):
        return False
    return "/" not in client_id or client_id == identity.username


def common_name_fault(common_name: str, tenant: str) -> str | None:
    """Why a certificate of this name cannot stand for a device of a tenant; None when it can.

    One authority may sign for several tenants, so a name says whose it is.
    """
    prefix = f"{tenant}/"
    if not common_name.startswith(prefix) or not DEVICE_NAME.fullmatch(
        common_name.removeprefix(prefix)
    ):
        return f"give {prefix} and 1..128 of A-Z a-z 0-9 . _ : @ -"
    return None


def username_of(tenant: str, device: str, taken: Collection[str]) -> str:
    """The user name of a new credential: `tenant/device`, else with `~2`, `~3`, ... behind it.

    A colon ends the name in Mosquitto's password file, so it becomes a slash. Neither that nor a
    `~` is in any device's name, so a user name belongs to one device.
    """
    base = f"{tenant}/{device.replace(':', '/')}"
    names = (base if n == 1 else f"{base}~{n}" for n in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)
