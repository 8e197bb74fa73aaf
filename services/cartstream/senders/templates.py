"""Templates: Jinja in an immutable sandbox, compiled once, filled for each message.

`<channel>/<name>.<locale>.<kind>` goes before `<name>.<language>.<kind>` and `<name>.<kind>`; a folder given in the settings goes
before the built-in ones. `.html` is escaped; `.txt` is not, and its first line is the subject or title.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined, Template, TemplateError, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cartstream.errors import Refused
from cartstream.events.records import Item
from cartstream.senders.channel import Letter
from cartstream.senders.settings import SenderSettings

_BUILT_IN = Path(__file__).parent / "templates"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
_ITEMS = 10
_ITEM_FIELDS = frozenset(Item.__struct_fields__)
_PLAIN_ID = re.compile(r"[A-Za-z0-9._~-]*\Z")


class _Sandbox(ImmutableSandboxedEnvironment):
    """The fields of a cart's item, which are plain frozen values, need none of the sandbox's questions (3 µs each)."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is Item and attribute in _ITEM_FIELDS:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)


class Templates:
    """The templates of one channel."""

    def __init__(self, channel: str, settings: SenderSettings) -> None:
        folders = [Path(settings.templates)] if settings.templates else []
        self._environment = _Sandbox(
            loader=ChoiceLoader([FileSystemLoader(folder / channel) for folder in (*folders, _BUILT_IN)]),
            autoescape=lambda name: name is not None and name.endswith(".html"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=400,
            auto_reload=False,
        )
        self._environment.filters["money"] = money
        self._environment.filters["product_url"] = self.product_url
        self._before_id, _, self._behind_id = (settings.shop_url + settings.product_path).partition("{id}")
        self._constant = {
            "shop_name": settings.shop_name,
            "shop_url": settings.shop_url,
            "cart_url": settings.shop_url + settings.cart_path,
        }
        self._found: dict[tuple[str, str | None, str], Template] = {}

    def fill(self, letter: Letter, kind: str, **more: Any) -> str:
        """Raises Refused (`no_template`, `bad_template`)."""
        command = letter.command
        try:
            return self._template(command.template, letter.locale, kind).render(self._context(letter), **more)
        except TemplateNotFound as error:
            raise Refused("no_template", f"template {command.template!r} of {command.channel}: add {error.name}") from error
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise Refused("bad_template", f"template {command.template!r} of {command.channel}: {type(error).__name__}: {error}") from error

    def _context(self, letter: Letter) -> dict[str, Any]:
        cart, product = letter.command.cart, letter.command.product
        return self._constant | {
            "items": cart.items[:_ITEMS] if cart else [],
            "more_items": max(0, len(cart.items) - _ITEMS) if cart else 0,
            "value": cart.value if cart else None,
            "currency": cart.currency if cart else None,
            "viewed": letter.command.viewed[-3:][::-1],
            "offer": letter.command.offer,
            "product": product,
            "product_name": (product.name or product.product_id) if product else None,
        }

    def product_url(self, product_id: str) -> str:
        """The product's page in the shop."""
        if not _PLAIN_ID.match(product_id):
            product_id = re.sub(r"[^A-Za-z0-9._~-]", lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode()), product_id)
        return self._before_id + product_id + self._behind_id

    def _template(self, name: str, locale: str | None, kind: str) -> Template:
        found = self._found.get((name, locale, kind))
        if found is None:
            found = self._environment.select_template(_candidates(name, locale, kind))
            found.globals = dict(found.globals)  # a ChainMap, copied for each message, is a third of filling a short template
            if len(self._found) < 10_000:
                self._found[name, locale, kind] = found
        return found


def _candidates(name: str, locale: str | None, kind: str) -> list[str]:
    if not _NAME.match(name):
        raise Refused("no_template", "a template's name is letters, digits, - and _ only")
    tag = (locale or "").replace("_", "-")
    tags = dict.fromkeys([tag, tag.partition("-")[0]]) if _NAME.match(tag) else {}
    return [f"{name}.{tag}.{kind}" for tag in tags] + [f"{name}.{kind}"]


def one_line(text: str) -> str:
    """Without any control character or line end: safe in a header, a title, a log."""
    return (text if text.isprintable() else _CONTROL.sub(" ", text)).strip()


def split_title(text: str) -> tuple[str, str]:
    """The first line and the rest."""
    title, _, body = text.partition("\n")
    return one_line(title), body.strip("\n") + "\n"


def money(amount: float, currency: str | None) -> str:
    sign = _SIGNS.get(currency or "")
    return f"{sign}{amount:,.2f}" if sign else f"{amount:,.2f} {currency or ''}".strip()
