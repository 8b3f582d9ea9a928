"""Where scenarios are: a path, or a name of a shipped one in a wheel, a checkout or a Flower bundle."""

from __future__ import annotations

from pathlib import Path

import fedbal
from fedbal.errors import UsageError
from fedbal.registry import nearest

SUFFIXES = (".yaml", ".yml")
_MARKER = "quickstart.yaml"


def folder() -> Path:
    """Return the folder of the shipped scenarios.

    A wheel holds them inside the package; a checkout (editable install) and a Flower bundle beside it.

    Raises
    ------
    UsageError
        The installation lacks them.
    """
    package = Path(fedbal.__file__).resolve().parent
    places = [package / "scenarios", package.parent / "scenarios"]
    for place in places:
        if (place / _MARKER).is_file():
            return place
    raise UsageError(
        f"the shipped scenarios are missing (looked in {places[0]} and {places[1]}); "
        "reinstall fedbal, or give the path of a scenario file."
    )


def shipped() -> list[tuple[str, str]]:
    """Return name and first comment line of every shipped scenario, quickstart first."""
    found = [(path.stem, _first_comment(path)) for path in sorted(folder().glob("*.yaml"))]
    return sorted(found, key=lambda item: item[0] != "quickstart")


def is_shipped(path: Path) -> bool:
    """Tell whether a scenario file is one of the shipped ones."""
    try:
        return path.resolve().parent == folder()
    except UsageError:
        return False


def find_scenario(source: str | Path) -> Path:
    """Return the file of a scenario.

    Parameters
    ----------
    source : str or Path
        A path, or the name of a shipped scenario.

    Raises
    ------
    UsageError
        There is no such file or name.
    """
    text = str(source)
    try:
        path = Path(source).expanduser()
        if path.is_file():
            return path
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{text[:100]}: no usable path ({error}); give a scenario file or a shipped name."
        ) from error
    if not text.strip():
        raise UsageError(
            "the scenario is empty; give a YAML file or a shipped name, see `fedbal list scenarios`."
        )
    plain = isinstance(source, str) and path.name == text
    if plain and path.suffix not in SUFFIXES:
        candidate = folder() / f"{text}.yaml"
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise UsageError(f"{text} is a folder; give a scenario file in it, or a shipped name.")
    names = [name for name, _ in shipped()]
    close = nearest(path.stem, names)
    guess = f" did you mean {' or '.join(close)}?" if close else ""
    what = "no such file" if not plain or path.suffix in SUFFIXES else "no such file and no shipped scenario"
    raise UsageError(f"{text}: {what};{guess} shipped scenarios: {', '.join(names)}.")


def _first_comment(path: Path) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "yaml-language-server" not in line and line.strip("# "):
            return line.strip("# ").strip()
        if line.strip() and not line.startswith("#"):
            break
    return ""
