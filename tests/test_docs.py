"""The documentation holds: its commands run, its links lead somewhere, its reference is that of the code."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from typer.main import get_command

import fedbal
from fedbal.cli import app
from fedbal.results import LOCK, RunReader
from fedbal.scenario import find_scenario, from_mapping, load, shipped
from tests.documents import DOCS, PAGES, ROOT, Block, blocks, prose, require_output

GROUP = get_command(app)
NAMES = {name for name, _ in shipped()}
SECONDS = 120
"""More than any block takes; a command that hangs must not hang the tests."""
MOST_PICTURE_BYTES = 60_000
MOST_FIGURE_BYTES = 200_000
"""Of results, with several panels."""


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


RUNNABLE = [page for page in PAGES if any(block.kind == "run" for block in blocks(page))]


@pytest.mark.parametrize("page", RUNNABLE, ids=page_id)
def test_commands_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    environment = prepare(tmp_path)
    seen = ""
    for block in blocks(page):
        if block.kind == "file":
            (tmp_path / block.directive.partition(":")[2].strip()).write_text(block.code)
        elif block.kind == "run":
            needed = [name for name in block.options.get("needs", "").split(",") if name]
            if all(importlib.util.find_spec(name) for name in needed):
                seen = execute(block, tmp_path, environment)
        elif block.kind == "output":
            require_output(block.code, seen, block.where)


def prepare(folder: Path) -> dict[str, str]:
    """Make a folder look like a clone in which fedbal is installed; return the environment."""
    shutil.copytree(ROOT / "scenarios", folder / "scenarios")
    commands = folder / ".bin"
    commands.mkdir()
    for name, arguments in (("fedbal", "-m fedbal "), ("python", "")):
        file = commands / name
        file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments}"$@"\n')
        file.chmod(0o755)
    changed = {
        "PATH": f"{commands}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "120",
        "FLWR_TELEMETRY_ENABLED": "0",
    }
    return {**os.environ, **changed}


def execute(block: Block, folder: Path, environment: dict[str, str]) -> str:
    """Run a block, interrupt it if its directive says so, check its exit code, return what it printed."""
    command = ["bash", "-euo", "pipefail", "-c", block.code]
    if block.language == "python":
        command = ["python", "-c", block.code]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines = []
    until = block.options.get("until")
    try:
        assert process.stdout is not None
        if until is not None:
            for line in process.stdout:
                lines.append(line)
                if until in line:
                    os.killpg(process.pid, signal.SIGINT)
                    break
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seen = "".join(lines) + output
    assert process.returncode == int(block.options.get("exit", "0")), f"{block.where}:\n{block.code}\n{seen}"
    return seen


def written_commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield every fedbal command of the fenced blocks of a page as words, with where it stands."""
    for block in blocks(page):
        if block.language not in ("bash", "text", "sh", "console"):
            continue
        for line in block.code.replace("\\\n", " ").splitlines():
            if block.language != "bash":
                if not line.startswith("$ "):
                    continue
                line = line.removeprefix("$ ")
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if word[0] in "();|&":
                    if words[:1] == ["fedbal"]:
                        yield block.where, words[1:]
                    words = []
                elif word[0] not in "<>":
                    words.append(word)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_written_command_is_one(page: Path) -> None:
    for where, words in written_commands(page):
        parsed = parse(where, words)
        changes = parsed.params.get("changes")
        complete = parsed.info_name in ("run", "validate", "partition") and parsed.params["scenario"] in NAMES
        if complete and not any("./" in change for change in changes or ()):
            load(parsed.params["scenario"], changes or ())


def parse(where: str, words: list[str]) -> click.Context:
    """Parse a command without executing it."""
    assert isinstance(GROUP, click.Group)
    outer = click.Context(GROUP, info_name="fedbal")
    command = GROUP.get_command(outer, words[0])
    assert command is not None, f"{where}: there is no command `fedbal {words[0]}`"
    try:
        context = command.make_context(words[0], list(words[1:]), parent=outer)
        if isinstance(command, click.Group) and len(words) > 1:
            inner = command.get_command(context, words[1])
            assert inner is not None, f"{where}: there is no command `fedbal {shlex.join(words[:2])}`"
            return inner.make_context(words[1], list(words[2:]), parent=context)
        return context
    except click.UsageError as error:
        pytest.fail(f"{where}: fedbal {shlex.join(words)}: {error.format_message()}")


