"""Write the generated pages and pictures of the documentation.

python docs/generate.py               scenario.md, strategies.md, and the marked parts of methods/*.md
python docs/generate.py --pictures    the pictures of partitions as well
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from clients import LOSSES, OPTIMIZERS, SCHEDULES, UPDATES
from fedbal.data import DATASETS, PARTITIONS, QUANTITIES
from fedbal.models import MODELS
from fedbal.protocol import Disclosure
from fedbal.registry import Table
from fedbal.scenario import from_mapping, json_schema
from fedbal.scenario_schema import TAGS, describe
from fedbal.track import TRACKERS
from fedbal.virtual import create
from strategies import AVAILABILITIES, STRATEGIES

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py: change the code, then run it again. -->"

INTRODUCTION = """
# Scenario reference

A scenario is one YAML file. It says everything that decides a run. This page lists every key, as the schema has
it; `fedbal schema` prints the same as JSON schema for editors.

- A component (a strategy, a partition, a model, an optimizer, ...) is written as its name, `strategy: fedavg`, or
  as a block with its parameters, `strategy: {name: fedprox, mu: 0.1}`. Where your own code is allowed, the name is
  `./file.py:Class` or `package.module:Class`.
- A key that is left out has its default. `fedbal validate FILE --resolved` prints the scenario with all of them.
- An unknown key, a wrong type and a number out of range are errors. All are reported at once, with their line.
- `--set KEY=VALUE` changes a key from the command line: `--set data.partition.alpha=0.1`. Setting a block replaces
  the block.
- Relative paths in a file start at the file; paths in `--set` start at the current folder.
"""

STRATEGIES_HEAD = """
# Strategies

