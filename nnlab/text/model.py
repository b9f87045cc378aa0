"""A network that guesses the next character, and its loss."""

from __future__ import annotations

import math

from nnlab import nn
from nnlab.autograd import Tensor
from nnlab.errors import ArgumentError, complaint
from nnlab.nn import functional as F

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class CharModel(nn.Module):
    """Embedding, recurrent layers, dense layer: scores for the character after each character.

    It goes on where it stopped: the recurrent layers' states after a batch are those before the next one, cut off from
    the gradient (truncated backpropagation through time). ``nnlab.train.carried.reset(model)`` goes to the beginning,
    where they are zero; the Trainer does so at the start of an epoch.

    Args:
        characters: V, the size of the vocabulary.
        cell: "lstm", "gru" or "rnn" (with tanh).
        embedding_dim: numbers that stand for a character.
        hidden_size: H, units of a recurrent layer.
        num_layers: recurrent layers.
        dropout: probability of zeroing an output of a recurrent layer on its way to the next layer (not to the next
            character), in training.

    ``model(x)`` takes the numbers (N, T) of N sequences' characters and gives scores (N, V, T).

    Raises:
        ArgumentError: an argument makes no sense.

    Sources: Mikolov et al., "Recurrent neural network based language model", Interspeech 2010; Zaremba, Sutskever and
    Vinyals, "Recurrent neural network regularization", arXiv:1409.2329 (the place of dropout); Williams and Peng, "An
    efficient gradient-based algorithm for on-line training of recurrent network trajectories", Neural Computation 1990
    (truncation).
    """

    carried = ("h", "c")
    h: Tensor | None
    c: Tensor | None

    def __init__(
        self,
        characters: int,
        cell: str = "lstm",
        embedding_dim: int = 64,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ArgumentError(complaint("CharModel", "cell", f"be one of {', '.join(CELLS)}", cell))
        self.embedding = nn.Embedding(characters, embedding_dim)
        between = dropout if num_layers > 1 else 0.0
        self.recurrent = CELLS[cell](embedding_dim, hidden_size, num_layers, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, characters)
        for name in self.carried:
            self.register_buffer(name, None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        lstm = isinstance(self.recurrent, nn.LSTM)
        before = None if self.h is None else (self.h, self.c) if lstm else self.h
        y, after = self.recurrent(self.embedding(x.t()), before)
        if lstm:
            after, self.c = after[0], after[1].detach()
        self.h = after.detach()
        return self.head(self.dropout(y)).permute(1, 2, 0)


class BitsPerCharacter(nn.Module):
    """Mean of -log2 p over all characters, p the softmax probability of the right one: cross-entropy / ln 2.

    ``loss(output, target)`` takes scores (N, V, T) and numbers (N, T).
    """

    unit = "bits per character"

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) / math.log(2)
