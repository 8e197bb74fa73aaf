"""Templates: every built-in one fills, and nothing in a command or a contact breaks out of its place."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cartstream.senders
from cartstream.errors import ConfigError, Refused
from cartstream.events.records import Cart, Item, ProductChange
from cartstream.journeys import load_journeys
from cartstream.runtime.settings import load
from cartstream.senders.channel import Letter
from cartstream.senders.email.mime import MailWriter
from cartstream.senders.settings import EmailSettings, SenderSettings
from cartstream.senders.sms.segments import segments
from cartstream.senders.templates import Templates, money, one_line, split_title
from tests.senders.stage import HASH_KEY, command

TEMPLATES = Path(cartstream.senders.__file__).parent / "templates"
NAMES = [
    "exit_intent",
    "cart_reminder",
    "cart_offer",
    "checkout_reminder",
    "checkout_offer",
    "browse_reminder",
    "price_drop",
    "back_in_stock",
]

TEAPOT = ProductChange("p1", 8.0, 10.0, "EUR", "Teapot")


def _letter(channel: str = "email", address: str = "ada@example.test", locale: str | None = None, **changes: Any) -> Letter:
    return Letter(command(channel, **changes), "ada", address, locale, 3_600)


def _cart(name: str) -> Cart:
    return Cart(version=7, items=[Item("p1", 1, 9.0, name)], value=9.0, currency="EUR")


def _writer(**changes: object) -> MailWriter:
    return MailWriter(load(EmailSettings, hash_key=HASH_KEY, unsubscribe_url="https://shop.example.test/u/", **changes))


def _parsed(writer: MailWriter, letter: Letter) -> EmailMessage:
    return email.message_from_bytes(writer.write(letter).content, policy=email.policy.default)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bare", [True, False])
def test_every_template_fills_with_and_without_a_cart(name: str, bare: bool) -> None:
    changes = {"template": name} | ({"cart": None} if bare else {"offer": "SAVE10", "viewed": ["p1", "p/2"], "product": TEAPOT})
    settings = load(SenderSettings)

    mail = _parsed(_writer(), _letter(**changes))
    sms = Templates("sms", settings).fill(_letter("sms", **changes), "txt")
    title, body = split_title(Templates("push", settings).fill(_letter("push", **changes), "txt"))

    assert mail["Subject"]
    assert "STOP" in sms
    assert segments(sms.strip()) == 1
    assert title
    assert body.strip()


def test_the_package_has_all_its_templates_on_all_channels() -> None:
    for channel, kinds in (("email", ("txt", "html")), ("sms", ("txt",)), ("push", ("txt",))):
        for kind in kinds:
            found = {path.stem for path in (TEMPLATES / channel).glob(f"*.{kind}")} - {"_layout"}
            assert found == set(NAMES), (channel, kind)


def test_the_default_journeys_name_only_templates_of_the_package() -> None:
    named = {step.template for journey in load_journeys().journeys for step in journey.steps}

    assert named <= set(NAMES)


@pytest.mark.parametrize("currency", ["EUR", "SEK", None])
def test_a_price_drop_says_the_product_and_both_prices_and_not_the_cart(currency: str | None) -> None:
    product = ProductChange("p/1", 8.0, 10.0, currency, "Teapot & lid")
    letter: dict[str, Any] = {"template": "price_drop", "product": product, "cart": _cart("Old name")}
    prices = (money(8.0, currency), money(10.0, currency))

    mail = _parsed(_writer(), _letter(**letter))
    parts = [part.get_content() for part in mail.iter_parts() if isinstance(part, EmailMessage)]
    sms = Templates("sms", load(SenderSettings)).fill(_letter("sms", **letter), "txt")
    title, body = split_title(Templates("push", load(SenderSettings)).fill(_letter("push", **letter), "txt"))

    assert (mail["Subject"], title) == ("Teapot & lid costs less now", "Teapot & lid")
    for text in (*parts, sms, body):
        assert all(price in text for price in prices), text
        assert "Old name" not in text
    assert all("p%2F1" in text for text in (*parts, sms))
    assert "Teapot &amp; lid" in parts[1]


def test_a_product_without_a_name_is_called_by_its_id_and_a_price_nobody_knows_is_not_told() -> None:
    letter: dict[str, Any] = {"template": "back_in_stock", "product": ProductChange("p1"), "cart": None}

    mail = _parsed(_writer(), _letter(**letter))
    body = mail.get_body(("plain",))

    assert body is not None
    assert mail["Subject"] == "p1 is back"
    assert "None" not in body.get_content()


def test_a_long_name_leaves_an_sms_in_one_segment() -> None:
    product = ProductChange("p1", 1_299.0, 1_499.0, "EUR", "A very long name of a product that somebody wrote for search engines" * 3)

    sms = Templates("sms", load(SenderSettings)).fill(_letter("sms", template="price_drop", product=product), "txt")

    assert segments(sms.strip()) == 1


@settings(deadline=None)  # the first example compiles the templates
@given(st.text(max_size=60))
def test_a_products_name_cannot_break_out_of_the_html(name: str) -> None:
    hostile = name + "<script>alert(1)</script>\"'><img src=x>"

    product = ProductChange("p1", 8.0, 10.0, "EUR", hostile)
    for letter in (_letter(cart=_cart(hostile)), _letter(template="price_drop", product=product)):
        html = _parsed(_writer(), letter).get_body(("html",))
        assert html is not None
        assert "<script" not in html.get_content()
        assert "<img" not in html.get_content()


@settings(deadline=None)  # the first example compiles the templates
@given(st.text(max_size=60))
def test_nothing_in_a_command_adds_a_header(text: str) -> None:
    hostile = f"x\r\nBcc: all@example.test\n\n{text}\u2028\x0b"
    letter = _letter(journey=hostile, step=hostile, command_id=hostile, cart=_cart(hostile))

    mail = _parsed(_writer(shop_name=one_line(hostile)), letter)

    assert mail["Bcc"] is None
    assert mail["To"] == "ada@example.test"
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.test\r\nBcc: bob@example.test",
        "ada@example.test, bob@example.test",
        "",
        "ada",
        "a b@example.test",
        "@x.test",
        "<ada@example.test>",
    ],
)
def test_an_address_that_is_not_one_is_refused_and_not_named(address: str) -> None:
    with pytest.raises(Refused, match="bad_address") as refused:
        _writer().write(_letter(address=address))
    assert "example" not in str(refused.value)


def test_an_international_domain_is_punycoded() -> None:
    assert _writer().write(_letter(address="ada@bücher.example")).recipient == "ada@xn--bcher-kva.example"


def test_the_same_command_gives_the_same_message_id_and_another_a_different_one() -> None:
    writer = _writer()
    assert _parsed(writer, _letter())["Message-ID"] == _parsed(writer, _letter())["Message-ID"]
    assert _parsed(writer, _letter())["Message-ID"] != _parsed(writer, _letter(n=2))["Message-ID"]


def test_a_folder_of_ones_own_goes_before_the_built_in_and_locales_before_the_plain(tmp_path: Path) -> None:
    folder = tmp_path / "sms"
    folder.mkdir()
    (folder / "cart_reminder.txt").write_text("plain")
    (folder / "cart_reminder.de.txt").write_text("deutsch")
    (folder / "cart_reminder.de-AT.txt").write_text("österreichisch")
    templates = Templates("sms", load(SenderSettings, templates=str(tmp_path)))

    said = [templates.fill(_letter("sms", locale=locale), "txt") for locale in (None, "fr", "de-CH", "de_AT", "../../x")]

    assert said == ["plain", "plain", "deutsch", "österreichisch", "plain"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ nobody }}", "bad_template"),
        ("{{ items.append(1) }}", "bad_template"),
        ("{{ ''.__class__.__mro__ }}", "bad_template"),
        ("{{ 1 / 0 }}", "bad_template"),
        ("{% if %}", "bad_template"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(tmp_path: Path, source: str, reason: str) -> None:
    (tmp_path / "sms").mkdir()
    (tmp_path / "sms" / "cart_reminder.txt").write_text(source)

    with pytest.raises(Refused, match=reason):
        Templates("sms", load(SenderSettings, templates=str(tmp_path))).fill(_letter("sms"), "txt")


@pytest.mark.parametrize("name", ["../email/_layout", "nothing", "", "a/b", "x" * 65])
def test_a_template_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="no_template"):
        Templates("sms", load(SenderSettings)).fill(_letter("sms", template=name), "txt")


@pytest.mark.parametrize("sender", ["", "nobody", "shop@example.test\r\nBcc: x@y.test"])
def test_a_sender_that_is_no_address_stops_the_start(sender: str) -> None:
    with pytest.raises(ConfigError, match="CARTSTREAM_EMAIL_FROM"):
        _writer(email_from=sender)


def test_money_is_written_as_people_read_it() -> None:
    assert (money(1234.5, "EUR"), money(3, "SEK"), money(3, None)) == ("€1,234.50", "3.00 SEK", "3.00")
