"""What must be read again but not lie open in the database: sealed under `WAYMARK_SECRET_KEY`."""

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


class Seal:
    """Closes and opens secrets; each purpose has a key of its own, derived from one secret.

    A purpose that names its row (`totp:42`) keeps what is sealed from being moved to another.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def close(self, purpose: str, plain: bytes) -> bytes:
        """Seal; the same bytes look different each time."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._key(purpose)).encrypt(nonce, plain, None)

    def open(self, purpose: str, sealed: bytes) -> bytes | None:
        """What was sealed for this purpose, None if it was not, or under another secret."""
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self._key(purpose)).decrypt(nonce, rest, None)
        except (InvalidTag, ValueError):
            return None

    def derive(self, purpose: str, data: bytes) -> bytes:
        """32 bytes that always follow from `data`, and that nobody finds without the secret."""
        return hmac.digest(self._key(purpose), data, hashlib.sha256)

    def _key(self, purpose: str) -> bytes:
        return HKDF(SHA256(), 32, None, b"waymark:" + purpose.encode()).derive(self._secret)
