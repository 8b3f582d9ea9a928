"""Errors a user can cause, each with one clear message and an exit code."""

from __future__ import annotations


class FedbalError(Exception):
    """Base of every error that is reported as one message instead of a traceback."""

    exit_code = 1


class UsageError(FedbalError):
    """The request itself is wrong: bad YAML, unknown name, missing file, impossible resources."""

    exit_code = 2


class RunError(FedbalError):
    """The request was fine and something failed on the way: full disk, lost worker, corrupt data."""

    exit_code = 1
