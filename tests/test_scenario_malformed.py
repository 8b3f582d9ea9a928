"""Scenarios that are wrong: each line of the message says where, what was given, what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedbal.cli import app
from fedbal.errors import UsageError
from fedbal.scenario import from_mapping, load

GOOD = """\
name: good
rounds: 2
data: {dataset: digits, partition: {name: dirichlet, clients: 5}}
model: {name: mlp, hidden: [8]}
strategy: {name: feddisco, a: 0.5}
client: {local_epochs: 1, optimizer: {name: sgd, lr: 0.1}}
"""

CASES: list[tuple[str, str, str, str]] = [
    # changed line, new line, where, message
    ("rounds: 2", "rounds: 0", "2: rounds", "got 0; an integer >= 1 is needed"),
    ("rounds: 2", "rounds: true", "2: rounds", "got true; an integer >= 1"),
    ("rounds: 2", 'rounds: "2"', "2: rounds", 'got "2"; an integer >= 1'),
    ("rounds: 2", 'rounds: "2"', "2: rounds", "remove the quotes."),
    ("rounds: 2", "rounds: 2.0", "2: rounds", "got 2.0; an integer >= 1"),
    ("rounds: 2", "rounds: 2.0", "2: rounds", "write 2."),
    ("rounds: 2", "rounds: 2.5", "2: rounds", "got 2.5; an integer >= 1"),
    ("rounds: 2", "rounds: [1]", "2: rounds", "got [1]; an integer >= 1"),
    ("rounds: 2", "rounds:", "2: rounds", "got null; a value is needed"),
    ("rounds: 2", "round: 2", "2: round", "unknown key; did you mean rounds"),
    ("rounds: 2", "round: 2", "1: rounds", "missing; an integer >= 1 is needed"),
    ("name: good", "name: 3", "1: name", "got 3; text is needed"),
    ("name: good", "name: 3", "1: name", "put it in quotes."),
    ("name: good", "name: ../x", "1: name", "got ../x; text"),
    ("name: good", "name: ''", "1: name", 'got ""; text'),
    (
        "dataset: digits,",
        "dataset: digit,",
        "3: data.dataset",
        "did you mean digits? available: ",
    ),
    ("dataset: digits,", "dataset: [],", "3: data.dataset", "got []; unknown dataset"),
    ("dataset: digits,", "dataset: 3,", "3: data.dataset", "got 3; unknown dataset; available: "),
    (
        "dataset: digits,",
        "dataset: digit, partion: 3,",
        "3: data.partion",
        "unknown key; did you mean partition",
    ),
    (
        "dataset: digits,",
        "dataset: digit, test: 2, validation: 2,",
        "3: data.validation",
        "got 2; a number >= 0 and < 1",
    ),
    ("dataset: digits,", "dataset: table,", "3: data.path", "missing; text is needed (The file, relative"),
    (
        "data: {dataset: digits, partition: {name: dirichlet, clients: 5}}",
        "data: table",
        "3: data.path",
        "missing",
    ),
    ("data: {dataset: digits, partition: {name: dirichlet, clients: 5}}", "data: 3", "3: data", "got 3"),
    (
        "name: dirichlet,",
        "name: dirichle,",
        "3: data.partition.name",
        "unknown partition; did you mean dirichlet",
    ),
    ("name: dirichlet,", "", "3: data.partition", "the key `name` is missing; one of dirichlet, "),
    ("clients: 5", "clients: 0", "3: data.partition.clients", "got 0; an integer >= 1"),
    ("clients: 5", "alfa: 0.1", "3: data.partition.alfa", "unknown key; did you mean alpha?"),
    ("clients: 5", "alpha: 0", "3: data.partition.alpha", "got 0; a number > 0"),
    (
        "clients: 5}",
        "clients: 5}, long_tail: {imbalance_factor: 0.01}",
        "3: data.long_tail.imbalance_factor",
        "100?",
    ),
    (
        "clients: 5}",
        "clients: 5}, long_tail: {}",
        "3: data.long_tail.imbalance_factor",
        "missing; a number >= 1",
    ),
    (
        "digits, partition: {name: dirichlet, clients: 5}",
        f"table, path: {'x' * 5000}",
        "3: data.path",
        "no usable path",
    ),
    (
        "digits, partition: {name: dirichlet, clients: 5}",
        'table, path: "a\\0b"',
        "3: data.path",
        "no usable path",
    ),
    (
        "digits, partition: {name: dirichlet, clients: 5}",
        "table, path: ~nobody-here/x",
        "3: data.path",
        "no usable path",
    ),
    (
        "name: feddisco, a: 0.5",
        "name: '~nobody-here/x.py:A'",
        "5: strategy.name",
        "got ~nobody-here/x.py:A; ",
    ),
    ("name: feddisco, a: 0.5", 'name: "a\\0.py:A"', "5: strategy.name", "; embedded null byte"),
    ("name: feddisco, a: 0.5", "name: gone.py:A", "5: strategy.name", "no file 'gone.py' in "),
    ("clients: 5}", "clients: 5}, test: 1.0", "3: data.test", "got 1.0; a number > 0 and < 1"),
    ("hidden: [8]", "hidden: 8", "4: model.hidden", "got 8; a list of at least 1, each an integer >= 1"),
    ("hidden: [8]", "hidden: [8, 0]", "4: model.hidden[1]", "got 0; an integer >= 1"),
    ("hidden: [8]", "hidden: [8, true]", "4: model.hidden[1]", "got true; an integer >= 1"),
    ("hidden: [8]", "hidden: []", "4: model.hidden", "got []; a list of at least 1"),
    (
        "name: mlp",
        "name: mpl",
        "4: model.name",
        "got mpl; unknown model; did you mean mlp? available: logistic",
    ),
    ("model: {name: mlp, hidden: [8]}", "", "1: model", "missing; one of logistic, mlp, cnn"),
    (
        "name: feddisco",
        "name: fedisco",
        "5: strategy.name",
        "got fedisco; unknown strategy; did you mean feddisco",
    ),
    ("name: feddisco", "name: fedisco", "5: strategy.name", "or your own as ./file.py:Class"),
    ("name: feddisco", "name: true", "5: strategy.name", "got true; a name must be text"),
    (
        "strategy: {name: feddisco, a: 0.5}",
        "strategy: fedisco",
        "5: strategy",
        "got fedisco; unknown strategy",
    ),
    (
        "strategy: {name: feddisco, a: 0.5}",
        "strategy: [fedavg]",
        "5: strategy",
        "a name or a block with a `name`",
    ),
    (
        "strategy: {name: feddisco, a: 0.5}",
        "strategy: {a: 1}",
        "5: strategy",
        "the key `name` is missing; one of fed",
    ),
    ("a: 0.5", "a: -0.1", "5: strategy.a", "got -0.1; a number >= 0 is needed (Weight of the discrepancy"),
    ("a: 0.5", "b: -1", "5: strategy.b", "got -1; a number >= 0"),
    ("a: 0.5", "a: '0.5'", "5: strategy.a", 'got "0.5"; a number >= 0'),
    ("a: 0.5", "a: .nan", "5: strategy.a", "got .nan; a finite number"),
    ("a: 0.5", f"a: {10**400}", "5: strategy.a", "; a "),
    ("a: 0.5", "metric: kll", "5: strategy.metric", "got kll; one of kl, l2, l1, cosine, only_iid"),
    ("a: 0.5", "normalise: 1", "5: strategy.normalise", "got 1; true or false"),
    ("a: 0.5", "target: [0.5, 0]", "5: strategy.target[1]", "got 0; a number > 0"),
    ("a: 0.5", "target: ~", "5: strategy.target", "got null"),
    (
        "local_epochs: 1",
        "local_epochs: 1, local_steps: 5",
        "6: client.local_steps",
        "local_epochs is given too",
    ),
    ("local_epochs: 1", "local_steps: 0", "6: client.local_steps", "got 0; an integer >= 1"),
    ("local_epochs: 1", "update: proximall", "6: client.update", "did you mean proximal?"),
    ("local_epochs: 1", "update: {name: proximal, mu: -1}", "6: client.update.mu", "got -1; a number >= 0"),
    ("local_epochs: 1", "loss: mse", "6: client.loss", "got mse; unknown loss; available: cross_entropy"),
    ("local_epochs: 1", "batch_size: 0", "6: client.batch_size", "got 0; an integer >= 1"),
    ("name: sgd", "name: lion", "6: client.optimizer.name", "got lion; unknown optimizer; available: sgd"),
    ("lr: 0.1", "lr: 0", "6: client.optimizer.lr", "got 0; a number > 0"),
    ("lr: 0.1", "momentum: 1", "6: client.optimizer.momentum", "got 1; a number >= 0 and < 1"),
    ("lr: 0.1", "learning_rate: 1", "6: client.optimizer.learning_rate", "name, lr, momentum"),
]

ADDED: list[tuple[str, str, str]] = [
    ("seed: -1", "seed", "got -1; an integer >= 0 or a block with the keys partition, init, training"),
    ("seed: true", "seed", "got true; an integer >= 0"),
    ("seed: {init: -1}", "seed.init", "got -1; an integer >= 0"),
    ("seed: {inti: 1}", "seed.inti", "unknown key; did you mean init"),
    ("cohort: {fraction: 0}", "cohort.fraction", "got 0; a number > 0 and <= 1"),
    ("cohort: {fraction: 1.5}", "cohort.fraction", "got 1.5; a number > 0 and <= 1"),
    ("cohort: {size: 0}", "cohort.size", "got 0; an integer >= 1"),
    ("cohort: {size: 6}", "cohort.size", "got 6; at most the number of clients, data.partition.clients = 5"),
    ("cohort: {fraction: 0.5, size: 3}", "cohort.size", "fraction is given too"),
    ("cohort: 0.5", "cohort", "got 0.5; a block with the keys fraction, size"),
    ("systems: {stragglers: {fraction: 1.1}}", "systems.stragglers.fraction", "a number >= 0 and <= 1"),
    ("systems: {stragglers: {policy: keep}}", "systems.stragglers.policy", "one of drop, partial"),
    ("systems: {client_dropout: 1}", "systems.client_dropout", "got 1; a number >= 0 and < 1"),
    ("systems: {speed: {sigma: -1}}", "systems.speed.sigma", "got -1; a number >= 0"),
    ("evaluation: {every: 0}", "evaluation.every", "got 0; an integer >= 1"),
    ("evaluation: {clients: some}", "evaluation.clients", "got some; one of all, cohort or an integer >= 0"),
    ("evaluation: {clients: -1}", "evaluation.clients", "got -1; one of all, cohort or an integer >= 0"),
    ("evaluation: {clients: true}", "evaluation.clients", "got true; one of all, cohort or an integer >= 0"),
    ("evaluation: {min_client_samples: x}", "evaluation.min_client_samples", "got x; an integer >= 0"),
    ("runtime: {backend: dask}", "runtime.backend", "got dask; one of auto, inprocess, ray"),
    ("runtime: {workers: 0}", "runtime.workers", "got 0; auto or an integer >= 1"),
    ("runtime: {device: gpu}", "runtime.device", "got gpu; text is needed (auto, cpu, cuda or cuda:N"),
    ("runtime: {num_gpus: -1}", "runtime.num_gpus", "got -1; auto or a number >= 0"),
    ("runtime: {address: null}", "runtime.address", "got null"),
    ("zoo: {a: 1}", "zoo", "unknown key; allowed here: name, seed, rounds"),
    ("rounds: 4", "rounds", "given twice, in line 2 and in line 7; delete one of them."),
]


def wrong(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(path)
    message = str(caught.value)
    assert "Input should" not in message
    assert "validation error" not in message
    return [line.removeprefix(f"{path}:") for line in message.splitlines()]


def test_the_good_one_is_good(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    assert load(path).rounds == 2


@pytest.mark.parametrize(("old", "new", "where", "fragment"), CASES)
def test_a_wrong_value(tmp_path: Path, old: str, new: str, where: str, fragment: str) -> None:
    assert old in GOOD
    lines = wrong(tmp_path, GOOD.replace(old, new))
    assert [line for line in lines if line.startswith(f"{where}: ") and fragment in line], lines


@pytest.mark.parametrize(("added", "key", "fragment"), ADDED)
def test_a_wrong_addition_is_the_only_problem(tmp_path: Path, added: str, key: str, fragment: str) -> None:
    (line,) = wrong(tmp_path, GOOD + added + "\n")
    assert line.startswith(f"7: {key}: ")
    assert fragment in line


def test_all_problems_of_a_file_come_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    text = (
        "name: 1\nrounds: -1\nseed: x\ndata: {dataset: digits, valdation: 0.1, partition: {name: irid}}\n"
        "model: {name: mlp, hidden: [x]}\nstrategy: {name: fedprox, mu: -1}\n"
        "client: {batch_size: ~, optimizer: {lr: '0.1'}}\ncohort: {fraction: 2}\nnonsense: 1\n"
    )
    keys = [line.split(": ")[0:2] for line in wrong(tmp_path, text)]
    assert keys == [
        ["1", "name"],
        ["2", "rounds"],
        ["3", "seed"],
        ["4", "data.partition.name"],
        ["4", "data.valdation"],
        ["5", "model.hidden[0]"],
        ["6", "strategy.mu"],
        ["7", "client.batch_size"],
        ["7", "client.optimizer.lr"],
        ["8", "cohort.fraction"],
        ["9", "nonsense"],
    ]


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text\n", "3\n"])
def test_a_file_that_is_no_block(tmp_path: Path, text: str) -> None:
    (line,) = wrong(tmp_path, text)
    assert line.startswith("1: got ")
    assert "a block with the keys name, seed, rounds, data" in line


def test_long_values_are_shortened_and_cannot_control_a_terminal(tmp_path: Path) -> None:
    (line,) = wrong(tmp_path, GOOD.replace("rounds: 2", f'rounds: "\\e[31m{"x" * 500}"'))
    assert "\x1b" not in line
    assert "xxx...; an integer" in line
    assert len(line) < 200


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_python_values_that_no_file_can_hold(value: object) -> None:
    raw = {"name": "x", "rounds": value, "data": "digits", "model": "logistic", "strategy": "fedavg"}
    with pytest.raises(UsageError, match=r"scenario: rounds: got (None|nan|inf); a "):
        from_mapping(raw)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("rounds: 2", "rounds: 0"),
        "",
        "a: [1\n",
        GOOD + "---\n" + GOOD,
        "a: !!python/name:os.system x\n",
        "\x00",
        "&a [*a]",
    ],
)
@pytest.mark.parametrize("command", ["validate", "run", "partition"])
def test_every_command_exits_with_2_and_one_message(tmp_path: Path, command: str, text: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    done = CliRunner().invoke(app, [command, str(path)])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert str(path) in done.stderr
    assert "Traceback" not in done.output
