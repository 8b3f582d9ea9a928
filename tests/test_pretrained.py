"""Backbones from a file: what is loaded, what is frozen, what travels, what is saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from fedbal.errors import RunError, UsageError
from fedbal.models.build import build
from fedbal.models.params import MLPParams
from fedbal.pretrained import Pretrained, read_pretrained
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from tests.scenarios import digits, sha256

SHAPE, CLASSES = (1, 8, 8), 10
FEATURES = ["features.1.weight", "features.1.bias"]
HEAD = ["classifier.weight", "classifier.bias"]


def network(seed=0):
    return build(MLPParams(hidden=[16]), SHAPE, CLASSES, seed)


def read(path, only=None, freeze="none", strict=False):
    return read_pretrained(str(path), only=only, freeze=freeze, strict=strict)


@pytest.fixture
def backbone(tmp_path):
    """The features of another seed's model, without its head."""
    path = tmp_path / "backbone.safetensors"
    state = network(seed=7).state_dict()
    save_file({name: state[name] for name in FEATURES}, path)
    return path


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "whole.safetensors"
    save_file(network(seed=7).state_dict(), path)
    return path


def test_matching_tensors_are_loaded_and_the_rest_keeps_its_seed(backbone):
    model, seeded, other = network(), network().state_dict(), network(seed=7).state_dict()
    read(backbone).apply(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, (other if name in FEATURES else seeded)[name])
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_half_precision_is_read_in_the_models_own(tmp_path):
    state = network(seed=7).state_dict()
    save_file({name: state[name].to(torch.bfloat16) for name in FEATURES}, tmp_path / "half.safetensors")
    model = network()
    read(tmp_path / "half.safetensors").apply(model)
    assert model.features[1].weight.dtype == torch.float32
    assert torch.equal(model.features[1].weight, state[FEATURES[0]].to(torch.bfloat16).float())


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("none", []),
        ("loaded", FEATURES),
        ("features", FEATURES),
        (["features"], FEATURES),
        ("features.1.bias", FEATURES[1:]),
        (["features.1.weight", "classifier.bias"], ["features.1.weight", "classifier.bias"]),
    ],
)
def test_what_is_frozen(backbone, freeze, frozen):
    model = network()
    read(backbone, freeze=freeze).apply(model)
    assert [name for name, value in model.named_parameters() if not value.requires_grad] == frozen


def test_only_some_parts_of_a_file(whole):
    model = network()
    read(whole, only="features", freeze="loaded", strict=True).apply(model)
    assert torch.equal(model.classifier.weight, network().classifier.weight)
    assert torch.equal(model.features[1].weight, network(seed=7).features[1].weight)


def refused(match, path, **options):
    with pytest.raises(UsageError, match=match):
        read(path, **options).apply(network())


def test_files_that_cannot_be_used(tmp_path, backbone, whole):
    refused("no file .*nowhere.safetensors", tmp_path / "nowhere.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors at all")
    refused("text.safetensors is no readable safetensors file", tmp_path / "text.safetensors")
    save_file({"features.1.weigth": torch.zeros(2), "x": torch.zeros(1)}, tmp_path / "names.safetensors")
    refused(
        r"none of its 2 tensors .*nearest: features.1.weigth \(the model has features.1.weight\)",
        tmp_path / "names.safetensors",
    )
    save_file({"x": torch.zeros(1)}, tmp_path / "far.safetensors")
    refused("the model has features.1.weight, features.1.bias", tmp_path / "far.safetensors")
    save_file({"classifier.weight": torch.zeros(7, 16)}, tmp_path / "shape.safetensors")
    refused(
        r"'classifier.weight' has shape \(7, 16\), the model's \(10, 16\)", tmp_path / "shape.safetensors"
    )
    save_file({"classifier.bias": torch.zeros(10, dtype=torch.int64)}, tmp_path / "type.safetensors")
    refused("'classifier.bias' is torch.int64, the model's torch.float32", tmp_path / "type.safetensors")
    save_file({"classifier.bias": torch.full((10,), torch.nan)}, tmp_path / "nan.safetensors")
    refused("'classifier.bias' holds values that are not finite", tmp_path / "nan.safetensors")
    refused("missing classifier.weight, classifier.bias; unknown none", backbone, strict=True)
    refused(r"pretrained.only: got feature; .*did you mean features", whole, only="feature")
    refused(r"pretrained.freeze: got feature; .*did you mean features", whole, freeze="feature")
    refused("leaves nothing to train", whole, freeze="loaded")


