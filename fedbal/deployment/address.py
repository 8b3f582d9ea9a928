"""``HOST:PORT`` as people write it."""

from __future__ import annotations

import re

from fedbal.errors import UsageError

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


def parse(text: str, option: str = "--server") -> tuple[str, int]:
    """Return host and port of an address.

    Parameters
    ----------
    text : str
        ``coordinator.local:8000``, ``192.168.1.10:8000`` or ``[2001:db8::1]:8000``.
    option : str
        Where it was given, for the message.

    Raises
    ------
    UsageError
        It is something else: a URL, no port, a port outside 1 to 65535.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or not 1 <= int(found["port"]) <= 65535:
        raise UsageError(
            f"{option} {text!r}: HOST:PORT is needed, as in coordinator.local:8000 or [2001:db8::1]:8000, without "
            "https://."
        )
    return found["six"] or found["host"], int(found["port"])
