"""VAPID tokens: signed, for one origin, used for hours."""

from __future__ import annotations

import time

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from cartstream.errors import ConfigError
from cartstream.senders.push.vapid import Vapid, generate, unb64


def test_a_token_is_signed_for_its_origin_by_the_key_it_names() -> None:
    private, public = generate()

    header = Vapid(private, "mailto:push@example.test", lambda: 1_000.0).header("https://push.example")

    token, _, key = header.removeprefix("vapid t=").partition(", k=")
    head, claims, signature = token.split(".")
    raw = unb64(signature)
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unb64(key))
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    point.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(SHA256()))
    assert key == public
    assert orjson.loads(unb64(head)) == {"typ": "JWT", "alg": "ES256"}
    assert orjson.loads(unb64(claims)) == {"aud": "https://push.example", "exp": 1_000 + 43_200, "sub": "mailto:push@example.test"}


def test_a_token_is_kept_for_its_origin_and_renewed_before_it_ends() -> None:
    now = [time.time()]
    vapid = Vapid(generate()[0], "https://shop.example", lambda: now[0])

    first, other = vapid.header("https://a.example"), vapid.header("https://b.example")
    assert vapid.header("https://a.example") == first != other
    now[0] += 43_200 - 1_801
    assert vapid.header("https://a.example") == first
    now[0] += 2
    assert vapid.header("https://a.example") != first


@pytest.mark.parametrize(
    ("key", "subject", "names"),
    [
        ("", "mailto:a@b.example", "CARTSTREAM_VAPID_PRIVATE_KEY"),
        ("****", "mailto:a@b.example", "CARTSTREAM_VAPID_PRIVATE_KEY"),
        ("A" * 43, "mailto:a@b.example", "CARTSTREAM_VAPID_PRIVATE_KEY"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE", "somebody", "CARTSTREAM_VAPID_SUBJECT"),
    ],
)
def test_wrong_keys_and_subjects_are_named(key: str, subject: str, names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        Vapid(key, subject)
