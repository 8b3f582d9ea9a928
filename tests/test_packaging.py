"""What a device must carry, what a wheel contains, and that a fresh install is fully pinned."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

import fedbal

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fedbal", "strategies", "clients")
BASE = {"flwr", "torch", "numpy", "pyyaml", "pydantic", "safetensors", "typer", "rich"}
HEAVY = {"ray", "datasets", "pandas", "matplotlib", "plotly", "sklearn", "scipy"}

IMPORT_ALL = """
import importlib, json, pkgutil, sys
names = []
for package in sys.argv[1:]:
    root = importlib.import_module(package)
    names += [package, *(found.name for found in pkgutil.walk_packages(root.__path__, package + "."))]
for name in names:
    importlib.import_module(name)
print(json.dumps({"imported": names, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


IMPORT_WITHOUT_EXTRAS = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))
import fedbal
for found in pkgutil.iter_modules(fedbal.__path__, "fedbal."):
    importlib.import_module(found.name)
"""


def import_all(*packages: str) -> tuple[set[str], set[str]]:
    """Import all modules of some packages in a fresh interpreter: (their names, top-level modules loaded)."""
    command = [sys.executable, "-c", IMPORT_ALL, *packages]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return set(found["imported"]), set(found["modules"])


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.mark.parametrize("package", ["clients", "strategies"])
def test_what_runs_on_a_device_imports_nothing_heavy(package: str) -> None:
    imported, modules = import_all(package)
    files = {path for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py"}
    assert len(imported) >= len(files) > 3
    assert "flwr" in modules
    assert modules & HEAVY == set()


def test_the_commands_need_the_base_install_alone() -> None:
    extras = sorted(HEAVY | {"flwr_datasets", "PIL", "pyarrow", "statsmodels", "mlflow", "tensorboard"})
    command = [sys.executable, "-c", IMPORT_WITHOUT_EXTRAS, *extras]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_base_dependencies_are_the_devices(project: dict[str, object]) -> None:
    required = project["dependencies"]
    assert isinstance(required, list)
    assert {distribution_name(line) for line in required} == BASE


def test_a_heavy_import_would_be_seen() -> None:
    pytest.importorskip("scipy")
    assert "scipy" in import_all("scipy.constants")[1] & HEAVY


def test_wheel_holds_every_source_and_data_file(wheel: zipfile.ZipFile) -> None:
    held = set(wheel.namelist())
    sources = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    scenarios = {f"fedbal/scenarios/{path.name}" for path in (ROOT / "scenarios").iterdir()}
    assert "fedbal/scenarios/quickstart.yaml" in scenarios
    assert (sources | scenarios) - held == set()
    assert {"fedbal/data/digits.json", *(f"{package}/py.typed" for package in PACKAGES)} <= held
    assert not [name for name in held if name.startswith("tests/")]


def test_wheel_says_who_and_which_and_how_to_call_it(wheel: zipfile.ZipFile) -> None:
    info = f"fedbal-{fedbal.__version__}.dist-info"
    metadata = HeaderParser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert metadata["Version"] == fedbal.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert b"Apache License" in wheel.read(f"{info}/licenses/LICENSE")
    assert "fedbal = fedbal.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()


def test_the_two_versions_are_one(project: dict[str, object]) -> None:
    # Flower's bundles need it written out in pyproject.toml, and have no installed metadata to ask.
    assert project["version"] == fedbal.__version__


def test_constraints_are_exact_and_come_from_nowhere_in_particular() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line)]
    assert wrong == []
    assert {"flwr==1.41.0", "ray==2.55.1", "torch==2.13.0"} <= set(lines)


def test_constraints_pin_everything_that_ci_installs(project: dict[str, object]) -> None:
    pinned = {
        distribution_name(line)
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    extras = project["optional-dependencies"]
    required = project["dependencies"]
    assert isinstance(extras, dict)
    assert isinstance(required, list)
    named = [*required, *(line for extra in ("sim", "data", "report", "dev") for line in extras[extra])]
    assert {distribution_name(line) for line in named} - pinned == set()


def distribution_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match[0]).lower()
