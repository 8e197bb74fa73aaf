"""`cartstream settings`: every setting of every service, with its default, its reason, and where its value comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from rich.table import Table

from cartstream.runtime.settings import Settings


def rows(service: str, kind: type[Settings]) -> Iterable[tuple[str, str, str, str]]:
    """(variable, value in force, `default` or `set`, what it is)."""
    for name, field in kind.model_fields.items():
        variable = f"CARTSTREAM_{name.upper()}"
        given = os.environ.get(variable) or (f"(file {path})" if (path := os.environ.get(f"{variable}_FILE")) else None)
        default = field.get_default(call_default_factory=True)
        secret = isinstance(default, SecretStr) or field.annotation is SecretStr
        value = _hidden(given, default) if secret else given if given is not None else _shown(default)
        yield variable, value, "set" if given is not None else "default", field.description or ""


def table(service: str, kind: type[Settings], known: set[str]) -> Table:
    """The settings of `kind` that are not in `known` yet; adds them."""
    drawn = Table("variable", "value", "from", "what it is", title=service, title_justify="left")
    for variable, value, origin, text in rows(service, kind):
        if variable not in known:
            known.add(variable)
            drawn.add_row(variable, value, origin, text)
    return drawn


def _hidden(given: str | None, default: Any) -> str:
    if given is None:
        default = default.get_secret_value() if isinstance(default, SecretStr) else default
        return "(empty)" if not default else "(hidden)"
    return given if given.startswith("(file ") else "(hidden)"


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "(required)"
    return default if isinstance(default, str) else json.dumps(default)
