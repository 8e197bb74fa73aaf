"""Tables of cases that stand in a test and, word for word, in a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BEGIN, END = "<!-- cases -->\n", "<!-- /cases -->\n"


class Told(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def outcome(self) -> str: ...

    @property
    def why(self) -> str: ...


@dataclass(frozen=True, slots=True)
class CaseTables:
    """Cases by title. `document` has them between two marks."""

    document: Path
    tables: Mapping[str, Sequence[Told]]

    def rendered(self) -> str:
        lines: list[str] = []
        for title, cases in self.tables.items():
            lines += [f"### {title}", "", "| case | outcome | why |", "|---|---|---|"]
            lines += [f"| {case.name} | {case.outcome} | {case.why} |" for case in cases]
            lines.append("")
        return "\n".join(lines)

    def documented(self) -> str:
        return self.document.read_text().partition(BEGIN)[2].partition(END)[0]

    def write(self) -> None:
        text = self.document.read_text()
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        self.document.write_text(f"{before}{BEGIN}{self.rendered()}{END}{after}")
