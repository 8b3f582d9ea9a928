"""Faults of sites in a deployment of real processes with TLS and keys: what the coordinator makes of each."""

from __future__ import annotations

import shutil
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fedbal.deployment import provision
from fedbal.results import RunReader
from tests.deployment.harness import Sabotaged, ending, outcomes, places, require_named, wait_for

FAULTS = ("raise", "nan", "shape", "broadcast", "dtype", "missing", "stale", "kill")
PLACES, ROUNDS = places(FAULTS)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    with Sabotaged(tmp_path_factory.mktemp("faults"), 3) as running:
        yield running


@pytest.fixture(scope="module")
def survived(broken, tmp_path_factory) -> Path:
    """A run in which two of three sites commit every fault."""
    out = tmp_path_factory.mktemp("out") / "run"
    broken.commit(PLACES, out, f"rounds={ROUNDS}")
    return out


def test_the_run_ends_as_if_nothing_had_happened(survived):
    reader = RunReader(survived)
    assert reader.summary()["status"] == "finished"
    assert [row["round"] for row in reader.rounds()] == list(range(1, ROUNDS + 1))
    assert outcomes(survived, "0") == dict.fromkeys(range(1, ROUNDS + 1), ("ok", ""))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_answer_is_dropped_and_named(survived, fault):
    require_named(fault, PLACES, ROUNDS, survived)


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