def test_a_wrong_command_would_be_seen() -> None:
    with pytest.raises(pytest.fail.Exception, match="No such option"):
        parse("here", ["run", "quickstart", "--rounds", "3"])
    with pytest.raises(pytest.fail.Exception, match="No such option"):
        parse("here", ["provision", "init", "secrets", "--hosts", "a"])
    for words in (["simulate"], ["provision", "everything"]):
        with pytest.raises(AssertionError, match="no command"):
            parse("here", words)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_in_sentences_have_known_names_and_options(page: Path) -> None:
    assert isinstance(GROUP, click.Group)
    for text in re.findall(r"`fedbal ([^`]+)`", prose(page)):
        name, *rest = text.split()
        if name.startswith("-"):
            assert name in ("--help", "--version"), f"{page_id(page)}: {text}"
            continue
        command = GROUP.commands.get(name)
        assert command is not None or name.isupper(), f"{page_id(page)}: there is no `fedbal {name}`"
        if command is not None:
            known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
            assert {word for word in rest if word.startswith("-")} <= known, f"{page_id(page)}: fedbal {text}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_scenario_shown_is_valid(page: Path) -> None:
    quickstart = yaml.safe_load(find_scenario("quickstart").read_text())
    for block in blocks(page):
        if block.language == "yaml" and "broken" not in block.directive:
            shown = yaml.safe_load(block.code)
            from_mapping(shown if "rounds" in shown else {**quickstart, **shown}, base=ROOT)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the site makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(page), flags=re.M):
        text = unicodedata.normalize("NFKD", re.sub(r"[`*]", "", heading)).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())
        number = 1
        while slug in found:
            slug = f"{re.sub('_[0-9]+$', '', slug)}_{number}"
            number += 1
        found.add(slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.is_file() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def test_pictures_are_used_and_small() -> None:
    pictures = {path.relative_to(DOCS / "images").as_posix() for path in (DOCS / "images").rglob("*.png")}
    used = {name for page in PAGES for name in re.findall(r"\]\((?:\.\./)?images/([^)]+)\)", prose(page))}
    assert used == pictures
    for name in pictures:
        most = MOST_FIGURE_BYTES if name.startswith("methods/") else MOST_PICTURE_BYTES
        assert (DOCS / "images" / name).stat().st_size <= most


def generator() -> object:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_those_of_the_code() -> None:
    pages: dict[str, object] = vars(generator())["PAGES"]
    for name, make in pages.items():
        assert callable(make)
        same = (DOCS / name).read_text(encoding="utf-8") == make()
        assert same, f"docs/{name} is not what the code says: run `python docs/generate.py`"


def test_every_key_of_the_schema_is_in_the_reference() -> None:
    text = (DOCS / "scenario.md").read_text(encoding="utf-8")
    schema = load("quickstart").resolved()
    for path in key_paths(schema):
        assert f"`{path}`" in text or f"| `{path.rpartition('.')[2]}` |" in text, path


def key_paths(block: dict[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in block.items():
        if key in ("name", "dataset") and prefix:
            continue
        yield prefix + key
        if isinstance(value, dict):
            yield from key_paths(value, f"{prefix}{key}.")


def test_every_number_of_a_run_is_defined(tmp_path: Path) -> None:
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    result = fedbal.run("quickstart", tmp_path / "run", overrides={"rounds": 1, "cohort.fraction": 0.1})
    reader = RunReader(result.directory)
    written = {*keys(reader.rounds()[0]), *keys(reader.clients()[0]), *keys(result.summary)}
    assert len(written) > 60
    assert {key for key in written - {"round"} if not re.search(rf"`([\w.]+\.)?{key}`", text)} == set()


def keys(block: dict[str, Any]) -> Iterator[str]:
    for key, value in block.items():
        yield key
        if isinstance(value, dict):
            yield from keys(value)


def test_every_file_of_a_run_is_listed(tmp_path: Path) -> None:
    text = (DOCS / "first-run.md").read_text(encoding="utf-8")
    result = fedbal.run("quickstart", tmp_path / "run", overrides={"rounds": 1, "cohort.fraction": 0.1})
    for path in result.directory.iterdir():
        name = f"{path.name}/" if path.is_dir() else path.name
        assert name == LOCK or f"| `{name}` |" in text


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r": ([\w/-]+\.md)$", text, flags=re.M)
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    api = (tmp_path / "site" / "api" / "strategies" / "index.html").read_text(encoding="utf-8")
    assert "FedAvg with discrepancy-aware weights" in api
