"""Passwords: which will do, and how they are kept. Pure; hashing takes 70 ms and 46 MiB."""

import itertools
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tracking.errors import InputError

MIN_LENGTH = 12
MAX_LENGTH = 256

# One lane, so that a hash takes one thread; the sign-ins at a time are the api's to limit.
_hasher = PasswordHasher(time_cost=2, memory_cost=47_104, parallelism=1)
# Nobody's: checked where there is none to check, so that the answer takes as long.
_NOBODY = _hasher.hash("nobody has this password")

# What people type when they must type something: alone, or with digits and signs around it.
_TYPED_FIRST = """
    administrator admin changeme changemenow computer correcthorsebatterystaple default dragon
    football geheim hallo iloveyou letmein letmeinplease logistics login lovely master monkey
    motdepasse password passwordpassword passwort pass passw passwd princess qwerty qwertyuiop
    qwertyuiopasdfghjkl asdfghjkl asdfghjklqwertyuiop qwertz qwertzuiop azertyuiop secret
    secretpassword shadow summer sunshine superman supersecret sesame startrek starwars test
    testtest thisisapassword tracking trustno truck waymark waymarkwaymark welcome welcomewelcome
    winter spring autumn contrasena wachtwoord geheimnis
"""
_COMMON = frozenset(_TYPED_FIRST.split())
_SWAPPED = str.maketrans("01345$@7", "oieassat")


def check_password(password: str, *, email: str, name: str = "") -> None:
    """Refuse what is guessed first (NIST SP 800-63B); no rule says which characters it needs.

    Raises:
        InputError: too short or long, common, a pattern, or made of what is known of the user.
    """
    text = _normal(password)
    if len(text) < MIN_LENGTH:
        raise InputError(f"a password has at least {MIN_LENGTH} characters", field="password")
    if len(text) > MAX_LENGTH:
        raise InputError(f"a password has at most {MAX_LENGTH} characters", field="password")
    local, _, domain = email.partition("@")
    known = {_letters(part) for part in (email, local, domain, name, *name.split())} - {""}
    plain, unswapped = text.casefold(), text.casefold().translate(_SWAPPED)
    words = {_letters(word) for word in plain.split()} - {""}
    if plain == email.casefold() or _letters(plain) in known or (words and words <= known):
        raise InputError(
            "a password must not be made of the e-mail address or the name", field="password"
        )
    if _is_pattern(plain) or _COMMON & {_letters(plain), _letters(unswapped)}:
        raise InputError(
            "this password is among the first that are guessed: take a few words that do not "
            "belong together",
            field="password",
        )


def hash_password(password: str) -> str:
    """What is kept of a password: Argon2id with a salt of its own, in PHC form."""
    return _hasher.hash(_normal(password))


def is_password(kept: str | None, password: str) -> bool:
    """Whether `kept` is what is kept of this password; None takes as long, and is nobody's."""
    try:
        _hasher.verify(kept or _NOBODY, _normal(password))
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def is_outdated(kept: str) -> bool:
    """Whether it was hashed with other parameters than are used now."""
    return _hasher.check_needs_rehash(kept)


def _normal(password: str) -> str:
    # The same keys give the same password on every system.
    return unicodedata.normalize("NFKC", password)


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text.casefold()))


def _is_pattern(text: str) -> bool:
    """Whether it is a short piece over and over, or runs on: aaaa, 12341234, abcdef, 98765."""
    repeats = any((text[:n] * len(text))[: len(text)] == text for n in range(1, 5))
    span = 10 if text.isdecimal() else 0x110000
    steps = {(ord(b) - ord(a)) % span for a, b in itertools.pairwise(text)}
    return repeats or steps in ({1}, {span - 1})
