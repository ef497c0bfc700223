"""Whom a broker is told of, and what it costs."""

from api.broker_door import BrokerDoor, Client
from tracking.access import Principal
from tracking.broker_access import Foreign, Identity
from tracking.device_secrets import password_line
from tracking.store.device_credentials import BrokerUser, Kind

OF_ACME = Principal(1, "acme", "service", 7)
VAN = Client("acme/van", "secret", "acme/van")


class Register:
    """One device of tenant 1, and how often it was asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self._line = password_line("secret")

    async def look_up(self, kind: Kind, username: str) -> BrokerUser | None:
        self.asked += 1
        if (kind, username) != ("password", "acme/van"):
            return None
        return BrokerUser(kind, Identity("acme", "van", username), self._line, 1)


def door(register: Register) -> BrokerDoor:
    return BrokerDoor(register.look_up, Foreign(), "operations")


async def test_a_message_costs_no_query() -> None:
    register = Register()
    asking = door(register)
    assert await asking.admits(OF_ACME, VAN) == "allow"
    for _ in range(100):
        assert await asking.lets(OF_ACME, VAN, "publish", "wm/acme/van/pos") == "allow"
        assert await asking.lets(OF_ACME, VAN, "publish", "wm/acme/box/pos") == "deny"
    assert register.asked == 1


async def test_unknown_names_are_remembered_too() -> None:
    register = Register()
    asking = door(register)
    for _ in range(10):
        assert await asking.admits(OF_ACME, Client("acme/box", "guess")) == "deny"
        assert await asking.admits(OF_ACME, Client("dashboard", "guess")) == "ignore"
    assert register.asked == 2


async def test_only_an_operators_key_made_for_it_asks_about_every_tenant() -> None:
    asking = door(Register())
    operator = Principal(9, "operations", "service", 3, scopes=frozenset({"broker:read"}))
    assert await asking.admits(operator, VAN) == "allow"
    for other in (
        operator._replace(scopes=None),
        operator._replace(scopes=frozenset({"*:read"})),
        operator._replace(tenant="another", tenant_id=10),
    ):
        assert await asking.admits(other, VAN) == "deny"
        assert await asking.lets(other, VAN, "publish", "wm/acme/van/pos") == "deny"