def test_a_surplus_tensor_is_named_only_when_strict(tmp_path):
    state = {**network(seed=7).state_dict(), "extra.weight": torch.zeros(1)}
    save_file(state, tmp_path / "more.safetensors")
    read(tmp_path / "more.safetensors").apply(network())
    refused("unknown extra.weight", tmp_path / "more.safetensors", strict=True)


def block(path, **options):
    more = "".join(f", {key}: {value}" for key, value in options.items())
    return f"pretrained={{path: '{path}'{more}}}"


def test_frozen_tensors_neither_train_nor_travel_and_are_saved(tmp_path, backbone):
    run(digits(block(backbone, freeze="features")), tmp_path / "frozen")
    run(digits(block(backbone)), tmp_path / "tuned")
    run(digits(), tmp_path / "plain")
    frozen, tuned, plain = (RunReader(tmp_path / name) for name in ("frozen", "tuned", "plain"))
    model = load_file(frozen.path / "model.safetensors")
    assert list(model) == sorted([*FEATURES, *HEAD])
    expected = network(seed=7).state_dict()
    for name in FEATURES:
        assert np.array_equal(model[name], expected[name].numpy())
    assert not np.array_equal(model["classifier.weight"], network().classifier.weight.detach().numpy())
    assert not np.array_equal(
        load_file(tuned.path / "model.safetensors")[FEATURES[0]], expected[FEATURES[0]].numpy()
    )
    rows = [reader.rounds()[0] for reader in (frozen, tuned)]
    # 16 x 64 + 16 numbers of four bytes stay at home, of each of the four clients, both ways.
    for way in ("bytes_up", "bytes_down"):
        assert rows[1][way] - rows[0][way] >= 4 * 4 * (16 * 64 + 16)
    checkpoint = load_file(next((frozen.path / "checkpoint").iterdir()) / "model.safetensors")
    assert sorted(checkpoint) == sorted(HEAD)
    prints = [reader.fingerprints["initial"] for reader in (frozen, tuned, plain)]
    assert prints[0] == prints[1] != prints[2]
    assert frozen.rounds()[-1]["test"]["accuracy"] > frozen.rounds()[0]["test"]["accuracy"]


def test_the_saved_model_is_what_was_tested(tmp_path, backbone):
    scenario = digits(block(backbone, freeze="loaded"), "rounds=2")
    run(scenario, tmp_path / "run")
    from fedbal.assembly import assemble

    test = assemble(digits("rounds=2"), "cpu").test
    again = test(load_file(tmp_path / "run" / "model.safetensors"))
    assert again == RunReader(tmp_path / "run").rounds()[-1]["test"]


class Stop(Exception):
    pass


class AfterTwo:
    def started(self, *_): ...
    def note(self, _): ...
    def finished(self, _): ...

    def round_finished(self, row):
        if row["round"] == 2:
            raise Stop


def test_a_frozen_run_resumes_with_the_same_bytes(tmp_path, backbone):
    changes = (block(backbone, freeze="features"), "strategy={name: fedprox, mu: 0.1}")
    run(digits(*changes), tmp_path / "whole")
    with pytest.raises(Stop):
        run(digits(*changes), tmp_path / "part", observer=AfterTwo())
    resume(tmp_path / "part")
    assert sha256(tmp_path / "part" / "model.safetensors") == sha256(tmp_path / "whole" / "model.safetensors")


def test_another_backbone_is_refused_on_resume(tmp_path, backbone):
    with pytest.raises(Stop):
        run(digits(block(backbone, freeze="features")), tmp_path / "run", observer=AfterTwo())
    state = network(seed=8).state_dict()
    save_file({name: state[name] for name in FEATURES}, backbone)
    with pytest.raises(RunError, match="initial fingerprint"):
        resume(tmp_path / "run")
    backbone.unlink()
    with pytest.raises(UsageError, match="no file"):
        resume(tmp_path / "run")


