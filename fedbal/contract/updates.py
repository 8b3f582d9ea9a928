"""What every client update promises: a pure loss with a finite gradient, for one client or many at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from flwr.app import ConfigRecord, RecordDict
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.utils import _pytree as pytree

from clients.base import Batch, ClientUpdate, Forward, Frozen, LocalRound, Tensors
from clients.data import ClientData, Pool, Split
from clients.functional import ModelFunction
from clients.losses import CrossEntropy
from clients.optimizers import SGD
from clients.training import LocalPlan, train
from fedbal.contract.base import Item, Skipped, construct, parameters_are_stored, require
from fedbal.models.auxiliary import attach
from fedbal.models.linear import MLP
from fedbal.protocol import PSEUDO_SAMPLES, to_record
from fedbal.seeding import integer, stream

CLASSES, FEATURES, ROWS, BATCH = 3, 5, 24, 8


@dataclass(frozen=True)
class UpdateSubject:
    """A client update under examination; every check makes instances of its own.

    Attributes
    ----------
    kind : type
        Its class.
    parameters : Mapping
        Constructor arguments beside the criterion.
    """

    kind: type[ClientUpdate]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> ClientUpdate:
        """Return a new instance with cross-entropy as its criterion."""
        made: ClientUpdate = construct(self.kind, CrossEntropy(), **self.parameters)
        return made


class _Case:
    """One client with data, a received model and parameters some way from it."""

    def __init__(self, subject: UpdateSubject, client: int = 0) -> None:
        rng = stream(0, "contract", client)
        x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
        y = np.concatenate([np.arange(CLASSES), rng.integers(0, CLASSES, ROWS - CLASSES)]).astype(np.int64)
        split = Split(Pool(x, y), np.arange(ROWS))
        self.update = subject.make()
        self.model = _model()
        attach(self.model, self.update, (FEATURES,), 0)
        self.received = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.local = self._local(ClientData(str(client), split, split, split))
        self.frozen = self.update.before(self.local)
        self.params = {
            name: value + torch.from_numpy(rng.normal(0.0, 0.1, tuple(value.shape)).astype(np.float32))
            for name, value in self.received.items()
        }
        self.batch = Batch(*split.batch(np.arange(BATCH)), torch.ones(BATCH))

    def _local(self, data: ClientData) -> LocalRound:
        """Begin a round; what the update answers to queries comes back to it, as from a rule."""
        query = ConfigRecord({PSEUDO_SAMPLES: 2 * BATCH})
        answers = self.update.answer(LocalRound(0, {}, data, CLASSES, query))
        records = RecordDict(
            {
                name: to_record({key: value.numpy() for key, value in tensors.items()})
                for name, tensors in answers.items()
            }
        )
        return LocalRound(1, self.received, data, CLASSES, records=records)

    @property
    def forward(self) -> Forward:
        """The model as a pure function."""
        return ModelFunction(self.model)

    def loss(self, params: Tensors, batch: Batch, frozen: Frozen) -> Tensor:
        """Return the update's loss."""
        return self.update.loss(self.forward, params, batch, frozen)

    def everything(self) -> list[bytes]:
        """Return the bytes of all inputs of the loss."""
        tensors = _leaves((self.received, self.params, self.batch, self.frozen))
        tensors += list(self.model.state_dict().values())
        return [tensor.detach().numpy().tobytes() for tensor in tensors]


def _model() -> nn.Module:
    model = MLP((FEATURES,), CLASSES, [6])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            generator = torch.Generator().manual_seed(integer(0, "contract", name))
            parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval()


