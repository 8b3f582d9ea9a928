"""The page: texts, tables and numbers into one HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from fedbal.comparison.compared import Compared
from fedbal.comparison.report.context import context
from fedbal.comparison.report.numbers import encode, numbers
from fedbal.comparison.views import View, views
from fedbal.errors import UsageError
from fedbal.results import disk_errors, write_atomically

NAME = "report.html"


def write(compared: Compared, directory: Path, seen: Sequence[View] | None = None) -> Path:
    """Write ``report.html``: self-contained, so that it can be sent and opened without a network.

    Parameters
    ----------
    compared : Compared
        The comparison; its run directories are read.
    directory : Path
        Where the file goes.
    seen : sequence of View, optional
        What :func:`fedbal.comparison.views.views` made of it, where it is there already.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UsageError
        jinja2 or plotly is not installed.
    RunError
        It cannot be written.
    """
    path = directory / NAME
    text = render(compared, views(compared) if seen is None else seen)
    with disk_errors(path):
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    return path


def render(compared: Compared, seen: Sequence[View]) -> str:
    """Return the page as text."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise UsageError(
            f"the report needs jinja2 and plotly ({error.name} is missing): pip install 'fedbal[report]'."
        ) from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(_read("page.html"))
    scripts = {
        "plotly": _script(get_plotlyjs()),
        **{
            f"{name}_js": _script(_read(f"static/{name}.js"))
            for name in ("base", "charts", "clients", "page")
        },
    }
    found = context(compared, seen)
    return template.render(
        **found,
        css=Markup(_read("static/page.css")),
        data=Markup(encode(numbers(compared, seen))),
        # Only these scripts may run, whatever a name in the page holds.
        hashes=Markup(" ".join(_hash(text) for text in scripts.values())),
        **{name: Markup(text) for name, text in scripts.items()},
    )


def _read(name: str) -> str:
    return (resources.files("fedbal.comparison.report") / name).read_text()


def _script(text: str) -> str:
    """Return a script that cannot end its own element."""
    return text.replace("</script", "<\\/script")


def _hash(text: str) -> str:
    # A browser hashes the text after it has made one newline of each carriage return.
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return f"'sha256-{base64.b64encode(hashlib.sha256(plain.encode()).digest()).decode()}'"
