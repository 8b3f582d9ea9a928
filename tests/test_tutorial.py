"""The tutorial is executed as it stands: its Python blocks in order, its printed lines, its picture."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from tests.documents import DOCS, blocks, require_output

TUTORIAL = DOCS / "tutorial.md"


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "tutorial"}
    seen, ran, shown = "", 0, 0
    for block in blocks(TUTORIAL):
        if block.language == "python":
            output = io.StringIO()
            # Blank lines in front make the line numbers of an error those of the page.
            code = compile("\n" * block.line + block.code, str(TUTORIAL), "exec")
            with contextlib.redirect_stdout(output):
                exec(code, namespace)
            seen, ran = output.getvalue(), ran + 1
        elif block.language == "text":
            require_output(block.code, seen, block.where)
            shown += 1
    assert (ran, shown) == (10, 7)
    assert (tmp_path / "rules.png").stat().st_size > 1000
    assert len(list((tmp_path / "runs").iterdir())) == 6
