"""Steps that come again and again are recorded once as a plain list of kernels and replayed from then on.

Most of a small step is spent in Python and in building the graph of its gradient, deciding which kernels to call.
A recording calls the same kernels in the same order on tensors of the same shapes, so its numbers are the same
bits; torch's interpreter runs it in a third of the time. It is made by watching one call, and kept only if its
first replay gives that call's bits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

CALLS_BEFORE = 24
"""Calls of a step of the same shapes before it is recorded, which takes as long as some twenty calls."""
MOST = 512
"""Recordings kept; a run with more shapes than that goes on without."""

_NUMBERS: dict[Any, int] = {
    torch.contiguous_format: 0,
    torch.preserve_format: 1,
    torch.channels_last: 2,
    torch.strided: 0,
    torch.uint8: 0,
    torch.int32: 3,
    torch.int64: 4,
    torch.float32: 6,
    torch.float64: 7,
    torch.bool: 11,
    torch.float16: 5,
    torch.bfloat16: 15,
}
"""What the interpreter calls torch's enumerations."""
_NUMBERED = (torch.dtype, torch.memory_format, torch.layout)

Step = Callable[..., tuple[Tensor, ...]]
"""Pure; takes and returns tensors."""


class Recorder:
    """Keeps recordings of pure functions of tensors, in families of the same function."""

    def __init__(self) -> None:
        self._families: dict[Hashable, Family] = {}

    @property
    def recordings(self) -> int:
        """Steps recorded so far."""
        return sum(family.recordings for family in self._families.values())

    def family(self, kind: Hashable) -> Family:
        """Return the recordings of one function.

        Parameters
        ----------
        kind : hashable
            Whatever decides which kernels are called, but for what :meth:`Family.run` is told.
        """
        if kind not in self._families:
            self._families[kind] = Family(self)
        return self._families[kind]


class Family:
    """Recordings of one function by the shapes of its arguments."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._calls: dict[Hashable, int] = {}
        self._steps: dict[Hashable, Replay | None] = {}

    @property
    def recordings(self) -> int:
        """Steps recorded so far."""
        return sum(step is not None for step in self._steps.values())

    def run(self, key: Hashable, step: Step, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return ``step(*tensors)``.

        Parameters
        ----------
        key : hashable
            Shapes and layouts of the tensors, as far as they differ between calls.
        step : callable
            The function; it must not depend on anything but its arguments.
        tensors : sequence of Tensor
            Its arguments, without gradients.
        """
        replay = self._steps.get(key)
        if replay is not None:
            return replay(*tensors)
        if key in self._steps:
            return step(*tensors)
        calls = self._calls[key] = self._calls.get(key, 0) + 1
        if calls <= CALLS_BEFORE:
            return step(*tensors)
        found, self._steps[key] = _record(step, tensors, self._recorder.recordings < MOST)
        return found


