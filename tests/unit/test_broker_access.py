"""What a device may do at the broker, whatever it asks for."""

from hypothesis import given
from hypothesis import strategies as st

from tracking.broker_access import (
    DEVICE_NAME,
    TENANT_NAME,
    UPLINK,
    Access,
    Foreign,
    Identity,
    common_name_fault,
    may,
    may_connect,
    username_of,
)

NOWHERE = Foreign()
OWNTRACKS = Foreign.of(["owntracks/#"], "acme")
VAN = Identity("acme", "van-7", "acme/van-7")

tenants = st.from_regex(TENANT_NAME, fullmatch=True)
devices = st.from_regex(DEVICE_NAME, fullmatch=True)
# Levels as devices, mistakes and attackers write them.
odd = ["#", "+", "$share", "$SYS", "g", "", " ", "\0", "..", "wm ", "WM", "%u"]
alike = ["\uff41cme", "acme\u200b", "van-7\u0301", "van\u20107"]
known = ["wm", "acme", "van-7", "van-8", "cmd", *UPLINK]
levels = st.one_of(
    st.sampled_from(known), st.sampled_from(odd + alike), tenants, devices, st.text(max_size=5)
)
topics = st.lists(levels, max_size=7).map("/".join)
accesses = st.sampled_from(["publish", "subscribe", "receive"])


@given(topics, accesses)
def test_a_device_reaches_its_own_topics_and_no_other_string(topic: str, access: Access) -> None:
    channels = UPLINK if access == "publish" else ("cmd",)
    own = {f"wm/acme/van-7/{channel}" for channel in channels}
    assert may(VAN, access, topic, NOWHERE) == (topic in own)


@given(tenants, devices, tenants, devices, accesses)
def test_what_one_device_may_no_other_may(
    tenant: str, device: str, other_tenant: str, other: str, access: Access
) -> None:
    foreign = Foreign.of(["owntracks/+/+", "wm2/#"], tenant)
    one = Identity(tenant, device, username_of(tenant, device, ()))
    two = Identity(other_tenant, other, username_of(other_tenant, other, ()))
    roots = [f"wm/{tenant}/{device}", f"owntracks/{device.replace(':', '/', 1)}"]
    reached = [
        topic
        for root in roots
        for topic in (root, *(f"{root}/{channel}" for channel in (*UPLINK, "cmd", "event")))
        if may(one, access, topic, foreign)
    ]
    assert reached
    if (tenant, device) != (other_tenant, other):
        assert not any(may(two, access, topic, foreign) for topic in reached)
        assert one.username != two.username


@given(st.lists(st.sampled_from([*"+#", "$share/g/", "/", "*"]), min_size=1), accesses)
def test_no_wildcard_is_ever_granted(marks: list[str], access: Access) -> None:
    for place in range(5):
        parts = ["wm", "acme", "van-7", "cmd"]
        parts.insert(place, "".join(marks))
        assert not may(VAN, access, "/".join(parts), OWNTRACKS)


def test_an_owntracks_device_has_its_apps_topics_in_its_tenant_alone() -> None:
    phone = Identity("acme", "jane:phone", "acme/jane/phone")
    assert may(phone, "publish", "owntracks/jane/phone", OWNTRACKS)
    assert may(phone, "publish", "owntracks/jane/phone/event", OWNTRACKS)
    assert may(phone, "subscribe", "owntracks/jane/phone/cmd", OWNTRACKS)
    assert not may(phone, "publish", "owntracks/jane/phone/cmd", OWNTRACKS)
    assert not may(phone, "subscribe", "owntracks/jane/phone", OWNTRACKS)
    assert not may(phone, "publish", "owntracks/jane/tablet", OWNTRACKS)
    elsewhere = phone._replace(tenant="other")
    assert not may(elsewhere, "publish", "owntracks/jane/phone", OWNTRACKS)


def test_formats_that_name_no_devices_grant_nothing() -> None:
    assert Foreign.of(["#", "+/+", "a/+/b/#", "x/y/#", "x/y/+/+"], "t").roots == ("x/y",)


@given(st.text(max_size=20))
def test_nobody_connects_as_a_worker_or_as_another_device(client_id: str) -> None:
    assert not may_connect(VAN, f"waymark{client_id}")
    assert may_connect(VAN, client_id) or "/" in client_id or client_id.startswith("waymark")
    assert may_connect(VAN, "acme/van-7")
    assert not may_connect(VAN, "acme/van-8")


@given(tenants, devices, st.integers(0, 5))
def test_user_names_fit_mosquittos_files_and_tell_devices_apart(
    tenant: str, device: str, n: int
) -> None:
    taken: list[str] = []
    for _ in range(n + 1):
        taken.append(username_of(tenant, device, taken))
    assert len(set(taken)) == n + 1
    assert not set("".join(taken)) & set(":+# \n")
    assert taken[0].startswith(f"{tenant}/")


@given(tenants, st.text(max_size=10))
def test_a_certificate_says_whose_it_is(tenant: str, rest: str) -> None:
    assert (common_name_fault(f"{tenant}/{rest}", tenant) is None) == bool(
        DEVICE_NAME.fullmatch(rest)
    )
    assert common_name_fault(rest, tenant) is not None or rest.startswith(f"{tenant}/")
    assert common_name_fault(f"x{tenant}/d", tenant) is not None
