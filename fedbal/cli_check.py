"""``fedbal check``: verdicts of the contract, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from fedbal.contract import check
from fedbal.errors import UsageError
from fedbal.terminal import say

WORDS = {"passed": "ok", "failed": "FAILED", "skipped": "-"}


def print_check(reference: str, parameters: Sequence[str], *, ray: bool) -> bool:
    """Print what holds and what does not; return whether nothing failed.

    Parameters
    ----------
    reference : str
        ``./file.py:Class`` or a name.
    parameters : sequence of str
        ``key=value`` constructor arguments, values in YAML.
    ray : bool
        Whether to run on Ray too.
    """
    verdicts = check(reference, _arguments(parameters), ray=ray)
    for verdict in verdicts:
        say(f"{WORDS[verdict.status]:<6}  {verdict.title}: {verdict.seen}")
        if verdict.status == "failed" and verdict.fix:
            say(f"        fix: {verdict.fix}")
    failed = sum(verdict.status == "failed" for verdict in verdicts)
    passed = sum(verdict.status == "passed" for verdict in verdicts)
    say()
    say(f"{reference}: {passed} passed, {failed} failed, {len(verdicts) - passed - failed} do not apply.")
    return not failed


def _arguments(texts: Sequence[str]) -> dict[str, Any]:
    arguments = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.strip().isidentifier():
            raise UsageError(f"--set {text}: write name=value, as in --set power=0.5.")
        try:
            arguments[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {text}: the value is not YAML ({error}).") from error
    return arguments
