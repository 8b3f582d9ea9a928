"""A run's model in other formats: the same numbers from raw inputs, and a card that says what it is."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import fedbal
from fedbal import export as exporting
from fedbal.data.dataset import Scaling
from fedbal.data.federation import load_federation
from fedbal.errors import RunError, UsageError
from fedbal.export import export
from fedbal.groups import class_groups
from fedbal.task import Preparation, Task
from fedbal.trained import Deployable, open_trained
from tests.scenarios import digits
from tests.test_cli import call, fails


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return fedbal.run(digits("rounds=2"), tmp_path_factory.mktemp("export") / "run").directory


@pytest.fixture(scope="module")
def images():
    return load_federation(digits().data, 0).dataset.x_test


def raw_logits(directory, x):
    """What the run's own network says, its inputs scaled by hand."""
    network = fedbal.open_run(directory).model()
    with torch.no_grad():
        return network(torch.from_numpy(x).to(torch.float32) / 16.0).numpy()


def test_torchscript_takes_raw_inputs_and_agrees(finished, images, tmp_path):
    path, _ = export(finished, "torchscript", tmp_path / "digits.pt")
    extra = {"task.json": ""}
    module = torch.jit.load(str(path), _extra_files=extra)
    for rows in (images[:1], images):
        np.testing.assert_array_equal(module(torch.from_numpy(rows)).numpy(), raw_logits(finished, rows))
    assert json.loads(extra["task.json"])["classes"] == [str(digit) for digit in range(10)]


def test_safetensors_hold_weights_scaling_and_task(finished, images, tmp_path):
    path, _ = export(finished, "safetensors", tmp_path / "digits.safetensors")
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        task = json.loads(file.metadata()["task"])
    assert tensors["divide"] == 16.0
    assert task["input_shape"] == [1, 8, 8]
    trained = open_trained(finished)
    network = fedbal.open_run(finished).model()
    for name, value in network.state_dict().items():
        assert torch.equal(tensors[f"network.{name}"], value)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        module = Deployable(network, trained.task).eval()
        module.load_state_dict(tensors)
        found = module(torch.from_numpy(images)).numpy()
    np.testing.assert_array_equal(found, raw_logits(finished, images))


