"""Writes the kernels of one step down, as a program of torch's interpreter that does many such steps in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

RATE = 0.01234567891011121
"""Learning rate of a step that is watched; where it shows, the program takes the rate that it is given."""

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
_REFUSED = {
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
    torch.Tag.nondeterministic_seeded,
}


class Unrecordable(Exception):
    """The step does something that a list of kernels cannot say."""


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down the kernels that are called while it is active as the body of a loop over steps.

    The program takes the number of steps, the learning rate and then all tensors.

    Parameters
    ----------
    moving : sequence of Tensor
        What a step changes in place.
    inputs : sequence of Tensor
        What the step that is watched reads; the program is given those of all steps, on one leading axis.
    fixed : sequence of Tensor
        What all steps read.
    """

    def __init__(self, moving: Sequence[Tensor], inputs: Sequence[Tensor], fixed: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = _empty()
        self._values: dict[int, Any] = {}
        self._alive: list[Any] = []
        self._unwritable: set[int] = set()
        self._obstacle: str | None = None
        count, self._rate = (self._input(kind) for kind in (torch._C.IntType.get(), torch._C.FloatType.get()))
        for tensor in moving:
            self._know(tensor, self._graph.addInput())
        stacks = [self._input(torch._C.TensorType.get()) for _ in inputs]
        for tensor in fixed:
            self._know(tensor, self._graph.addInput())
        self._unwritable.update(map(id, (*inputs, *fixed)))
        self._go_on = self._graph.insertConstant(True)
        self._body = self._node("prim::Loop", [count, self._go_on], 0).addBlock()
        position = self._body.addInputToBlock()
        position.setType(torch._C.IntType.get())
        self._graph.setInsertPoint(self._body)
        first_axis = self._graph.insertConstant(0)
        for tensor, stack in zip(inputs, stacks, strict=True):
            self._know(tensor, self._node("aten::select", [stack, first_axis, position], 1).output())

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

    def graph(self) -> Any:
        """Return the graph of everything that was called."""
        if self._obstacle is not None:
            raise Unrecordable(self._obstacle)
        self._body.registerOutput(self._go_on)
        self._graph.setInsertPoint(self._graph.block())
        self._graph.registerOutput(self._graph.insertConstant(None))
        self._alive.clear()
        return self._graph

    def _input(self, kind: Any) -> Any:
        value = self._graph.addInput()
        value.setType(kind)
        return value

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
            raise Unrecordable("its effect depends on more than shapes")
        if func is torch.ops.aten._to_copy.default and isinstance(args[0], float):
            # Mapped over clients a number comes as it is, where the interpreter wants a tensor.
            args = torch.tensor(args[0], dtype=torch.float64), *args[1:]
        inputs = []
        for position, argument in enumerate(schema.arguments):
            given = args[position] if position < len(args) else None
            if position >= len(args):
                given = kwargs.get(argument.name, argument.default_value)
            inputs.append(self._argument(given, argument.type))
            if argument.is_write and id(given) in self._unwritable:
                raise Unrecordable("it writes to what it only reads")
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
                raise Unrecordable("it returns numbers")

    def _argument(self, given: Any, kind: Any) -> Any:
        if isinstance(given, Tensor):
            return self._value(given)
        if isinstance(given, float) and given == RATE:
            return self._rate
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
            self._unwritable.add(id(tensor))
        return self._values[id(tensor)]


def _empty() -> Any:
    """Return a graph; torch declares only some of what it can do."""
    return torch._C.Graph()


def _by_numbers(func: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether a kernel looks rows up by their numbers, not by a mask, so that shapes are known."""
    return func is torch.ops.aten.index.Tensor and not any(
        one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1]
    )
