"""``fedbal new``: a commented file with a working class, and its test."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

from fedbal import templates
from fedbal.errors import UsageError
from fedbal.registry import unknown_name
from fedbal.results import disk_errors, write_atomically

KINDS = ("strategy", "update")
TAKEN = {"clients", "fedbal", "flwr", "numpy", "pytest", "ray", "strategies", "tests", "torch"}
"""Module names that a file of the user's would hide, beside those of the standard library."""


def create(kind: str, name: str, folder: Path) -> tuple[Path, Path, str]:
    """Write ``<name>.py`` and ``test_<name>.py``.

    Parameters
    ----------
    kind : str
        ``strategy`` or ``update``.
    name : str
        ``my_rule``, ``my-rule`` or ``MyRule``: the class is MyRule in my_rule.py.
    folder : Path
        Where; made if it does not exist.

    Returns
    -------
    tuple of (Path, Path, str)
        The file, its test, the class name.

    Raises
    ------
    UsageError
        The kind is unknown, the name cannot be used, or a file is there already.
    """
    if kind not in KINDS:
        raise UsageError(unknown_name("kind", kind, KINDS))
    module, title = names(name)
    file, test = folder / f"{module}.py", folder / f"test_{module}.py"
    for path in (file, test):
        if path.exists():
            raise UsageError(f"{path} exists; choose another name or --dir, nothing is overwritten.")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for path, source in ((file, f"{kind}.py"), (test, f"test_{kind}.py")):
        text = (Path(templates.__file__).parent / source).read_text(encoding="utf-8")
        text = text.replace("template_name", module).replace("TemplateName", title)
        with disk_errors(path):
            write_atomically(path, text.encode())
    return file, test, title


def names(name: str) -> tuple[str, str]:
    """Return the module name and the class name that a name stands for: ``my_rule`` and ``MyRule``.

    Raises
    ------
    UsageError
        It is no name, a word of Python's, or would hide another module.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([_-][A-Za-z0-9]+)*", name) or len(name) > 60:
        raise UsageError(
            f"the name {name!r} cannot be used; begin with a letter, go on with letters, digits and single "
            "underscores, at most 60 in all: my_rule or MyRule."
        )
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[0-9]+", name)
    module = "_".join(part.lower() for part in parts)
    title = name if name[0].isupper() and name.isalnum() else "".join(p[0].upper() + p[1:] for p in parts)
    taken = module in TAKEN or module in sys.stdlib_module_names
    if taken or keyword.iskeyword(module) or keyword.iskeyword(title) or module.startswith("test_"):
        raise UsageError(
            f"the name {name!r} is taken: {module}.py would hide another module; add a word, as in my_{module}."
        )
    return module, title
