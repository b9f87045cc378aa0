"""The smallest character model: four letters, an RNN of three units, "hell" in and "ello" out.

    python examples/hello_rnn.py [--out FOLDER]

It begins where the well-known picture of this model begins: three hidden and four output numbers at each step. The
picture does not print its weights, so weights that give its numbers are solved for. There the model is wrong at the
first two letters; it is trained until it says "ello" with nine parts in ten of the probability, first fed the right
letters, then its own. The folder gets ``probabilities.png`` and ``numbers.json``.

Source of the picture's numbers: Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import finish, folder

import nnlab
from nnlab import figures, nn, optim

LETTERS = "helo"
READ, SAID = "hell", "ello"
HIDDEN = np.array([[0.3, -0.1, 0.9], [1.0, 0.3, 0.1], [0.1, -0.5, -0.3], [-0.3, 0.9, 0.7]])
OUTPUT = np.array([[1.0, 2.2, -3.0, 4.1], [0.5, 0.3, -1.0, 1.2], [0.1, 0.5, 1.9, -1.1], [0.2, -1.5, -0.1, 2.2]])


def places(text: str) -> nnlab.Tensor:
    return nnlab.tensor([LETTERS.index(letter) for letter in text])


def one_hot(text: str) -> nnlab.Tensor:
    """(letters, 4)."""
    return nnlab.tensor(np.eye(len(LETTERS))[places(text).numpy()])


class Model(nn.Module):
    """``h_t = tanh(W_ih x_t + W_hh h_{t-1})``, and one score a letter out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(4, 3, bias=False, dtype="float64")
        self.head = nn.Linear(3, 4, dtype="float64")

    def forward(self, x: nnlab.Tensor, h: nnlab.Tensor | None = None) -> tuple[nnlab.Tensor, nnlab.Tensor]:
        states, last = self.rnn(x, h)
        return self.head(states), last


def of_the_picture() -> Model:
    """A model that passes through the picture's numbers.

    A hidden unit has the sums arctanh(h_t) (of its 1.0 as 0.97) at four steps, and six weights: those of three letters
    and of three units; the smallest are taken. An output has four numbers for three weights and a bias.
    """
    states = np.minimum(HIDDEN, 0.97)
    before = np.concatenate([np.zeros((1, 3)), states[:-1]])
    w = np.linalg.pinv(np.concatenate([one_hot(READ).numpy(), before], axis=1)) @ np.arctanh(states)
    v = np.linalg.solve(np.concatenate([states, np.ones((4, 1))], axis=1), OUTPUT)
    model = Model()
    values = {"rnn.weight_ih_l0": w[:4].T, "rnn.weight_hh_l0": w[4:].T, "head.weight": v[:3].T, "head.bias": v[3]}
    model.load_state_dict({name: np.ascontiguousarray(value) for name, value in values.items()})
    return model


def check(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """The hidden and output numbers, which are the picture's."""
    states = model.rnn(one_hot(READ))[0].detach().numpy()
    scores = model(one_hot(READ))[0].detach().numpy()
    np.testing.assert_allclose(np.round(states, 1), HIDDEN, atol=1e-9)
    np.testing.assert_allclose(scores, OUTPUT, atol=1e-9)
    return states, scores


def probabilities(model: Model) -> np.ndarray:
    """(step, letter), fed "hell"."""
    return nn.functional.softmax(model(one_hot(READ))[0].detach(), 1).numpy()


def spell(model: Model, first: str, count: int) -> str:
    """What the model says when each likeliest letter is its next input."""
    text, h = first, None
    with nnlab.no_grad():
        for _ in range(count):
            scores, h = model(one_hot(text[-1]), h)
            text += LETTERS[scores[0].argmax().item()]
    return text[1:]


def train(model: Model) -> tuple[list[float], int]:
    """The loss before each step until each right letter has probability 0.9, and the steps until "ello" is spelt."""
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    losses: list[float] = []
    spelt = None
    while True:
        scores, _ = model(one_hot(READ))
        loss = nn.functional.cross_entropy(scores, places(SAID))
        losses.append(loss.item())
        if spelt is None and spell(model, READ[0], 4) == SAID:
            spelt = len(losses) - 1
        if spelt is not None and probabilities(model)[range(4), places(SAID).numpy()].min() > 0.9:
            return losses, spelt
        assert len(losses) < 200, losses[-1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def draw(before: np.ndarray, after: np.ndarray, losses: list[float]) -> Any:
    figure, (row,) = figures.subplots(12, 3.6, 1, 3, width_ratios=(1, 1, 1.2), purpose="drawing the probabilities")
    for plane, table, title in ((row[0], before, "Probabilities of the picture"), (row[1], after, "After training")):
        plane.imshow(table.T, cmap="Blues", vmin=0, vmax=1)
        for step, letter in np.ndindex(table.shape):
            value = table[step, letter]
            right = LETTERS[letter] == SAID[step]
            plane.text(
                step, letter, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black",
                fontweight="bold" if right else "normal",
            )  # fmt: skip
            if right:
                plane.plot(step, letter, "s", markersize=44, markerfacecolor="none", color="#e45756", markeredgewidth=2)
        plane.set(xticks=range(4), xticklabels=READ, yticks=range(4), yticklabels=LETTERS)
        plane.set(title=title, xlabel="Letter read", ylabel="Next letter")
    row[2].semilogy(losses, color="#4c78a8", linewidth=2)
    row[2].set(title="Loss", xlabel="Steps", ylabel="Nats a letter")
    row[2].grid(alpha=0.25)
    row[2].spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: list[str] | None = None) -> None:
    out = folder("hello-rnn", __doc__, arguments)
    model = of_the_picture()
    hidden_and_output = check(model)
    before = probabilities(model)
    for letter, hidden, output, table in zip(READ, *hidden_and_output, before, strict=True):
        numbers = ("  ".join(f"{v:5.{digits}f}" for v in row) for row, digits in ((hidden, 1), (output, 1), (table, 2)))
        print("{}   hidden {}   scores {}   probabilities {}".format(letter, *numbers))
    print(f"at first it says {spell(model, 'h', 4)!r}")
    losses, spelt = train(model)
    after = probabilities(model)
    assert spell(model, "h", 4) == SAID
    print(f"it spells {SAID!r} after {spelt} steps, sure of it after {len(losses) - 1}")
    numbers = {"before": before.tolist(), "after": after.tolist(), "losses": losses, "spelt": spelt}
    finish(out, {"probabilities": draw(before, after, losses)}, numbers)


if __name__ == "__main__":
    main()