The aggregation rules that are shipped. Each is one file: the formula and the paper in its docstring, a pure
function on arrays, a thin [Flower](https://flower.ai) strategy around it. Each has a page with its parameters, what
leaves a site, a scenario, and what was measured. Any strategy of Flower's works as well, see [Flower](flower.md),
and so does [your own](adding-a-rule.md).

A rule may ask for a client update of its own. `client.update: auto` (the default) follows it: `strategy: fedprox`
trains with the proximal term. Naming an update sets it apart from the rule.
"""

LOSSES_HEAD = """
## Losses

What clients minimise is chosen apart from the rule: `client.loss`. Any loss goes with any rule.
"""

Fragment = dict[str, Any]

TABLES: dict[str, Table] = {
    "data": DATASETS,
    "data.partition": PARTITIONS,
    "data.quantity": QUANTITIES,
    "model": MODELS,
    "strategy": STRATEGIES,
    "client.update": UPDATES,
    "client.loss": LOSSES,
    "client.optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "cohort.availability": AVAILABILITIES,
    "track": TRACKERS,
}
"""Where the one-line summaries of components stand, by key."""

SMALLEST = {"name": "reference", "rounds": 1, "data": "digits", "model": "logistic", "strategy": "fedavg"}


class Reference:
    """The scenario reference, made from the JSON schema.

    Parameters
    ----------
    schema : dict
        As ``fedbal schema`` prints it.
    """

    def __init__(self, schema: Fragment) -> None:
        self._definitions: Fragment = schema["$defs"]
        self._schema = schema
        self._defaults = from_mapping(SMALLEST).resolved()
        self._written: set[str] = set()

    def page(self) -> str:
        """Return the page as Markdown."""
        parts = [NOTE, INTRODUCTION.strip()]
        rows = [self._row(name, node, self._schema) for name, node in _properties(self._schema)]
        parts += ["## Top level", _table(rows)]
        for name, node in _properties(self._schema):
            if self._blocks(node):
                parts += self._section(name, node, 2)
        return "\n\n".join(parts) + "\n"

    def _section(self, path: str, node: Fragment, level: int) -> Iterator[str]:
        blocks = self._blocks(node)
        named = {tag: block for block in blocks if (tag := _tag(block))}
        yield f"{'#' * level} `{path}`"
        yield str(node.get("description") or blocks[0].get("description", ""))
        if not named:
            yield from self._keys(path, blocks[0], dict(_properties(blocks[0])), level)
            return
        common = _common(list(named.values())) if path == "data" else {}
        if common:
            yield "Keys of every data set:"
            yield from self._keys(path, next(iter(named.values())), common, level)
        for name, block in named.items():
            yield f"{'#' * (level + 1)} `{path}: {name}`"
            yield _summary(path, name, block)
            own = {
                key: item for key, item in _properties(block) if common.get(key) != item and key not in TAGS
            }
            if own:
                yield _table(
                    [self._row(f"{path}.{key}", item, block, short=True) for key, item in own.items()]
                )
            for key, item in own.items():
                if key not in common and self._blocks(item) and key not in self._written:
                    self._written.add(key)
                    yield from self._section(key, item, level + 2)

    def _keys(self, path: str, block: Fragment, items: Fragment, level: int) -> Iterator[str]:
        yield _table([self._row(f"{path}.{key}", item, block) for key, item in items.items()])
        for key, item in items.items():
            if self._blocks(item):
                yield from self._section(f"{path}.{key}", item, level + 1)

    def row(self, key: str, node: Fragment, block: Fragment) -> list[str]:
        """Return the line of one key without a link: key, what is allowed, default, meaning."""
        return self._row(key, node, block, short=True)

    def _row(self, path: str, node: Fragment, block: Fragment, *, short: bool = False) -> list[str]:
        key = path.rpartition(".")[2]
        blocks = self._blocks(node)
        shown = f"`{key}`" if short else f"[`{path}`](#{anchor(path)})" if blocks else f"`{path}`"
        required = key in block.get("required", [])
        default = "required" if required else self._default(path, node, blocks)
        meaning = node.get("description") or (blocks[0].get("description", "") if blocks else "")
        return [shown, self._allowed(node), default, str(meaning)]

    def _default(self, path: str, node: Fragment, blocks: list[Fragment]) -> str:
        if blocks and not any(_tag(block) for block in blocks):
            return "its defaults" if "default" in node or self._found(path) is not None else "-"
        if "default" in node:
            return f"`{_plain(node['default'])}`"
        for option in node.get("anyOf", []):
            if _tag(option) and "name" not in option.get("required", []):
                return f"`{_tag(option)}`"
        found = self._found(path)
        return "-" if found is None else f"`{found['name'] if isinstance(found, dict) else _plain(found)}`"

    def _found(self, path: str) -> Any:
        value: Any = self._defaults
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def _allowed(self, node: Fragment) -> str:
        words = []
        for option in self._options(node):
            if option.get("type") == "object":
                words.append("a block")
            elif option.get("pattern") == "[.:]":
                words.append("`./file.py:Class`")
            else:
                words.append(_code(option) or describe(option))
        return " or ".join(dict.fromkeys(word for word in words if word))

    def _blocks(self, node: Fragment) -> list[Fragment]:
        """Return the blocks that a key can hold, a user's own component left out."""
        found = [option for option in self._options(node) if option.get("properties")]
        return [block for block in found if _tag(block) or "name" not in block["properties"]]

    def _options(self, node: Fragment) -> list[Fragment]:
        if "$ref" in node:
            return self._options(self._definitions[node["$ref"].rpartition("/")[2]])
        if "anyOf" in node:
            return [found for option in node["anyOf"] for found in self._options(option)]
        return [node]


def anchor(path: str) -> str:
    """Return the anchor of a heading that is a key path: dots and colons go."""
    return path.replace(".", "").replace(":", "").replace(" ", "-").lower()


def strategies_page() -> str:
    """Return the overview of the shipped rules and losses, with links to their pages."""
    places = method_places()
    heads = ["does", "paper"]
    rules = [[_method(places, "rule", name), item.summary, item.paper] for name, item in STRATEGIES.items()]
    losses = [[_method(places, "loss", name), item.summary, item.paper] for name, item in LOSSES.items()]
    parts = [NOTE, STRATEGIES_HEAD.strip(), _table(rules, ["rule", *heads])]
    return "\n\n".join([*parts, LOSSES_HEAD.strip(), _table(losses, ["loss", *heads])]) + "\n"


PART = re.compile(r"(<!-- (rule|loss):([\w,]+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
"""A part of a page about methods that is written from the code."""


def method_places() -> dict[tuple[str, str], str]:
    """Return where each rule and loss is explained, as a link from docs."""
    places = {}
    for page in sorted((DOCS / "methods").glob("*.md")):
        found = [
            (kind, name)
            for _, kind, names, _ in PART.findall(page.read_text(encoding="utf-8"))
            for name in names.split(",")
        ]
        for kind, name in found:
            places[kind, name] = f"methods/{page.name}" + (f"#{name}" if len(found) > 1 else "")
    return places


def _method(places: dict[tuple[str, str], str], kind: str, name: str) -> str:
    return f"[`{name}`]({places[kind, name]})" if (kind, name) in places else f"`{name}`"


def method_page(page: Path) -> str:
    """Return a page about methods with the parts made anew that come from the code."""
    writers: dict[str, Callable[[Sequence[str]], Iterator[str]]] = {"rule": _rules, "loss": _losses}

    def part(match: re.Match[str]) -> str:
        text = "\n\n".join(writers[match[2]](match[3].split(",")))
        return f"{match[1]}\n{text}\n\n{match[4]}"

    return PART.sub(part, page.read_text(encoding="utf-8"))


def _rules(names: Sequence[str]) -> Iterator[str]:
    """Write rules of one module: docstring, the update they ask for, parameters, what leaves a site."""
    modules = {STRATEGIES[name].target.partition(":")[0] for name in names}
    yield from (_prose(inspect.getdoc(importlib.import_module(module)) or "") for module in sorted(modules))
    for name in names:
        params = STRATEGIES.params_model(name)()
        rule = create(STRATEGIES, params)
        if len(names) > 1:
            yield f"### {name}"
        yield from _parameters(STRATEGIES, name)
        apis = [f"[`{type(rule).__module__}.{type(rule).__name__}`][]"]
        disclosed, update = list(rule.manifest), params.client_update()
        if update["name"] != "standard":
            module, _, attribute = UPDATES[update["name"]].target.partition(":")
            disclosed += UPDATES.load(update["name"]).discloses
            yield "**At the client.** " + _prose(inspect.getdoc(importlib.import_module(module)) or "")
            yield f"The rule asks for this update, `{_plain(update)}` with the defaults."
            apis.append(f"[`{module}.{attribute}`][]")
        yield from _leaves({item.name: item for item in disclosed}.values())
        yield f"API: {', '.join(apis)}."


def _losses(names: Sequence[str]) -> Iterator[str]:
    """Write losses: docstring without its parameters, parameters, what leaves a site."""
    for name in names:
        loss = LOSSES.load(name)
        # A module of its own says more than its class.
        alone = sum(item.target.startswith(f"{loss.__module__}:") for item in LOSSES.values()) == 1
        text = inspect.getdoc(importlib.import_module(loss.__module__) if alone else loss) or ""
        yield _prose(text.partition("\n\nParameters\n")[0])
        yield from _parameters(LOSSES, name)
        yield from _leaves(create(LOSSES, LOSSES.params_model(name)()).discloses)
        yield f"API: [`{loss.__module__}.{loss.__name__}`][]."


def _parameters(table: Table, name: str) -> Iterator[str]:
    schema = table.params_model(name).model_json_schema()
    reference = Reference({**schema, "$defs": schema.get("$defs", {})})
    rows = [
        reference.row(key, _without_null(item), schema)
        for key, item in schema["properties"].items()
        if key != "name"
    ]
    yield _table(rows) if rows else "It has no parameters."


def _leaves(disclosed: Iterable[Disclosure]) -> Iterator[str]:
    rows = [[f"`{item.name}`", item.size, item.frequency, item.privacy] for item in disclosed]
    if rows:
        yield "**What leaves a site** beside the model and the sample count:"
        yield _table(rows, ["what", "size", "when", "a reader learns"])
    else:
        yield "**What leaves a site**: the model and the sample count, nothing else."


def _prose(text: str) -> str:
    """Turn a docstring into Markdown: indented formulas become blocks, double backticks single ones."""
    parts = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("    "):
            parts.append(f"```text\n{textwrap.dedent(paragraph).rstrip()}\n```")
        else:
            parts.append(paragraph.replace("``", "`"))
    return "\n\n".join(parts)


def _without_null(node: Fragment) -> Fragment:
    options = [option for option in node.get("anyOf", []) if option != {"type": "null"}]
    plain = {key: value for key, value in node.items() if not (key == "default" and value is None)}
    return {**plain, "anyOf": options} if options else plain


def _common(blocks: list[Fragment]) -> Fragment:
    """Return the properties that most blocks have in the same form, in the order of the first."""
    common: Fragment = {}
    for key in blocks[0]["properties"]:
        forms = [block["properties"].get(key) for block in blocks]
        usual = max(forms, key=forms.count)
        if key not in TAGS and usual is not None and forms.count(usual) > len(blocks) // 2:
            common[key] = usual
    return common


def _tag(block: Fragment) -> str | None:
    for tag in TAGS:
        value = block.get("properties", {}).get(tag, {}).get("const")
        if value is not None:
            return str(value)
    return None


def _summary(path: str, name: str, block: Fragment) -> str:
    table = TABLES.get(path)
    if table is None or name not in table:
        return str(block.get("description", ""))
    entry = table[name]
    text = entry.summary[0].upper() + entry.summary[1:]
    return f"{text}{f' ({entry.paper})' if entry.paper else ''}."


def _properties(block: Fragment) -> Iterator[tuple[str, Fragment]]:
    yield from block.get("properties", {}).items()


def _code(option: Fragment) -> str:
    """Show fixed values as code."""
    values = option.get("enum") or ([option["const"]] if "const" in option else [])
    return ", ".join(f"`{value}`" for value in values)


def _plain(value: Any) -> str:
    """Write a default as it would stand in YAML, on one line."""
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: pair[0] not in TAGS)
        return f"{{{', '.join(f'{key}: {_plain(item)}' for key, item in pairs if item is not None)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_plain(item) for item in value)}]"
    return value if isinstance(value, str) else json.dumps(value)


def _table(rows: list[list[str]], headers: list[str] | None = None) -> str:
    lines = [headers or ["key", "allowed", "default", "meaning"]]
    lines += [["---"] * len(lines[0]), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


PAGES: dict[str, Callable[[], str]] = {
    "scenario.md": lambda: Reference(json_schema()).page(),
    "strategies.md": strategies_page,
    **{
        f"methods/{page.name}": partial(method_page, page) for page in sorted((DOCS / "methods").glob("*.md"))
    },
}
"""Generated pages by name, whole or in part."""

PICTURES = {
    "iid": "{dataset: digits, partition: {name: iid, clients: 20}}",
    "dirichlet-1": "{dataset: digits, partition: {name: dirichlet, clients: 20, alpha: 1.0}}",
    "dirichlet-01": "{dataset: digits, partition: {name: dirichlet, clients: 20, alpha: 0.1}}",
    "pathological": "{dataset: digits, partition: {name: pathological, clients: 20, classes_per_client: 2}}",
    "niid2": "{dataset: digits, partition: niid2}",
    "long-tail": "{dataset: digits, long_tail: {imbalance_factor: 20}, partition: {name: iid, clients: 20}}",
    "quantity": "{dataset: digits, quantity: power_law, partition: {name: iid, clients: 20}}",
}
"""Data blocks of the pictures, by name."""


def pictures(folder: Path) -> None:
    """Draw partitions, as ``fedbal partition --plot`` does."""
    from fedbal.cli_partition import show_partition
    from fedbal.scenario import load

    folder.mkdir(exist_ok=True)
    for name, data in PICTURES.items():
        show_partition(load("quickstart", [f"data={data}"]), folder / f"{name}.png")


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", action="store_true", help="draw the partitions as well")
    arguments = parser.parse_args()
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
    if arguments.pictures:
        pictures(DOCS / "images")


if __name__ == "__main__":
    main()
