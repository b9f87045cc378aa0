"""Cells of recurrent layers, which make one step, and what they share with the layers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from nnlab.autograd import Tensor
from nnlab.autograd.creation import empty
from nnlab.autograd.recurrent import recurrent
from nnlab.autograd.shape import cat
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn import init
from nnlab.nn.functional._checks import check_count, check_input
from nnlab.nn.module import Module
from nnlab.nn.parameter import Parameter
from nnlab.ops.recurrent import BLOCKS
from nnlab.ops.rnn_cell import NONLINEARITIES

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_ch", "weight_hr")
_DEFAULTS = {
    "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False,
    "nonlinearity": "tanh", "peepholes": False, "coupled": False,
}  # fmt: skip


class RecurrentWeights(Module):
    """What layers and cells share: weights drawn uniformly, and checks of inputs and states."""

    kind: ClassVar[str]
    nonlinearity: str
    input_size: int
    hidden_size: int
    proj_size: int = 0
    peepholes: bool = False
    coupled: bool = False
    bias: bool

    @property
    def _output_size(self) -> int:
        """Features of h, which the next step and the output get."""
        return self.proj_size or self.hidden_size

    @property
    def _cell(self) -> str:
        """Name of the cell in ``nnlab.ops.recurrent``."""
        return f"rnn_{self.nonlinearity}" if self.kind == "rnn" else self.kind

    def _check_nonlinearity(self, nonlinearity: str) -> None:
        if nonlinearity not in NONLINEARITIES:
            must = f"be one of {NONLINEARITIES}"
            raise ArgumentError(complaint(type(self).__name__, "nonlinearity", must, nonlinearity))

    def _add(self, features: int, suffix: str, device: Any, dtype: Any) -> None:
        """Register the weights of one layer and direction."""
        rows = (BLOCKS[self._cell] - self.coupled) * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, features), "weight_hh": (rows, self._output_size)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.peepholes:
            shapes["weight_ch"] = ((3 - self.coupled) * self.hidden_size,)
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        for name, shape in shapes.items():
            self.register_parameter(name + suffix, Parameter(empty(shape, dtype=dtype, device=device)))

    def _named(self, suffix: str) -> list[Any]:
        """The parameters of one layer and direction in the order of _NAMES, None for what is missing."""
        return [self._parameters.get(name + suffix) for name in _NAMES]

    def _weights(self, suffix: str) -> list[Any]:
        """The same with rows for f where it is coupled: 1 - sigmoid(s_i) = sigmoid(-s_i), so those of i, negated."""
        *cell, w_hr = self._named(suffix)
        if self.coupled:
            n = self.hidden_size
            cell = [w if w is None else cat([w[:n], -w[:n], w[n:]]) for w in cell]
        return [*cell, w_hr]

    def reset_parameters(self) -> None:
        """Draw all weights and biases uniformly from ``+-1 / sqrt(hidden_size)``."""
        bound = 1 / math.sqrt(self.hidden_size)
        for param in self.parameters():
            init.uniform_(param, -bound, bound)

    def _states(self, hx: Any, lead: tuple[int, ...], like: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """(h_0, c_0) as given, after checks, each (*lead, its features); None for zeros."""
        where = type(self).__name__
        if hx is None:
            return None, None
        if self.kind != "lstm":
            parts: tuple[Any, ...] = (hx,)
        elif isinstance(hx, tuple | list) and len(hx) == 2:
            parts = tuple(hx)
        else:
            got = f"{len(hx)} of them" if isinstance(hx, tuple | list) else type(hx).__name__
            raise ArgumentError(complaint(where, "hx", "be the two tensors (h_0, c_0)", got))
        for name, size, part in zip(("h_0", "c_0"), (self._output_size, self.hidden_size), parts):
            shape = (*lead, size)
            if not isinstance(part, Tensor):
                raise ArgumentError(complaint(where, name, "be a Tensor", type(part).__name__))
            if tuple(part.shape) != shape:
                raise ShapeError(complaint(where, name, f"have shape {shape}", tuple(part.shape)))
            check_input(where, like, **{name: part})
        return parts[0], parts[1] if self.kind == "lstm" else None

    def extra_repr(self) -> str:
        changed = [f"{name}={getattr(self, name)}" for name, v in _DEFAULTS.items() if getattr(self, name, v) != v]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed])


class _RNNCellBase(RecurrentWeights):
    """One step."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool, device: Any, dtype: Any) -> None:
        for argument, count in (("input_size", input_size), ("hidden_size", hidden_size)):
            check_count(type(self).__name__, argument, count)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self._add(input_size, "", device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """The new state; see the class."""
        where = type(self).__name__
        check_input(where, input, weight_ih=self._parameters["weight_ih"])
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            must = f"have shape (N, {self.input_size}) or ({self.input_size},)"
            raise ShapeError(complaint(where, "input", must, tuple(input.shape)))
        h_0, c_0 = self._states(hx, tuple(input.shape[:-1]), input)
        single = input.ndim == 1
        x = input.reshape(1, -1, self.input_size) if single else input.unsqueeze(0)
        if single:
            h_0, c_0 = (None if s is None else s.unsqueeze(0) for s in (h_0, c_0))
        w_ih, w_hh, b_ih, b_hh, w_ch, _ = self._weights("")
        _, h, c = recurrent(self._cell, x, w_ih, w_hh, b_ih, b_hh, h_0, c_0, w_ch)
        if single:
            h, c = h.squeeze(0), None if c is None else c.squeeze(0)
        return h if c is None else (h, c)


class RNNCell(_RNNCellBase):
    """One step of a simple recurrent layer: ``h' = f(W_ih x + b_ih + W_hh h + b_hh)`` with f tanh or relu.

    Args:
        input_size: features I of the input.
        hidden_size: features H of the state.
        bias: whether there are biases b_ih and b_hh.
        nonlinearity: "tanh" or "relu".
        device, dtype: of the parameters; default CPU and float32.

    ``cell(input, hx=None)``: input (N, I) or (I,), state hx and result (N, H) or (H,); hx defaults to zeros.
    Parameters weight_ih (H, I), weight_hh (H, H), bias_ih, bias_hh (H,) start uniform in ``+-1 / sqrt(hidden_size)``.
    """

    kind = "rnn"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        Module.__init__(self)
        self._check_nonlinearity(nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, device, dtype)


class LSTMCell(_RNNCellBase):
    """One step of an :class:`LSTM` layer.

    ``cell(input, hx=None)``: input (N, I) or (I,), hx = (h, c) and result (h', c') of (N, H) or (H,) each; hx defaults
    to zeros. Arguments and parameters as in :class:`RNNCell`, with 4 * H rows in the order i, f, g, o; ``peepholes``
    and ``coupled`` as in :class:`LSTM`.
    """

    kind = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        peepholes: bool = False,
        coupled: bool = False,
    ) -> None:
        Module.__init__(self)
        self.peepholes, self.coupled = peepholes, coupled
        super().__init__(input_size, hidden_size, bias, device, dtype)


class GRUCell(_RNNCellBase):
    """One step of a :class:`GRU` layer.

    ``cell(input, hx=None)``: as :class:`RNNCell`, with 3 * H rows in the parameters in the order r, z, n.
    """

    kind = "gru"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        Module.__init__(self)
        super().__init__(input_size, hidden_size, bias, device, dtype)
