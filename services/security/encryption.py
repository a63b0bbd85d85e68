"""AES-256-GCM envelopes for secrets that are stored and read again: OAuth tokens, queued mails.

Envelope: version (1 byte) · key id (8) · nonce (12) · ciphertext and tag (16 longer than the UTF-8 text).
Version, key id and the owner's identity are authenticated too. So an envelope that is copied to
another row or column cannot be decrypted there.
cryptography takes 7 MB, so it is loaded for the first envelope.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Self

from db.setting_types import decode_encryption_key
from settings import Settings

VERSION = b"\x01"
KEY_BYTES = 32
KEY_ID_BYTES = 8
NONCE_BYTES = 12
TAG_BYTES = 16
HEADER_BYTES = len(VERSION) + KEY_ID_BYTES
OVERHEAD_BYTES = HEADER_BYTES + NONCE_BYTES + TAG_BYTES


class DecryptionFailed(Exception):
    """The envelope is damaged, belongs to another identity, or its key is not configured."""


def key_id(key: bytes) -> bytes:
    """Return a short name of the key that reveals nothing about it."""
    return hashlib.sha256(b"beautiful-encer key id\x00" + key).digest()[:KEY_ID_BYTES]


class UnknownKey(DecryptionFailed):
    """The key is not configured. The value may be valid: another instance, program or the operator may have the key."""


class Encryption:
    """Encrypts with the current key; decrypts with the current and all old keys."""

    def __init__(self, current: bytes, old: Sequence[bytes] = ()) -> None:
        if any(len(key) != KEY_BYTES for key in (current, *old)):
            raise ValueError(f"an encryption key has {KEY_BYTES} bytes")
        self._current_id = key_id(current)
        self._keys = {key_id(key): key for key in (*old, current)}

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        old = [decode_encryption_key(key.get_secret_value()) for key in settings.encryption_keys_old]
        return cls(decode_encryption_key(settings.encryption_key.get_secret_value()), old)

    def encrypt(self, plaintext: str, identity: str) -> bytes:
        """Encrypt. `identity` names the place of the value: table, row id and column."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        header = VERSION + self._current_id
        nonce = os.urandom(NONCE_BYTES)
        cipher = AESGCM(self._keys[self._current_id])
        sealed = cipher.encrypt(nonce, plaintext.encode(), bound_data(header, identity))
        return header + nonce + sealed

    def decrypt(self, envelope: bytes, identity: str) -> str:
        """Decrypt. Raises DecryptionFailed, whose text reveals nothing of the contents."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        envelope = bytes(envelope)
        if len(envelope) < OVERHEAD_BYTES or not envelope.startswith(VERSION):
            raise DecryptionFailed("not an envelope")
        header, rest = envelope[:HEADER_BYTES], envelope[HEADER_BYTES:]
        key = self._keys.get(header[len(VERSION) :])
        if key is None:
            raise UnknownKey("encrypted with a key that is not configured")
        try:
            plaintext = AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], bound_data(header, identity))
        except InvalidTag:
            raise DecryptionFailed("damaged, or bound to another identity") from None
        return plaintext.decode()

    def needs_rotation(self, envelope: bytes) -> bool:
        """Return whether it was encrypted with another key than the current one."""
        return bytes(envelope[:HEADER_BYTES]) != VERSION + self._current_id


def bound_data(header: bytes, identity: str) -> bytes:
    if not identity:
        raise ValueError("an envelope needs an identity to be bound to")
    return header + identity.encode()
