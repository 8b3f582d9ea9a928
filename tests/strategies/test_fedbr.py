"""FedBR's exchange before round 1 and whole runs with it."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
from flwr.app import ConfigRecord
from safetensors.numpy import load_file

from clients.projection import HEAD
from fedbal.assembly import assemble
from fedbal.contract import check
from fedbal.errors import RunError
from fedbal.grid.inprocess import InProcessGrid
from fedbal.interrupts import Interrupted, StopRequested
from fedbal.observer import Silent
from fedbal.protocol import PSEUDO, PSEUDO_SAMPLES, config_of, to_arrays, to_record
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from fedbal.trained import open_trained
from strategies.fedbr import STATE, FedBR
from tests.scenarios import digits, sha256

SMALL = ("strategy=fedbr", "client.batch_size=8")


class StopAfterTwo(Silent):
    def round_finished(self, row):
        if row["round"] == 2:
            raise StopRequested(signal.SIGTERM)


def opened(*changes, spoil=None):
    """Return a rule after its exchange with real clients, its queries and the replies."""
    assembly = assemble(digits(*SMALL, *changes), "cpu")
    grid = InProcessGrid(assembly.clients(), assembly.directory, assembly.population.nodes)
    queries = list(assembly.strategy.configure_opening(grid))
    replies = grid.send_and_receive(queries)
    if spoil is not None:
        replies = spoil(replies)
    assembly.strategy.aggregate_opening(replies)
    return assembly, queries, replies


def samples(rule):
    return rule.state_dict()[STATE]


def test_the_server_gets_as_many_samples_as_a_batch_has():
    assembly, queries, replies = opened()
    found = samples(assembly.strategy)
    assert found.shape == (8, *assembly.federation.dataset.input_shape)
    asked = [config_of(query.content)[PSEUDO_SAMPLES] for query in queries]
    assert sum(asked) == 8
    sent = [to_arrays(reply.content.array_records[PSEUDO])["x"] for reply in replies]
    assert [len(share) for share in sent] == asked
    np.testing.assert_array_equal(np.sort(np.concatenate(sent).sum((1, 2, 3))), np.sort(found.sum((1, 2, 3))))


def test_all_clients_and_rounds_get_the_same_samples_and_nothing_frozen():
    assembly, _, _ = opened()
    rule, record = assembly.strategy, to_record(assembly.initial)
    grid = InProcessGrid(assembly.clients(), assembly.directory, assembly.population.nodes)
    for server_round in (1, 2):
        messages = list(rule.configure_train(server_round, record, ConfigRecord(), grid))
        for message in messages:
            assert set(message.content.array_records) == {"arrays", PSEUDO}
            sent = to_arrays(message.content.array_records[PSEUDO])["x"]
            np.testing.assert_array_equal(sent, samples(rule))
        (reply,) = grid.send_and_receive(messages[:1])
        assert set(reply.content.array_records) == {"arrays"}
        assert list(reply.content.array_records["arrays"]) == list(assembly.initial)


def test_what_failed_clients_owe_is_made_up_by_the_others():
    assembly, _, replies = opened(spoil=lambda replies: replies[1:])
    found = samples(assembly.strategy)
    assert len(found) == 8
    assert len(np.unique(found, axis=0)) < 8
    with pytest.raises(ValueError, match="no client sent pseudo-samples"):
        FedBR().aggregate_opening([])
    assert replies


def test_wrong_samples_are_left_out():
    def spoil(replies):
        content = replies[0].content
        x = to_arrays(content.array_records[PSEUDO])["x"]
        content[PSEUDO] = to_record({"x": np.full_like(x, np.nan)})
        return replies

    assembly, _, _ = opened(spoil=spoil)
    assert np.isfinite(samples(assembly.strategy)).all()


def test_a_restored_rule_has_the_same_samples():
    assembly, _, _ = opened()
    other = FedBR()
    other.load_state_dict(assembly.strategy.state_dict())
    np.testing.assert_array_equal(samples(other), samples(assembly.strategy))


def test_fewer_samples_than_a_batch_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"strategy\.samples is 4"):
        run(digits(*SMALL, "strategy={name: fedbr, samples: 4}"), tmp_path / "run")


def test_another_client_update_is_told_apart(tmp_path):
    with pytest.raises(RunError, match=r"choose client\.update: auto or fedbr"):
        run(digits(*SMALL, "client.update=standard"), tmp_path / "run")


@pytest.mark.parametrize("pseudo", ["rsm", "mixture"])
def test_a_run_learns_and_resumes_with_the_same_bytes(tmp_path, pseudo):
    scenario = digits(f"strategy={{name: fedbr, pseudo: {pseudo}}}", "client.batch_size=8", "rounds=6")
    run(scenario, tmp_path / "whole")
    assert RunReader(tmp_path / "whole").summary()["final"]["accuracy"] > 0.3
    with pytest.raises(Interrupted):
        run(scenario, tmp_path / "part", observer=StopAfterTwo())
    resume(tmp_path / "part")
    for name in ("model.safetensors", "fingerprints.json"):
        assert sha256(tmp_path / "part" / name) == sha256(tmp_path / "whole" / name)
    one, two = (RunReader(tmp_path / name).summary()["bytes"] for name in ("whole", "part"))
    assert one == two


def test_the_exchange_is_counted_once(tmp_path):
    run(digits(*SMALL, "cohort.fraction=1.0"), tmp_path / "run")
    first, second, *_ = RunReader(tmp_path / "run").rounds()
    assert first["bytes_up"] - second["bytes_up"] > 8 * 64 * 4
    assert first["bytes_down"] > second["bytes_down"]


def test_without_weights_it_is_fedavg_beside_the_head(tmp_path):
    run(digits("client.batch_size=8"), tmp_path / "plain")
    run(digits("strategy={name: fedbr, mu: 0, lam: 0}", "client.batch_size=8"), tmp_path / "ours")
    plain, ours = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "ours"))
    assert {name for name in ours if not name.startswith(HEAD)} == set(plain)
    for name, value in plain.items():
        np.testing.assert_array_equal(value, ours[name])


def test_the_head_is_averaged_and_left_out_of_predictions(tmp_path):
    run(digits(*SMALL, "rounds=2"), tmp_path / "run")
    trained = load_file(tmp_path / "run" / "model.safetensors")
    before = assemble(digits(*SMALL), "cpu").complete
    heads = [name for name in trained if name.startswith(HEAD)]
    assert len(heads) == 6
    assert all(not np.array_equal(trained[name], before[name]) for name in heads)
    network = open_trained(tmp_path / "run").network
    assert not any(name.startswith(HEAD) for name in network.state_dict())


def test_ray_gives_the_same_bytes(tmp_path):
    pytest.importorskip("ray")
    for backend in ("inprocess", "ray"):
        run(digits(*SMALL, "rounds=2", f"runtime.backend={backend}", "runtime.workers=2"), tmp_path / backend)
    one, two = (tmp_path / name / "model.safetensors" for name in ("inprocess", "ray"))
    assert sha256(one) == sha256(two)


def test_the_update_keeps_the_contract():
    verdicts = {verdict.title: verdict for verdict in check("clients.fedbr:FedBR", train=False)}
    assert {verdict.status for verdict in verdicts.values()} == {"passed"}, json.dumps(
        {title: verdict.seen for title, verdict in verdicts.items()}
    )
