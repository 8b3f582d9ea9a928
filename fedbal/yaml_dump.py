"""Write plain values as YAML."""

from __future__ import annotations

from typing import Any

import yaml

from fedbal.yaml_source import RESOLVERS, TAG


class Dumper(yaml.SafeDumper):
    """Quotes whatever a YAML 1.1 or a YAML 1.2 reader could mistake, so that both read the same."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every value out."""
        return True


for _name, _pattern, _first in RESOLVERS:
    Dumper.add_implicit_resolver(
        TAG + _name, _pattern, ["" if character == "\0" else character for character in _first]
    )


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    # Unprintable characters survive in double quotes only: elsewhere some of them count as line breaks.
    return dumper.represent_scalar(f"{TAG}str", text, style=None if text.isprintable() else '"')


Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """Write plain values as YAML that :func:`fedbal.yaml_source.parse` reads back equal."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