def test_ray_gives_the_same_bytes(tmp_path, backbone):
    pytest.importorskip("ray")
    changes = (block(backbone, freeze="features"), "strategy=feddisco", "rounds=2")
    run(digits(*changes), tmp_path / "here")
    run(digits(*changes, "runtime={backend: ray, workers: 2}"), tmp_path / "ray")
    assert sha256(tmp_path / "here" / "model.safetensors") == sha256(tmp_path / "ray" / "model.safetensors")


def test_a_stock_strategy_gets_the_shared_tensors(tmp_path, backbone):
    adam = "strategy={name: 'flwr.serverapp.strategy:FedAdam', eta: 0.01}"
    run(digits(block(backbone, freeze="features"), adam), tmp_path / "run")
    model = load_file(tmp_path / "run" / "model.safetensors")
    assert np.array_equal(model[FEATURES[0]], network(seed=7).features[1].weight.detach().numpy())
    assert RunReader(tmp_path / "run").rounds()[-1]["replied"] == 4


OWN = '''
from torch import nn

class Own(nn.Module):
    """A user's model with batch normalisation and a part that is frozen from the start."""

    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.embed = nn.Linear(64, 12)
        self.norm = nn.BatchNorm1d(12)
        self.fixed = nn.Linear(12, 12).requires_grad_(False)
        self.head = nn.Linear(12, num_classes)

    def forward(self, x):
        return self.head(self.fixed(self.norm(self.embed(x.flatten(1)))))
'''


def test_a_users_own_model_with_batch_normalisation(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    own = f"model={{name: '{tmp_path}/own.py:Own'}}"
    run(digits(own), tmp_path / "free")
    free = load_file(tmp_path / "free" / "model.safetensors")
    checkpoint = load_file(next((tmp_path / "free" / "checkpoint").iterdir()) / "model.safetensors")
    assert set(free) - set(checkpoint) == {"fixed.weight", "fixed.bias"}
    # The model of a run is the backbone of the next; the embedding and its statistics stay as they are.
    source = tmp_path / "free" / "model.safetensors"
    run(digits(own, block(source, freeze="[embed, norm]"), "seed.init=5"), tmp_path / "frozen")
    frozen = load_file(tmp_path / "frozen" / "model.safetensors")
    same = {name for name in free if np.array_equal(free[name], frozen[name])}
    assert same == {name for name in free if name.startswith(("embed.", "norm.", "fixed."))}


def test_a_model_without_anything_to_train_is_refused(tmp_path):
    frozen = OWN.replace(
        "self.head = nn.Linear(12, num_classes)",
        "self.head = nn.Linear(12, num_classes)\n        self.requires_grad_(False)",
    )
    (tmp_path / "frozen.py").write_text(frozen)
    with pytest.raises(UsageError, match="every parameter of it is frozen"):
        run(digits(f"model={{name: '{tmp_path}/frozen.py:Own'}}"), tmp_path / "run")


def test_the_path_starts_at_the_scenario(tmp_path, backbone):
    from fedbal.scenario import load

    text = digits().to_yaml() + "pretrained: {path: ./backbone.safetensors, freeze: [features]}\n"
    (tmp_path / "mine.yaml").write_text(text)
    scenario = load(tmp_path / "mine.yaml")
    assert scenario.pretrained.path == str(backbone)
    assert load(tmp_path / "mine.yaml", ["pretrained.freeze=none"]).pretrained.freeze == "none"
    (tmp_path / "again.yaml").write_text(scenario.to_yaml())
    assert load(tmp_path / "again.yaml") == scenario


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pretrained={freeze: loaded}", r"pretrained\.path: missing"),
        ("pretrained={path: x, freeze: []}", r"pretrained\.freeze"),
        ("pretrained={path: x, stric: true}", r"did you mean strict"),
    ],
)
def test_blocks_that_cannot_be(change, message):
    with pytest.raises(UsageError, match=message):
        digits(change)


def test_tensors_survive_the_way_to_another_process(whole):
    import pickle

    loaded = read(whole, freeze="features")
    copy: Pretrained = pickle.loads(pickle.dumps(loaded))
    model = network()
    copy.apply(model)
    assert torch.equal(model.classifier.bias, network(seed=7).classifier.bias)