class Replay:
    """A recorded step."""

    def __init__(self, graph: Any) -> None:
        function = torch._C._create_function_from_graph("step", graph)
        # Held, since the interpreter's plan belongs to it.
        self._function = function

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return what the step would."""
        was = torch._C._get_graph_executor_optimize()
        # Unoptimised: every kernel as it was recorded, none fused or reordered.
        torch._C._set_graph_executor_optimize(False)
        try:
            found: tuple[Tensor, ...] = self._function(*tensors)
        finally:
            torch._C._set_graph_executor_optimize(was)
        return found


class Flat:
    """A pytree as the list of its tensors.

    Parameters
    ----------
    tree : pytree
        Tensors and whatever else stays as it is.

    Attributes
    ----------
    tensors : list of Tensor
        The tensors, in order.
    """

    def __init__(self, tree: Any) -> None:
        leaves, self._structure = pytree.tree_flatten(tree)
        self.tensors: list[Tensor] = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        self._leaves = [None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves]

    def tree(self, tensors: Iterable[Tensor]) -> Any:
        """Return the pytree with other tensors."""
        others = iter(tensors)
        leaves = [next(others) if leaf is None else leaf[0] for leaf in self._leaves]
        return pytree.tree_unflatten(leaves, self._structure)

    @property
    def kind(self) -> Hashable:
        """All but the values of the tensors."""
        shapes = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in self.tensors)
        return repr(self._structure), repr(self._leaves), shapes


class _Unrecordable(Exception):
    """The step does something that a list of kernels cannot say."""


def _record(step: Step, tensors: Sequence[Tensor], room: bool) -> tuple[tuple[Tensor, ...], Replay | None]:
    """Return what the step does, and its recording if it has one that does the same."""
    if not room:
        return step(*tensors), None
    tape = _Tape(tensors)
    with tape:
        found = step(*tensors)
    try:
        replay = Replay(tape.graph(found))
        again = replay(*tensors)
    except Exception:
        # A user's loss may do what cannot be recorded, another torch may not know it; the step goes on as it is.
        return found, None
    return found, replay if all(map(_same, found, again)) else None


def _same(first: Tensor, second: Tensor) -> bool:
    alike = first.shape == second.shape and first.dtype == second.dtype and first.stride() == second.stride()
    return alike and bool(torch.equal(first, second) or torch.equal(first.isnan(), second.isnan()))


_REFUSED = {
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
    torch.Tag.nondeterministic_seeded,
}


def _by_numbers(func: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether a kernel looks rows up by their numbers, not by a mask, so that shapes are known."""
    return func is torch.ops.aten.index.Tensor and not any(
        one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1]
    )


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down the kernels that are called while it is active as a graph of torch's interpreter."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph: Any = torch._C.Graph()
        self._values: dict[int, Any] = {}
        self._alive: list[Any] = []
        self._given: set[int] = set()
        self._obstacle: str | None = None
        for tensor in tensors:
            self._know(tensor, self._graph.addInput())
            self._given.add(id(tensor))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise torch imports its compiler, for most of a second, to keep it from looking in here.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a kernel and write it down."""
        found = func(*args, **(kwargs or {}))
        if self._obstacle is None:
            try:
                self._write(func, args, kwargs or {}, found)
            except Exception as error:
                self._obstacle = f"{func}: {error}"
        return found

    def graph(self, outputs: Sequence[Tensor]) -> Any:
        """Return the graph of everything that was called, with these outputs."""
        if self._obstacle is not None:
            raise _Unrecordable(self._obstacle)
        whole = self._node("prim::TupleConstruct", [self._value(one) for one in outputs], 1)
        whole.output().setType(torch._C.TupleType([torch._C.TensorType.get()] * len(outputs)))
        self._graph.registerOutput(whole.output())
        self._alive.clear()
        return self._graph

    def _know(self, tensor: Tensor, value: Any) -> None:
        value.setType(torch._C.TensorType.get())
        self._values[id(tensor)] = value
        # An id is a tensor's own only as long as it lives.
        self._alive.append(tensor)

    def _node(self, name: str, inputs: list[Any], outputs: int) -> Any:
        return self._graph.insertNode(self._graph.create(name, inputs, outputs))

    def _write(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], found: Any) -> None:
        if func is torch.ops.aten.detach.default:
            self._know(found, self._value(args[0]))
            return
        schema = func._schema
        if _REFUSED & set(func.tags) and not _by_numbers(func, args):
            raise _Unrecordable("its effect depends on more than shapes")
        if func is torch.ops.aten._to_copy.default and isinstance(args[0], float):
            # Mapped over clients a number comes as it is, where the interpreter wants a tensor.
            args = torch.tensor(args[0], dtype=torch.float64), *args[1:]
        inputs = []
        for position, argument in enumerate(schema.arguments):
            given = args[position] if position < len(args) else None
            if position >= len(args):
                given = kwargs.get(argument.name, argument.default_value)
            inputs.append(self._argument(given, argument.type))
            if argument.is_write and id(given) in self._given:
                raise _Unrecordable("it writes to what it is given")
        outputs = found if isinstance(found, tuple) else (found,)
        node = self._node(schema.name, inputs, len(schema.returns))
        for one, value in zip(outputs, node.outputs(), strict=True):
            if isinstance(one, Tensor):
                self._know(one, value)
            elif isinstance(one, list):
                value.setType(torch._C.ListType.ofTensors())
                parts = self._node("prim::ListUnpack", [value], len(one))
                for part, own in zip(one, parts.outputs(), strict=True):
                    self._know(part, own)
            elif one is not None:
                raise _Unrecordable("it returns numbers")

    def _argument(self, given: Any, kind: Any) -> Any:
        if isinstance(given, Tensor):
            return self._value(given)
        if not isinstance(given, list | tuple):
            return self._graph.insertConstant(
                _NUMBERS.get(given, given) if type(given) in _NUMBERED else given
            )
        while isinstance(kind, torch._C.OptionalType):
            kind = kind.getElementType()
        node = self._node("prim::ListConstruct", [self._argument(one, None) for one in given], 1)
        node.output().setType(kind)
        return node.output()

    def _value(self, tensor: Tensor) -> Any:
        if id(tensor) not in self._values:
            # Made before the step: the same in all calls.
            self._know(tensor, self._graph.insertConstant(tensor.detach()))
            self._given.add(id(tensor))
        return self._values[id(tensor)]
