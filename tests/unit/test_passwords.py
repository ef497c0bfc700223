"""Which passwords will do, and how they are kept."""

import pytest

from tracking.errors import InputError
from tracking.passwords import check_password, hash_password, is_outdated, is_password

EMAIL, NAME = "ann.larsen@acme.example", "Ann Larsen"


@pytest.mark.parametrize(
    "password",
    [
        "five quiet herons fly",
        "aaaabbbbccccdddd",
        "só muitas palavras",
        "电池马订书钉正确的电池马订",
        "no digits no signs no capitals",
        "x" * 11 + "y",
        "ann likes herons",
    ],
)
def test_anything_that_is_long_and_not_guessed_first_will_do(password: str) -> None:
    check_password(password, email=EMAIL, name=NAME)


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("five herons", id="eleven characters"),
        pytest.param("x y" * 86, id="too long"),
        pytest.param("Password1234", id="a word and digits"),
        pytest.param("p@55w0rd!!!!!", id="a word in disguise"),
        pytest.param("Qwertyuiop12", id="a row of keys"),
        pytest.param("aaaaaaaaaaaa", id="one key"),
        pytest.param("123412341234", id="four keys"),
        pytest.param("345678901234", id="counting up"),
        pytest.param("987654321098", id="counting down"),
        pytest.param("abcdefghijklmn", id="the alphabet"),
        pytest.param("ANN.LARSEN@acme.example", id="the address"),
        pytest.param("annlarsen2026!", id="the name and a year"),
        pytest.param("acme.example.1", id="the domain"),
        pytest.param("Ann Larsen Ann!", id="the name again"),
        pytest.param("waymark-2026-1", id="this program"),
    ],
)
def test_what_is_guessed_first_is_refused(password: str) -> None:
    with pytest.raises(InputError) as refused:
        check_password(password, email=EMAIL, name=NAME)
    assert refused.value.field == "password"
    assert password not in str(refused.value)


def test_length_is_counted_in_characters_as_they_are_compared() -> None:
    # Eleven and a combining accent are eleven.
    with pytest.raises(InputError, match="at least 12"):
        check_password("five quiete\u0301", email=EMAIL)


def test_a_password_is_known_again_however_its_accents_were_typed() -> None:
    kept = hash_password("cafés fermés tôt")
    assert is_password(kept, "cafe\u0301s ferme\u0301s to\u0302t")
    assert not is_password(kept, "cafes fermes tot")
    assert not is_outdated(kept)
    assert is_outdated(kept.replace("t=2", "t=1"))


def test_each_hash_has_its_own_salt() -> None:
    assert hash_password("five quiet herons") != hash_password("five quiet herons")


def test_nobody_s_password_is_nobody_s() -> None:
    assert not is_password(None, "nobody has this password")
    assert not is_password("not a hash", "five quiet herons")
