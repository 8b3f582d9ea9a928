"""Faults that take minutes, most of them because Flower gives up a silent node after 60 s: ``make test-deploy``."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fedbal import simulation
from fedbal.deployment import certificates, provision
from fedbal.deployment.manifest import Manifest
from fedbal.deployment.processes import free_port
from fedbal.interrupts import Signals
from fedbal.observer import Silent
from fedbal.results import RunReader
from tests.deployment.harness import (
    HOST,
    CoordinatorProcess,
    Proxy,
    Sabotaged,
    ending,
    matches,
    outcomes,
    places,
    require_named,
    rows,
    scenario,
    start,
    wait_for,
)
from tests.scenarios import sha256

pytestmark = pytest.mark.deploy
MODEL = "model.safetensors"


class Meanwhile(Silent):
    """Does something once, after a round."""

    def __init__(self, number: int, act) -> None:
        self._number = number
        self._act = act

    def round_finished(self, row) -> None:
        if row["round"] == self._number:
            self._act()


def run(deployment: Sabotaged, out: Path, *overrides: str, observer=None):
    deployment.plan()
    with Signals() as signals:
        return deployment.run(
            scenario(*overrides, sites=len(deployment.names)), out, observer or Silent(), signals
        )[1]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    with Sabotaged(tmp_path_factory.mktemp("faults"), 3) as running:
        yield running


FAULTS = ("oversized", "zero weight", "negative weight", "no weight", "empty", "none", "exit")
PLACES, ROUNDS = places(FAULTS)


@pytest.fixture(scope="module")
def survived(deployment, tmp_path_factory) -> Path:
    """A run in which two of three sites commit every fault that the quick tests leave out."""
    out = tmp_path_factory.mktemp("out") / "run"
    deployment.commit(PLACES, out, f"rounds={ROUNDS}")
    return out


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_answer_is_dropped_and_named(survived, fault):
    require_named(fault, PLACES, ROUNDS, survived)


def test_a_site_that_hangs_past_its_deadline_is_named_and_comes_back(deployment, tmp_path):
    deployment.commit({"hang": (1, 2)}, tmp_path / "run", "rounds=3", "deployment.round_timeout=20s")
    found = outcomes(tmp_path / "run", "1")
    assert found[2][0] != "ok"
    assert matches("no answer in time|did not answer|worker ended", found[2][1]), found
    assert found[3] == ("ok", "")
    wait_for(lambda: "worker ended (exit code 75)" in deployment.log("site-1"), "the worker is ended")


def test_a_site_that_is_killed_is_named_and_comes_back_with_its_key(deployment, tmp_path):
    def power_failure():
        deployment.kill_site("site-2")
        deployment.start_site("site-2")

    out = tmp_path / "run"
    patient = ("rounds=6", "deployment.round_timeout=150s", "deployment.reconnect=200s")
    run(deployment, out, *patient, observer=Meanwhile(2, power_failure))
    found = outcomes(out, "2")
    assert [found[number][0] for number in (1, 2)] == ["ok", "ok"]
    assert found[6] == ("ok", ""), found
    assert "does not know this key, or has not given up the connection" in deployment.log("site-2")
    assert all(one == ("ok", "") for client in "01" for one in outcomes(out, client).values())
    assert RunReader(out).summary()["status"] == "finished"


def test_two_sites_with_one_key_are_one_site(deployment, tmp_path):
    twin = deployment.client(
        "twin", deployment.address, deployment.authority, deployment.key("site-0"), "--accept", "any"
    )
    with ending(twin):
        wait_for(lambda: "has not given up the connection" in deployment.log("twin"), "the twin is refused")
        run(deployment, tmp_path / "run", "rounds=2")
    reader = RunReader(tmp_path / "run")
    assert [row["sampled"] for row in reader.rounds()] == [3, 3]
    assert outcomes(tmp_path / "run", "0") == {1: ("ok", ""), 2: ("ok", "")}


def test_a_coordinator_that_is_killed_goes_on_to_the_same_bytes(tmp_path):
    chosen = scenario("rounds=6", "strategy=scaffold", "client.codec=int8", sites=2)
    simulation.run(chosen, tmp_path / "simulated")
    with CoordinatorProcess(tmp_path, chosen, 2) as running:
        first = running.server()
        running.sites()
        wait_for(lambda: running.done() >= 2, "two rounds are done")
        first.kill()
        done = running.done()
        second = running.server()
        wait_for(lambda: second.poll() is not None, "the run is done")
        assert second.poll() == 0, (tmp_path / "server.log").read_text()[-2000:]
    assert 2 <= done < 6
    assert sha256(running.out / MODEL) == sha256(tmp_path / "simulated" / MODEL)
    assert [row["round"] for row in rows(running.out, "rounds.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_a_site_whose_owner_has_not_agreed_stops_and_comes_back_after_that(tmp_path):
    chosen = scenario("rounds=2", sites=1)
    with CoordinatorProcess(tmp_path, chosen, 1) as running:
        server = running.server()
        (site,) = running.sites(accept=None)
        wait_for(lambda: site.poll() is not None, "the site stops")
        assert site.poll() == 3
        told = (tmp_path / "site-0.log").read_text()
        wanted = Manifest.of(chosen).hash
        assert f"manifest {wanted}" in told
        assert "may reveal training rows" in told
        assert running.done() == 0
        sent = (tmp_path / "site-0" / "sent.jsonl").read_text().splitlines()
        assert {json.loads(line)["message"] for line in sent} == {"query.join"}
        assert f"its owner has not agreed yet to what it is asked to send (manifest {wanted[:16]})" in (
            tmp_path / "server.log"
        ).read_text().replace("\n", " ")
        running.sites(accept=wanted)
        wait_for(lambda: server.poll() is not None, "the run is done")
        assert server.poll() == 0, (tmp_path / "server.log").read_text()[-2000:]
    items = [
        json.loads(line)["items"] for line in (tmp_path / "site-0" / "sent.jsonl").read_text().splitlines()
    ]
    assert sum("model" in row for row in items) == 2


@pytest.fixture
def expired(tmp_path):
    """Secrets whose certificate has run out, and a TLS server that shows it."""
    secrets = tmp_path / "secrets"
    provision.init(secrets, [HOST])
    provision.add_client(secrets, "site-0", f"{HOST}:8000")
    authority = x509.load_pem_x509_certificate((secrets / "ca.crt").read_bytes())
    authority_key, key = (
        serialization.load_pem_private_key((secrets / name).read_bytes(), None)
        for name in ("ca.key", "server.key")
    )
    long_ago = datetime.now(UTC) - timedelta(days=3)
    old = certificates.new_server(key.public_key(), authority, authority_key, [HOST], long_ago, 1)
    (secrets / "server.pem").write_bytes(certificates.certificate_bytes(old))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(secrets / "server.pem", secrets / "server.key")
    server = http.server.HTTPServer((HOST, 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield secrets, server.server_address[1]
    server.shutdown()
    server.server_close()


def test_an_expired_certificate_is_refused_by_both_sides(tmp_path, expired):
    secrets, port = expired
    key = secrets / "clients" / "site-0" / "site-0.key"
    arguments = ["client", "--server", f"{HOST}:{port}", "--ca", str(secrets / "ca.crt"), "--key", str(key)]
    log = tmp_path / "site.log"
    with ending(start(log, tmp_path / "home", *arguments, "--state", str(tmp_path / "state"))):
        wait_for(lambda: "has expired" in log.read_text(), "the site says that the certificate has expired")
    log = tmp_path / "server.log"
    arguments = ["server", "quickstart", "--port", str(free_port()), "--tls", str(secrets), "--clients", "1"]
    with ending(start(log, tmp_path / "home", *arguments, "--state", str(tmp_path / "server"))) as server:
        wait_for(lambda: server.poll() is not None, "the coordinator gives up")
        assert server.poll() in (1, 2)
    assert "expired" in log.read_text()


@pytest.mark.parametrize(
    ("rate", "delay"), [(125_000.0, 0.0), (None, 0.3)], ids=["1 Mbit/s", "300 ms each way"]
)
def test_a_slow_or_late_network_changes_nothing(tmp_path, rate, delay):
    chosen = scenario("rounds=2", sites=2)
    simulation.run(chosen, tmp_path / "simulated")
    with CoordinatorProcess(tmp_path, chosen, 2) as running, Proxy(running.port, delay, rate) as proxy:
        server = running.server()
        running.sites(f"{HOST}:{proxy.port}")
        wait_for(lambda: server.poll() is not None, "the run is done")
        assert server.poll() == 0, (tmp_path / "server.log").read_text()[-2000:]
        assert proxy.connections > 4
    assert sha256(running.out / MODEL) == sha256(tmp_path / "simulated" / MODEL)


def test_cut_connections_change_nothing(tmp_path):
    chosen = scenario("rounds=4", sites=2)
    simulation.run(chosen, tmp_path / "simulated")
    with CoordinatorProcess(tmp_path, chosen, 2) as running, Proxy(running.port) as proxy:
        server = running.server()
        running.sites(f"{HOST}:{proxy.port}")
        cut = 0
        for number in (1, 2, 3):
            wait_for(lambda number=number: running.done() >= number, f"round {number} is done")
            cut += proxy.cut()
        wait_for(lambda: server.poll() is not None, "the run is done")
        assert server.poll() == 0, (tmp_path / "server.log").read_text()[-2000:]
    assert cut > 0
    assert sha256(running.out / MODEL) == sha256(tmp_path / "simulated" / MODEL)


def test_a_coordinator_that_comes_back_on_another_port_is_found_through_its_address(tmp_path):
    chosen = scenario("rounds=4", sites=2)
    simulation.run(chosen, tmp_path / "simulated")
    with CoordinatorProcess(tmp_path, chosen, 2) as running, Proxy(running.port) as proxy:
        server = running.server()
        running.sites(f"{HOST}:{proxy.port}")
        wait_for(lambda: running.done() >= 2, "two rounds are done")
        server.kill()
        running.port = proxy.upstream = free_port()
        proxy.cut()
        server = running.server()
        wait_for(lambda: server.poll() is not None, "the run is done")
        assert server.poll() == 0, (tmp_path / "server.log").read_text()[-2000:]
    assert sha256(running.out / MODEL) == sha256(tmp_path / "simulated" / MODEL)


def test_a_model_of_200_mb_travels(tmp_path):
    # 64 inputs, 10 classes: (64 + 1 + 10) h + 10 numbers of 4 bytes.
    with Sabotaged(tmp_path / "deployment", 1) as deployment:
        out = tmp_path / "run"
        changes = ("rounds=1", "model={name: mlp, hidden: [667000]}", "client.local_epochs=1")
        run(deployment, out, *changes, "client.batch_size=300", "deployment.round_timeout=8m")
    (row,) = RunReader(out).rounds()
    assert row["bytes_up"] > 200_000_000
    assert outcomes(out, "0") == {1: ("ok", "")}


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 360 MB, the least with which a site starts, for its state; only root can make one."""
    place = tmp_path / "deployment" / "site-1"
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=360m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


class Disk(Silent):
    """Fills a disk after round 2 and makes room after round 5."""

    def __init__(self, place: Path) -> None:
        self._fill = place / "fill"

    def round_finished(self, row) -> None:
        if row["round"] == 2:
            for piece in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError), self._fill.open("ab", buffering=0) as handle:
                    while handle.write(bytes(piece)):
                        pass
        if row["round"] == 5:
            self._fill.unlink()


def test_a_site_whose_disk_is_full_is_named_and_goes_on_when_there_is_room(tmp_path, small_disk):
    with Sabotaged(tmp_path / "deployment", 2) as deployment:
        run(deployment, tmp_path / "run", "rounds=8", "strategy=scaffold", observer=Disk(small_disk))
    found = outcomes(tmp_path / "run", "1")
    assert found[1] == found[2] == found[8] == ("ok", "")
    assert any(status != "ok" and matches("no space left", reason) for status, reason in found.values()), (
        found
    )
    assert all(one == ("ok", "") for one in outcomes(tmp_path / "run", "0").values())
