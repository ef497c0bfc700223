"""Devices' passwords, and what Mosquitto reads of them."""

import subprocess
from pathlib import Path

import pytest

from tests.services import mosquitto_path
from tracking.broker_access import Foreign, Identity
from tracking.device_secrets import NO_LINE, is_password, new_password, password_line
from tracking.mosquitto import Service, mosquitto_files
from tracking.store.device_credentials import BrokerUser


def test_a_password_is_known_by_its_line_and_by_no_other() -> None:
    password = new_password()
    line = password_line(password)
    assert len(password) == 43
    assert password not in line
    assert is_password(password, line)
    assert not is_password(new_password(), line)
    assert not is_password("", line)
    assert not is_password(password, password_line(password + "x"))
    assert password_line(password) != line
    assert not is_password("", NO_LINE)


@pytest.mark.parametrize(
    "line", ["", "$", "$7$", "$7$x$y$z", "$6$1$AAAA$AAAA", "$7$0$AAAA$AAAA", "$7$1$AAAA$===="]
)
def test_a_damaged_line_lets_nobody_in(line: str) -> None:
    assert not is_password("anything", line)


def test_a_line_of_mosquittos_own_program_is_read(tmp_path: Path) -> None:
    mosquitto_path()
    file = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(file), "van", "pass word:1"],
        check=True,
        capture_output=True,
    )
    line = file.read_text().strip().partition(":")[2]
    assert is_password("pass word:1", line)
    assert not is_password("pass word:2", line)


def user(device: str, username: str, kind: str = "password") -> BrokerUser:
    return BrokerUser(
        "password" if kind == "password" else "certificate",
        Identity("acme", device, username),
        "$7$1$a$b" if kind == "password" else None,
        1,
    )


def test_most_devices_take_one_line_and_those_that_differ_are_spelled_out() -> None:
    users = [user(f"van-{n}", f"acme/van-{n}") for n in range(3)]
    plain = mosquitto_files(users, Foreign(), None)
    assert plain.passwords.splitlines() == [f"acme/van-{n}:$7$1$a$b" for n in range(3)]
    assert "user" not in plain.acl.partition("\n")[2]
    assert "pattern write wm/%u/pos\n" in plain.acl
    assert "pattern read wm/%u/cmd\n" in plain.acl
    assert plain.service_passwords == ""
    second = mosquitto_files([user("van-1", "acme/van-1~2")], Foreign(), None).acl.splitlines()
    assert second.index("topic write wm/acme/van-1/pos") > second.index("user acme/van-1~2")
    assert "topic deny wm/acme/van-1~2/pos" in second


def test_certificates_have_an_acl_without_patterns() -> None:
    files = mosquitto_files([user("van", "acme/box", "certificate")], Foreign(), None)
    assert files.passwords == ""
    assert "acme/box" not in files.acl
    assert "pattern" not in files.acl_certificates
    assert "user acme/box\ntopic write wm/acme/van/pos\n" in files.acl_certificates


def test_waymark_itself_reads_everything_there_is_to_read() -> None:
    files = mosquitto_files([], Foreign(), Service("waymark", "secret", ("owntracks/#",)))
    name, _, line = files.service_passwords.strip().partition(":")
    assert name == "waymark"
    assert is_password("secret", line)
    assert "topic readwrite wm/#\ntopic readwrite owntracks/#\n" in files.service_acl
