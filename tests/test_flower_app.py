"""The project as a Flower app: what is bundled, and a run on Flower's own engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from fedbal.results import RunReader
from fedbal.scenario import load
from fedbal.simulation import run
from tests.scenarios import sha256

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def environment(home: Path) -> dict[str, str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **QUIET, "FLWR_HOME": str(home), "PATH": path}


def test_the_bundle_finds_its_own_scenarios_and_data(tmp_path):
    subprocess.run(
        [BIN / "flwr", "build", "--app", ROOT],
        cwd=tmp_path,
        env=environment(tmp_path),
        check=True,
        capture_output=True,
        timeout=120,
    )
    (bundle,) = tmp_path.glob("*.fab")
    root = tmp_path / "bundle"
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(root)
    assert not (root / "tests").exists()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import fedbal, strategies, clients\n"
        "from fedbal.scenario import find_scenario, load\n"
        "from fedbal.data.federation import load_federation\n"
        "print(fedbal.__file__, strategies.__file__, clients.__file__, find_scenario('quickstart'))\n"
        "print(load_federation(load('quickstart').data, 0).dataset.name)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, root],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout.split()
    assert all(Path(path).is_relative_to(root) for path in printed[:4])
    assert printed[4] == "digits"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.skipif(
    shutil.which("ps") is None, reason="needs ps to end the SuperLink that flwr leaves behind"
)
def test_flwr_run_gives_the_bytes_of_fedbal_run(tmp_path):
    pytest.importorskip("ray")
    out = tmp_path / "run"
    home = tmp_path / "home"
    port = str(free_port())
    run(load("quickstart", ["rounds=1", "runtime.backend=inprocess"]), tmp_path / "backbone")
    changes = (
        "rounds=2; data.partition.clients=4; client.clip_norm=1.0; client.augment.crop_padding=1; "
        "client.optimizer.schedule=cosine; cohort.availability.name=size_proportional; pretrained.freeze=features; "
        "data.preprocess.scale=standard; data.feature_shift=rotation; data.label_noise.rate=0.2; "
        f"pretrained.path={tmp_path / 'backbone' / 'model.safetensors'}"
    )
    command = [BIN / "flwr", "run", ROOT, "local", "--stream"]
    command += ["--federation-config", "num-supernodes=4 client-resources-num-cpus=1"]
    command += ["--run-config", f'scenario="quickstart" set="{changes}" out="{out}"']
    try:
        result = subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment(home), "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": port},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        stop_superlink(home)
    assert (out / "summary.json").exists(), result.stdout + result.stderr
    plain = run(load("quickstart", [*changes.split("; "), "runtime.backend=inprocess"]), tmp_path / "plain")
    assert sha256(out / "model.safetensors") == sha256(plain.directory / "model.safetensors")
    there, here = RunReader(out), RunReader(plain.directory)
    for key in ("partition", "initial", "cohorts", "batches"):
        assert there.fingerprints[key] == here.fingerprints[key]


def stop_superlink(home: Path) -> None:
    """End the SuperLink that ``flwr run`` starts detached and leaves running, with its helpers."""
    for _ in range(50):
        listing = subprocess.run(
            ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
        ).stdout
        running = [int(line.split()[0]) for line in listing.splitlines() if str(home) in line]
        if not running:
            return
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        time.sleep(0.5)
    raise AssertionError(f"a SuperLink of {home} does not stop")