def test_onnx_agrees(finished, images, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    path, _ = export(finished, "onnx", tmp_path / "digits.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for rows in (images[:1], images):
        found = session.run(["logits"], {"input": rows})[0]
        np.testing.assert_allclose(found, raw_logits(finished, rows), rtol=1e-4, atol=1e-5)
    classes = session.get_modelmeta().custom_metadata_map["classes"]
    assert json.loads(classes) == [str(digit) for digit in range(10)]


@pytest.mark.parametrize("model", ["logistic", "cnn", "{name: resnet18_gn, width: 4}"])
def test_every_model_exports(model, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(60) % 3)
    changes = [
        f"data={{dataset: table, path: {tmp_path}/own.npz, test: 0.2, partition: {{name: iid, clients: 3}}}}",
        f"model={model}",
        "rounds=1",
        "client.local_epochs=1",
    ]
    directory = fedbal.run(digits(*changes), tmp_path / "run").directory
    expected = open_trained(directory).logits(x[:7].transpose(0, 3, 1, 2))
    path, card = export(directory, "torchscript")
    assert path == directory / "export" / "model.pt"
    found = torch.jit.load(str(path))(torch.from_numpy(x[:7].transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert "x: torch.uint8, shape (n, 3, 32, 32)" in card.read_text()


def test_onnx_of_every_model(tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    x = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(60) % 3)
    for model in ("logistic", "cnn", "{name: resnet18_gn, width: 4}"):
        changes = [
            f"data={{dataset: table, path: {tmp_path}/own.npz, test: 0.2, partition: {{name: iid, clients: 3}}}}",
            f"model={model}",
            "rounds=1",
        ]
        name = re.sub(r"\W+", "", model)
        directory = fedbal.run(digits(*changes), tmp_path / name).directory
        assert export(directory, "onnx")[0].is_file()


def test_the_card_says_what_the_model_is(finished, tmp_path):
    _, card = export(finished, "torchscript", tmp_path / "digits.pt")
    assert card == tmp_path / "digits.pt.md"
    text = card.read_text()
    summary = fedbal.open_run(finished).summary
    final = summary["final"]
    assert f"| balanced accuracy | {final['balanced_accuracy']:.4f} |" in text
    for label, recall in enumerate(final["per_class_recall"]):
        assert re.search(rf"^\| {label} \| \d+ \| {recall:.4f} \|", text, re.MULTILINE)
    for heading in ("Load it", "Data", "Heterogeneity", "How good it is", "Limits", "Where it comes from"):
        assert f"## {heading}" in text
    assert "`(x / 16 - mean) / std`" in text
    fingerprints = open_trained(finished).reader.fingerprints
    for key in ("partition", "initial", "cohorts", "batches", "code"):
        assert fingerprints[key] in text
    assert f"torch {fingerprints['packages']['torch']}" in text
    assert "strategy:" in text
    never = [str(label) for label, recall in enumerate(final["per_class_recall"]) if recall == 0.0]
    assert bool(never) == ("never recognised" in text)


def test_the_card_counts_the_training_rows(finished, tmp_path):
    _, card = export(finished, "safetensors", tmp_path / "m.safetensors")
    counts = load_federation(digits().data, 0).label_counts().sum(axis=0)
    for label, count in enumerate(counts.tolist()):
        assert f"| {label} | {count} | {100.0 * count / counts.sum():.1f} % |" in card.read_text()


def test_a_wrong_export_is_not_left_behind(finished, tmp_path, monkeypatch):
    original = exporting._WRITERS["torchscript"]

    def off_by_a_little(trained, path, example):
        run = original(trained, path, example)
        return lambda x: run(x) + 0.01 * np.abs(run(x)).max()

    monkeypatch.setitem(exporting._WRITERS, "torchscript", off_by_a_little)
    with pytest.raises(RunError, match=r"differs from the model by 0\.01"):
        export(finished, "torchscript", tmp_path / "m.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--format", "onyx"], "did you mean onnx?"),
        (["--format", "torchscript", "--out", "model.onnx"], "torchscript is written to a .pt file"),
        (["--format", "torchscript", "--out", "there.pt"], "there.pt exists"),
    ],
)
def test_wrong_usage(arguments, fragment, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("there.pt").write_text("mine")
    assert fragment in fails(2, "export", str(finished), *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["there.pt"]
    assert Path("there.pt").read_text() == "mine"


def test_without_onnx_the_message_names_the_extra(finished, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    stderr = fails(2, "export", str(finished), "--out", str(tmp_path / "m.onnx"))
    assert "pip install 'fedbal[export]'" in stderr


def test_a_folder_that_is_no_finished_run(tmp_path):
    assert "is not a run directory" in fails(2, "export", str(tmp_path))
    (tmp_path / "scenario.yaml").write_text(digits().to_yaml())
    assert "no model yet (the run is interrupted)" in fails(2, "export", str(tmp_path))


def test_the_command(finished, tmp_path):
    done = call("export", str(finished), "--format", "safetensors", "--out", str(tmp_path / "m.safetensors"))
    assert done.exit_code == 0, done.output
    assert done.stdout == f"wrote {tmp_path}/m.safetensors and its card {tmp_path}/m.safetensors.md\n"
    with pytest.raises(UsageError, match="exists"):
        export(finished, "safetensors", tmp_path / "m.safetensors")


def test_imputation_and_scaling_are_part_of_the_model():
    task = Task(
        classes=("a", "b"),
        input_shape=(2,),
        dtype="float32",
        scaling=Scaling(),
        features=("dose", "age"),
        groups=class_groups([5, 5]),
        preparation=Preparation(fill=(3.0, 40.0), shift=(1.0, 50.0), scale=(2.0, 10.0)),
    )
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    module = Deployable(torch.nn.Identity(), task)
    x = torch.tensor([[5.0, torch.nan], [torch.nan, 70.0]])
    # (5 - 1) / 2, (40 - 50) / 10; (3 - 1) / 2, (70 - 50) / 10
    assert module(x).tolist() == [[2.0, -1.0], [1.0, 2.0]]
    kept = Deployable(torch.nn.Identity(), replace(task, preparation=replace(task.preparation, fill=())))
    assert kept(x)[0, 0] == 2.0
    assert kept(x)[0, 1].isnan()
    other = Deployable(torch.nn.Identity(), task)
    other.load_state_dict({name: value.clone() for name, value in module.state_dict().items()})
    assert torch.equal(other(x), module(x))
