"""Push payloads are encrypted as RFC 8291 says, and an implementation that is not ours can read them."""

from __future__ import annotations

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cartstream.senders.push.encryption import OVERHEAD, browser, encrypt, sealed
from cartstream.senders.push.vapid import public_point, unb64


def _key(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(unb64(text), "big"), ec.SECP256R1())


def test_the_example_of_rfc_8291_comes_out_byte_for_byte() -> None:
    point = unb64("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4")

    made = sealed(
        b"When I grow up, I want to be a watermelon",
        browser(point, unb64("BTBZMqHH6r4Tts7J_aSIgg")),
        _key("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
        unb64("DGv6ra1nlYgDCS1FRnbzlw"),
    )

    assert made == unb64(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_another_implementation_reads_what_is_encrypted_and_no_two_are_the_same() -> None:
    private, auth = ec.generate_private_key(ec.SECP256R1()), b"0123456789abcdef"
    reader = browser(public_point(private.public_key()), auth)

    first, second = (encrypt(b'{"title":"hi"}', reader) for _ in range(2))

    assert first[:16] != second[:16], "the same salt"
    assert first[21:86] != second[21:86], "the same key"
    for made in (first, second):
        assert len(made) == len(b'{"title":"hi"}') + OVERHEAD
        opened: bytes = http_ece.decrypt(made, private_key=private, auth_secret=auth, version="aes128gcm")  # type: ignore[no-untyped-call]
        assert opened == b'{"title":"hi"}'


@pytest.mark.parametrize("point", [b"\x04" + b"\x01" * 64, b"", b"\x04" * 65])
def test_a_point_that_is_none_is_refused(point: bytes) -> None:
    with pytest.raises(ValueError):
        browser(point, b"0123456789abcdef")
