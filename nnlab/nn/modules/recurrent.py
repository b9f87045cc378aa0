"""Recurrent layers over whole sequences."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nnlab.autograd import Tensor
from nnlab.autograd.creation import from_numpy
from nnlab.autograd.elementwise import where
from nnlab.autograd.recurrent import recurrent, step_product
from nnlab.autograd.shape import cat, stack
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn import functional as F
from nnlab.nn.functional._checks import check_count, check_input
from nnlab.nn.module import Module
from nnlab.nn.modules.recurrent_cell import RecurrentWeights
from nnlab.nn.utils.rnn import PackedSequence, lengths_of, pack_like, unpack


class _RNNBase(RecurrentWeights):
    """Layers over whole sequences."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        device: Any,
        dtype: Any,
    ) -> None:
        where = type(self).__name__
        for argument, count in (
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
        ):
            check_count(where, argument, count)
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
            raise ArgumentError(complaint(where, "dropout", "be a probability between 0 and 1", dropout))
        if dropout > 0 and num_layers == 1:
            warnings.warn(f"[{where}] 'dropout' acts between layers, and there is one layer", stacklevel=3)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                self._add(input_size if layer == 0 else self._width, suffix, device, dtype)
        self.reset_parameters()

    @property
    def _width(self) -> int:
        """Features of a layer's output."""
        return self._output_size * (2 if self.bidirectional else 1)

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"] if self.bidirectional else [f"_l{layer}"]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction."""
        suffixes = [suffix for layer in range(self.num_layers) for suffix in self._suffixes(layer)]
        return [[param for param in self._named(suffix) if param is not None] for suffix in suffixes]

    def flatten_parameters(self) -> None:
        """Does nothing: weights need no memory in one piece here. For programs written for PyTorch."""

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """(output, h_n), an LSTM's (output, (h_n, c_n)); see the class."""
        if isinstance(input, PackedSequence):
            must = f"have rows of {self.input_size} features in its PackedSequence"
            self._check_features(input.data, (2,), must)
            padded = unpack(input)
            y, h_n, c_n = self._layers(padded, hx, lengths_of(input).tolist())
            return pack_like(y, input), h_n if c_n is None else (h_n, c_n)
        shape = "N, T" if self.batch_first else "T, N"
        self._check_features(input, (2, 3), f"have shape ({shape}, {self.input_size}) or (T, {self.input_size})")
        if input.shape[1 if self.batch_first and input.ndim == 3 else 0] == 0:
            raise ShapeError(complaint(type(self).__name__, "input", "have at least one step", tuple(input.shape)))
        single = input.ndim == 2
        x = input.unsqueeze(1) if single else input.transpose(0, 1) if self.batch_first else input
        y, h_n, c_n = self._layers(x, hx, None, single)
        if single:
            y, h_n, c_n = y.squeeze(1), h_n.squeeze(1), None if c_n is None else c_n.squeeze(1)
        elif self.batch_first:
            y = y.transpose(0, 1)
        return y, h_n if c_n is None else (h_n, c_n)

    def _check_features(self, input: Tensor, dims: tuple[int, ...], must: str) -> None:
        where = type(self).__name__
        check_input(where, input, weight_ih_l0=self._parameters["weight_ih_l0"])
        if input.ndim not in dims or input.shape[-1] != self.input_size:
            raise ShapeError(complaint(where, "input", must, tuple(input.shape)))

    def _layers(
        self, x: Tensor, hx: Any, lengths: list[int] | None, single: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """All layers over (T, B, I): y (T, B, D*H), h_n and c_n (layers * D, B, H); y and h_n may have P for H."""
        batch = () if single else (x.shape[1],)
        h_0, c_0 = self._states(hx, (self.num_layers * len(self._suffixes(0)), *batch), x)
        if single:
            h_0, c_0 = (None if s is None else s.unsqueeze(1) for s in (h_0, c_0))
        h_n: list[Tensor] = []
        c_n: list[Tensor] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self._suffixes(layer):
                k = len(h_n)
                h, c = (None if s is None else s[k] for s in (h_0, c_0))
                y, h_last, c_last = self._direction(suffix, x, h, c, lengths)
                outputs.append(y)
                h_n.append(h_last)
                if c_last is not None:
                    c_n.append(c_last)
            x = outputs[0] if len(outputs) == 1 else cat(outputs, 2)
            if layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, stack(h_n), stack(c_n) if c_n else None

    def _direction(
        self, suffix: str, x: Tensor, h_0: Tensor | None, c_0: Tensor | None, lengths: list[int] | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """One layer in one direction over (T, B, I): y (T, B, H), h_n and c_n (B, H)."""
        w_ih, w_hh, b_ih, b_hh, w_ch, _ = self._weights(suffix)
        back = suffix.endswith("_reverse")
        return recurrent(self._cell, x, w_ih, w_hh, b_ih, b_hh, h_0, c_0, w_ch, reverse=back, lengths=lengths)


class RNN(_RNNBase):
    """Simple recurrent layers: ``h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)`` with f tanh or relu.

    Args:
        input_size: features I of the input.
        hidden_size: features H of the state.
        num_layers: layers on top of each other; each reads the outputs of the one below.
        nonlinearity: "tanh" or "relu".
        bias: whether there are biases b_ih and b_hh.
        batch_first: input and output are (N, T, ...) instead of (T, N, ...); states are not changed by it.
        dropout: probability of zeroing an element between two layers in training.
        bidirectional: a second set of weights walks each layer from the end; its outputs are put after the first's.
        device, dtype: of the parameters; default CPU and float32.

    ``layer(input, hx=None)`` gives ``(output, h_n)``, with L layers and D = 2 directions if bidirectional, else 1:

    - input (T, N, I), (N, T, I) with ``batch_first``, (T, I) for a single sequence, or a ``PackedSequence``;
    - hx the states before the first step, (L * D, N, H), or (L * D, H) for a single sequence; default zeros;
    - output (T, N, D * H), in the input's form: the last layer's states after each step;
    - h_n, shaped like hx: the states after each sequence's last step.

    The states after one part of a long sequence go before the next; detached (``h_n.detach()``, an LSTM's h and c each)
    they truncate backpropagation through time to the part.

    On the CPU no bit of a sequence's part of output and h_n depends on how long its neighbours in a ``PackedSequence``
    are.

    Parameters, for layer k and with suffix ``_reverse`` for the second direction: weight_ih_l{k} (H, I), or (H, D * H)
    from the second layer on; weight_hh_l{k} (H, H); bias_ih_l{k}, bias_hh_l{k} (H,). They start uniform in
    ``+-1 / sqrt(hidden_size)``.

    Raises:
        ArgumentError, ShapeError, DtypeError: an argument makes no sense, or input or state do not fit.

    Source: Elman, "Finding structure in time", Cognitive Science 1990.
    """

    kind = "rnn"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        Module.__init__(self)
        self._check_nonlinearity(nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype)


class LSTM(_RNNBase):
    """Layers of long short-term memory.

    With s = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh, cut into four parts s_i, s_f, s_g, s_o of H::

        i, f, o = sigmoid(s_i), sigmoid(s_f), sigmoid(s_o)    g = tanh(s_g)
        c_t = f * c_{t-1} + i * g    h_t = o * tanh(c_t)

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype: see :class:`RNN`.
        proj_size: P > 0, less than H, makes ``h_t = W_hr (o * tanh(c_t))`` of P features.
        peepholes: the gates see the cell: ``p_i * c_{t-1}``, ``p_f * c_{t-1}`` and ``p_o * c_t`` are added to s_i, s_f
            and s_o. Runs step by step in elementary operations, without a kernel of its own.
        coupled: ``f = 1 - i``: what comes in takes the place of what goes. There is no s_f and no p_f.

    ``layer(input, hx=None)`` gives ``(output, (h_n, c_n))``; hx is ``(h_0, c_0)``, all states shaped as in
    :class:`RNN`. Parameters as there, with 4 * H rows in the order i, f, g, o, 3 * H in the order i, g, o if coupled.
    With projections h_0, h_n, the output and the input of the second layer on have P for H, weight_hh_l{k} has P
    columns, and weight_hr_l{k} is (P, H). Peepholes are weight_ch_l{k}, p_i, p_f, p_o (3 * H,), p_i, p_o if coupled.

    Sources: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 1997; Gers, Schmidhuber and
    Cummins, "Learning to forget", Neural Computation 2000 (the forget gate); Gers and Schmidhuber, "Recurrent nets that
    time and count", IJCNN 2000 (peepholes); Greff et al., "LSTM: a search space odyssey", arXiv:1503.04069 (coupled
    gates); Sak, Senior and Beaufays, "Long short-term memory based recurrent neural network architectures for large
    vocabulary speech recognition", 2014 (projections).
    """

    kind = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        peepholes: bool = False,
        coupled: bool = False,
    ) -> None:
        Module.__init__(self)
        check_count("LSTM", "hidden_size", hidden_size)
        if not isinstance(proj_size, int) or not 0 <= proj_size < hidden_size:
            must = f"be an int from 0 to less than hidden_size {hidden_size}"
            raise ArgumentError(complaint("LSTM", "proj_size", must, proj_size))
        self.proj_size, self.peepholes, self.coupled = proj_size, peepholes, coupled
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype)

    def _direction(
        self, suffix: str, x: Tensor, h_0: Tensor | None, c_0: Tensor | None, lengths: list[int] | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        if not self.proj_size:
            return super()._direction(suffix, x, h_0, c_0, lengths)
        # With r_t = W_hr h_t, W_hh r_t is (W_hh W_hr) h_t: an LSTM without projections. The first r comes from outside:
        # as further features of the first step's input, whose weights are W_hh.
        w_ih, w_hh, b_ih, b_hh, w_ch, w_hr = self._weights(suffix)
        back = suffix.endswith("_reverse")
        if h_0 is not None:
            x, w_ih = cat([x, _at_first_step(h_0, x.shape[0], back, lengths)], 2), cat([w_ih, w_hh], 1)
        w_hh = w_hh @ w_hr
        y, h_n, c_n = recurrent("lstm", x, w_ih, w_hh, b_ih, b_hh, None, c_0, w_ch, reverse=back, lengths=lengths)
        return y @ w_hr.t() if lengths is None else step_product(y, w_hr.t()), h_n @ w_hr.t(), c_n


def _at_first_step(h: Tensor, steps: int, back: bool, lengths: list[int] | None) -> Tensor:
    """(T, B, P): h (B, P) at the step where the walk over each sequence begins, zeros elsewhere."""
    batch = h.shape[0]
    last = [steps] * batch if lengths is None else lengths
    first = np.asarray(last, np.int64) - 1 if back else np.zeros(batch, np.int64)
    return where(from_numpy(np.arange(steps)[:, None, None] == first[:, None]).to(h.device), h, 0.0)


class GRU(_RNNBase):
    """Layers of gated recurrent units.

    With a = W_ih x_t + b_ih and b = W_hh h_{t-1} + b_hh, each cut into three parts of H for r, z, n::

        r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z)    n = tanh(a_n + r * b_n)
        h_t = (1 - z) * n + z * h_{t-1}

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype: see :class:`RNN`.

    Input, states and results as in :class:`RNN`; parameters too, with 3 * H rows in the order r, z, n.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014; there r multiplies
    h_{t-1} before the product.
    """

    kind = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        Module.__init__(self)
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
