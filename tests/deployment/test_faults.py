"""Faults of sites in a deployment of real processes with TLS and keys: what the coordinator makes of each."""

from __future__ import annotations

import shutil
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fedbal.deployment import provision
from fedbal.interrupts import Signals
from fedbal.observer import Silent
from fedbal.results import RunReader
from tests.deployment.harness import Sabotaged, ending, matches, outcomes, scenario, wait_for

FAULTS = {
    "raise": "error 2: RuntimeError: boom",
    "nan": "non-finite values in array",
    "shape": r"array '.*' is float32 \(16, 63\), the model has float32 \(16, 64\)",
    "broadcast": r"array '.*' is float32 \(1, 64\), the model has float32 \(16, 64\)",
    "dtype": "is float64",
    "missing": r"array names differ: missing \['.*'\]",
    "oversized": r"unknown \['more'\]",
    "zero weight": "must be a positive finite number, got 0",
    "negative weight": "must be a positive finite number, got -5",
    "no weight": "must be a positive finite number, got None",
    "stale": "it started from round 1, this is round",
    "empty": "expected an array record|positive finite number",
    "none": "error 2",
    "exit": "error 8: the client exited: 3",
    "kill": "error 8: the site's worker ended before it answered",
}
PLACES = {fault: (1 + number % 2, 2 + number // 2) for number, fault in enumerate(FAULTS)}
"""Fault to the site that commits it, and the round."""
ROUNDS = 2 + max(number for _, number in PLACES.values())


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    with Sabotaged(tmp_path_factory.mktemp("faults"), 3) as running:
        yield running


def run(deployment: Sabotaged, out: Path, *overrides: str):
    with Signals() as signals:
        return deployment.run(scenario(*overrides), out, Silent(), signals)[1]


@pytest.fixture(scope="module")
def survived(broken, tmp_path_factory) -> Path:
    """A run in which two of three sites commit every fault."""
    plans = {f"site_{site}": {} for site in (1, 2)}
    for fault, (site, number) in PLACES.items():
        plans[f"site_{site}"][number] = fault
    broken.plan(**plans)
    out = tmp_path_factory.mktemp("out") / "run"
    run(broken, out, f"rounds={ROUNDS}")
    return out


def test_the_run_ends_as_if_nothing_had_happened(survived):
    reader = RunReader(survived)
    assert reader.summary()["status"] == "finished"
    assert [row["round"] for row in reader.rounds()] == list(range(1, ROUNDS + 1))
    assert outcomes(survived, "0") == dict.fromkeys(range(1, ROUNDS + 1), ("ok", ""))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_answer_is_dropped_and_named(survived, fault):
    site, number = PLACES[fault]
    found = outcomes(survived, str(site))
    status, reason = found[number]
    assert status != "ok"
    assert matches(FAULTS[fault], reason), reason
    assert found[1][0] == found[ROUNDS][0] == "ok", "the site takes part before and after"


def test_a_site_that_hangs_past_its_deadline_is_named_and_comes_back(broken, tmp_path):
    broken.plan(site_1={2: "hang"})
    run(broken, tmp_path / "run", "rounds=3", "deployment.round_timeout=20s")
    found = outcomes(tmp_path / "run", "1")
    assert found[2][0] != "ok"
    assert matches("no answer in time|did not answer|worker ended", found[2][1]), found
    assert found[3] == ("ok", "")
    wait_for(lambda: "worker ended (exit code 75)" in broken.log("site-1"), "the worker is ended")


def test_a_wrong_authority_is_refused_by_the_site(broken, tmp_path):
    provision.init(tmp_path / "other", ["127.0.0.1"])
    with ending(
        broken.client("stranger", broken.address, tmp_path / "other" / "ca.crt", broken.key("site-0"))
    ):
        wait_for(
            lambda: "is not signed by --ca" in broken.log("stranger"),
            "the site says that the authority is wrong",
        )


def test_an_unknown_key_is_refused_by_the_coordinator(broken, tmp_path):
    # Made with the same authority, but not known to the coordinator: it reads keys when it starts.
    shutil.copytree(broken.folder / "secrets", tmp_path / "secrets")
    provision.add_client(tmp_path / "secrets", "late", broken.address)
    key = tmp_path / "secrets" / "clients" / "late" / "late.key"
    with ending(broken.client("late", broken.address, broken.authority, key)):
        wait_for(
            lambda: "does not know this key" in broken.log("late"), "the site says that its key is unknown"
        )


def test_plain_http_is_refused(broken):
    with pytest.raises((urllib.error.URLError, OSError)):
        urllib.request.urlopen(f"http://{broken.address}/health", timeout=10.0)
    context = ssl.create_default_context(cafile=str(broken.authority))
    with urllib.request.urlopen(f"https://{broken.address}/health", timeout=10.0, context=context) as answer:
        assert answer.status == 200