def _leaves(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def loss_is_a_number(subject: UpdateSubject) -> str:
    """The loss of a minibatch is a finite scalar tensor."""
    case = _Case(subject)
    loss = case.loss(case.params, case.batch, case.frozen)
    require(isinstance(loss, Tensor), f"loss() returned a {type(loss).__name__}; a tensor is needed")
    require(loss.shape == (), f"loss() returned the shape {tuple(loss.shape)}; a scalar is needed")
    require(bool(torch.isfinite(loss)), f"the loss is {float(loss.detach())}")
    return f"loss {float(loss.detach()):.4f} on {BATCH} samples"


def loss_is_pure(subject: UpdateSubject) -> str:
    """The same inputs give the same value, and nothing that goes in is written to."""
    case = _Case(subject)
    before = case.everything()
    first = case.loss(case.params, case.batch, case.frozen).detach()
    second = case.loss(case.params, case.batch, case.frozen).detach()
    require(bool(first == second), f"two calls with the same inputs gave {float(first)} and {float(second)}")
    require(
        before == case.everything(), "loss() wrote to the received model, the parameters, the batch or frozen"
    )
    return "called twice: the same value, nothing written"


def gradient_is_finite(subject: UpdateSubject) -> str:
    """Every trainable parameter gets a finite gradient."""
    case = _Case(subject)
    leaves = {name: value.clone().requires_grad_() for name, value in case.params.items()}
    loss = case.loss(leaves, case.batch, case.frozen)
    require(loss.requires_grad, "the loss does not depend on the parameters that it was given")
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    unused = [name for name, one in zip(leaves, found, strict=True) if one is None]
    require(not unused, f"no gradient reaches {', '.join(unused)}")
    bad = [n for n, one in zip(leaves, found, strict=True) if one is not None and not one.isfinite().all()]
    require(not bad, f"the gradient of {', '.join(bad)} is not finite")
    norm = torch.stack([one.square().sum() for one in found if one is not None]).sum().sqrt()
    return f"gradient norm {float(norm):.4f}"


def padding_counts_for_nothing(subject: UpdateSubject) -> str:
    """Rows of weight 0 do not change the loss."""
    case = _Case(subject)
    assert case.batch.weight is not None
    x, y, weight = (torch.cat([part, part[:3] * 0]) for part in case.batch[:3] if part is not None)
    alone = case.loss(case.params, case.batch, case.frozen).detach()
    padded = case.loss(case.params, Batch(x, y, weight), case.frozen).detach()
    require(
        bool(torch.isclose(alone, padded, rtol=1e-5)),
        f"three rows of weight 0 changed the loss from {float(alone):.6f} to {float(padded):.6f}",
    )
    return "three rows of weight 0 change nothing"


def trains_many_at_once(subject: UpdateSubject) -> str:
    """torch.func.vmap over two clients gives the gradients of one after the other."""
    cases = [_Case(subject, client) for client in range(2)]
    structure = pytree.tree_structure(cases[0].frozen)
    if any(pytree.tree_structure(case.frozen) != structure for case in cases):
        raise Skipped("falls back to the loop: clients freeze different things in before()")
    stacked = [_stack([getattr(case, part) for case in cases]) for part in ("params", "batch", "frozen")]
    alone = [grad(case.loss)(case.params, case.batch, case.frozen) for case in cases]
    dims = pytree.tree_map(lambda leaf: 0 if isinstance(leaf, Tensor) else None, stacked)
    try:
        together = vmap(grad(cases[0].loss), in_dims=tuple(dims))(*stacked)
    except Exception as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise Skipped(f"falls back to the loop, which is right but slower: {why[:200]}") from error
    for client, own in enumerate(alone):
        for name, value in own.items():
            distance = float((together[name][client] - value).norm() / value.norm().clamp_min(1e-12))
            require(
                distance <= 1e-5, f"the gradient of {name} differs by {distance:.2g} (relative L2) under vmap"
            )
    return "two clients at once have the gradients of one after the other"


def _stack(trees: list[Any]) -> Any:
    leaves = [pytree.tree_leaves(tree) for tree in trees]
    joined = [
        torch.stack(list(same)) if isinstance(same[0], Tensor) else same[0]
        for same in zip(*leaves, strict=True)
    ]
    return pytree.tree_unflatten(joined, pytree.tree_structure(trees[0]))


def _trained(subject: UpdateSubject) -> tuple[Tensors, Mapping[str, Any], _Case, bool]:
    case = _Case(subject)
    before = [value.numpy().tobytes() for value in case.received.values()]
    batches = LocalPlan(BATCH, epochs=2).minibatches(0, "0", 1, ROWS)
    trained, _ = train(case.model, case.update, SGD(lr=0.05), case.local, case.frozen, batches)
    extras = case.update.after(case.local, trained)
    kept = before == [value.numpy().tobytes() for value in case.received.values()]
    return trained, extras, case, kept


def received_model_stays(subject: UpdateSubject) -> str:
    """A round of local training changes a copy, never the received model; extras are lists of numbers."""
    trained, extras, case, kept = _trained(subject)
    require(kept, "the received model was written to during local training")
    require(list(trained) == list(case.received), f"training returned {list(trained)}")
    moved = sum(float((trained[name] - value).abs().sum()) for name, value in case.received.items())
    require(np.isfinite(moved) and moved > 0.0, f"two local epochs moved the model by {moved}")
    require(isinstance(extras, Mapping), f"after() returned a {type(extras).__name__}; a mapping is needed")
    for name, values in extras.items():
        numeric = isinstance(values, list) and all(isinstance(value, int | float) for value in values)
        require(numeric, f"the extra {name!r} must be a list of numbers, it is {type(values).__name__}")
    sent = f"; sends {', '.join(extras)}" if extras else ""
    return f"six steps on a copy, the received model is untouched{sent}"


def instances_agree(subject: UpdateSubject) -> str:
    """Two instances with the same parameters train to the same bytes."""
    (first, *_), (second, *_) = _trained(subject), _trained(subject)
    differ = [name for name, value in first.items() if not torch.equal(value, second[name])]
    require(not differ, f"two instances trained {', '.join(differ)} differently")
    return "two instances train to the same bytes"


def parameters_stored(subject: UpdateSubject) -> str:
    """Constructor parameters are only stored."""
    return parameters_are_stored(subject.kind, subject.make(), subject.parameters, skip=1)


ITEMS: tuple[Item[UpdateSubject], ...] = (
    Item(
        "the loss is a finite number",
        loss_is_a_number,
        "return a mean over the batch: start with self.criterion(forward(params, batch.x), batch).",
    ),
    Item(
        "the loss is pure",
        loss_is_pure,
        "read only the arguments, write to none of them in place, draw nothing at random; what else is needed "
        "goes into frozen, made by before().",
    ),
    Item(
        "the gradient is finite",
        gradient_is_finite,
        "use the params that loss() is given, not the model's own; guard logarithms, roots and divisions near 0.",
    ),
    Item(
        "padding counts for nothing",
        padding_counts_for_nothing,
        "weigh every per-sample term with batch.weight (None: all 1) and divide by its sum, as "
        "clients.losses.CrossEntropy does.",
    ),
    Item(
        "many clients train at once",
        trains_many_at_once,
        "inside loss() use no .item(), no `if` on tensor values and no in-place writes.",
    ),
    Item(
        "the received model stays",
        received_model_stays,
        "clone before you change; return extras from after() as {name: [numbers]}.",
    ),
    Item(
        "two instances agree",
        instances_agree,
        "draw random numbers in before() from fedbal.seeding.stream; keep no class attribute that changes.",
    ),
    Item(
        "parameters are only stored",
        parameters_stored,
        "in __init__ call super().__init__(criterion), write self.name = name for every parameter, check it there.",
    ),
)
"""Checks that need no federation."""
