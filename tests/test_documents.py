"""What the documents say is so: tests, files, make targets and commands that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click import Context
from click.testing import CliRunner

from cartstream.cli import cli
from tests.drills.registry import DRILLS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def defined_tests() -> set[str]:
    return {name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}


def test_every_test_that_the_guarantees_name_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "guarantees.md").read_text()))
    assert named
    assert named - defined_tests() == set()


def test_every_drill_is_in_the_guarantees_and_explained_and_there_is_no_other() -> None:
    guarantees, drills = ((ROOT / "docs" / name).read_text() for name in ("guarantees.md", "drills.md"))
    assert set(re.findall(r"drill `([\w-]+)`", guarantees)) == set(DRILLS)
    explained = {name for row in re.findall(r"^\| (`[^|]*)\|", drills, re.MULTILINE) for name in re.findall(r"`([\w-]+)`", row)}
    assert set(DRILLS) - explained == set()


def test_every_promise_names_its_proof() -> None:
    rows = re.findall(r"^\|(.*)\|$", (ROOT / "docs" / "guarantees.md").read_text(), re.MULTILINE)
    promises = [row for row in rows if not row.startswith("---") and "proved by" not in row]
    assert len(promises) > 40
    assert [row for row in promises if not re.search(r"`test_\w+`|drill `[\w-]+`", row.rpartition("|")[2])] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", document.read_text()))
    assert named - targets == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_exists(document: Path) -> None:
    named = set(re.findall(r"(?:`|\$ )cartstream ([a-z]+(?: [a-z][a-z-]*)?)", document.read_text()))
    unknown = [command for command in named if not _known(command.split())]
    assert unknown == []


def _known(words: list[str]) -> bool:
    command = cli.get_command(Context(cli), words[0])
    if command is None:
        return False
    return len(words) == 1 or not hasattr(command, "commands") or words[1] in command.commands


def test_the_command_line_answers() -> None:
    answer = CliRunner().invoke(cli, ["--help"])
    assert answer.exit_code == 0
    assert all(name in answer.output for name in ("run", "up", "demo", "replay", "fakes", "settings", "keys", "topics"))
