"""Envelopes: round trips, rotation, and every way to tamper with one."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.security.encryption import OVERHEAD_BYTES, DecryptionFailed, Encryption
from settings import load_settings

OLD, NEW, OTHER = (bytes([number]) * 32 for number in (1, 2, 3))
OWNER = "social_media_accounts:4f0c:access_token"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_what_goes_in_comes_out(text, identity):
    encryption = Encryption(NEW)
    envelope = encryption.encrypt(text, identity)
    assert encryption.decrypt(envelope, identity) == text
    assert len(envelope) == OVERHEAD_BYTES + len(text.encode())


def test_envelopes_of_one_text_all_differ():
    encryption = Encryption(NEW)
    envelopes = [encryption.encrypt("act.secret", OWNER) for _ in range(200)]
    assert len({envelope[9:21] for envelope in envelopes}) == 200  # the nonces
    assert not any(b"secret" in envelope for envelope in envelopes)


def test_any_changed_bit_is_noticed():
    encryption = Encryption(NEW)
    envelope = encryption.encrypt("act.secret", OWNER)
    for position in range(len(envelope) * 8):
        damaged = bytearray(envelope)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(DecryptionFailed):
            encryption.decrypt(bytes(damaged), OWNER)


def test_any_missing_or_added_byte_is_noticed():
    encryption = Encryption(NEW)
    envelope = encryption.encrypt("act.secret", OWNER)
    for damaged in [envelope[:length] for length in range(len(envelope))] + [envelope + b"\x00"]:
        with pytest.raises(DecryptionFailed):
            encryption.decrypt(damaged, OWNER)


@pytest.mark.parametrize(
    "identity", ["social_media_accounts:4f0d:access_token", "social_media_accounts:4f0c:refresh_token", OWNER + " "]
)
def test_an_envelope_opens_for_its_owner_alone(identity):
    encryption = Encryption(NEW)
    with pytest.raises(DecryptionFailed):
        encryption.decrypt(encryption.encrypt("act.secret", OWNER), identity)


def test_no_envelope_without_an_owner():
    encryption = Encryption(NEW)
    with pytest.raises(ValueError, match="identity"):
        encryption.encrypt("act.secret", "")


def test_old_and_new_keys_are_active_together():
    before, after = Encryption(OLD), Encryption(NEW, [OTHER, OLD])
    envelope = before.encrypt("act.secret", OWNER)
    assert after.decrypt(envelope, OWNER) == "act.secret"
    assert after.needs_rotation(envelope)
    rotated = after.encrypt(after.decrypt(envelope, OWNER), OWNER)
    assert not after.needs_rotation(rotated)
    assert Encryption(NEW).decrypt(rotated, OWNER) == "act.secret"
    with pytest.raises(DecryptionFailed, match="not configured"):
        before.decrypt(rotated, OWNER)


def test_the_current_key_may_also_stand_among_the_old_ones():
    encryption = Encryption(NEW, [NEW, OLD])
    assert not encryption.needs_rotation(encryption.encrypt("act.secret", OWNER))


def test_a_key_moved_into_another_envelopes_header_does_not_open_it():
    encryption = Encryption(NEW, [OLD])
    ours, theirs = encryption.encrypt("one", OWNER), Encryption(OLD).encrypt("two", OWNER)
    with pytest.raises(DecryptionFailed):
        encryption.decrypt(theirs[:9] + ours[9:], OWNER)


def test_failures_tell_neither_text_nor_key():
    encryption = Encryption(NEW)
    with pytest.raises(DecryptionFailed) as caught:
        encryption.decrypt(encryption.encrypt("act.secret", OWNER), "somebody else")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("key", [b"", b"short", bytes(31), bytes(33)])
def test_keys_have_32_bytes(key):
    with pytest.raises(ValueError, match="32"):
        Encryption(NEW, [key])


def test_keys_come_from_the_settings(tmp_path):
    old, new = os.urandom(32), os.urandom(32)
    settings = load_settings(
        app_env="test", data_dir=tmp_path, encryption_key=new.hex(), encryption_keys_old=f"{old.hex()},{OTHER.hex()}"
    )
    encryption = Encryption.from_settings(settings)
    assert encryption.decrypt(Encryption(old).encrypt("act.secret", OWNER), OWNER) == "act.secret"
    assert not encryption.needs_rotation(Encryption(new).encrypt("act.secret", OWNER))
