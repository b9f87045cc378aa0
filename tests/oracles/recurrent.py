"""Cells of recurrent layers, and whole layers, one number at a time in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def sigmoid(v: float) -> float:
    if v != v:
        return v
    return 1 / (1 + math.exp(-v)) if v > -700 else math.exp(v) if v > -745 else 0.0


def lstm_cell(a: Any, b: Any, c: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(h', c', gates) from the two gate sums (B, 4H) and c (B, H)."""
    rows, units = c.shape
    h_next, c_next, gates = np.zeros(c.shape), np.zeros(c.shape), np.zeros(a.shape)
    for r in range(rows):
        for u in range(units):
            at_i, at_f, at_g, at_o = u, units + u, 2 * units + u, 3 * units + u
            i = sigmoid(float(a[r, at_i]) + float(b[r, at_i]))
            f = sigmoid(float(a[r, at_f]) + float(b[r, at_f]))
            g = math.tanh(float(a[r, at_g]) + float(b[r, at_g]))
            o = sigmoid(float(a[r, at_o]) + float(b[r, at_o]))
            gates[r, at_i], gates[r, at_f], gates[r, at_g], gates[r, at_o] = i, f, g, o
            c_next[r, u] = f * float(c[r, u]) + i * g
            h_next[r, u] = o * math.tanh(c_next[r, u])
    return h_next, c_next, gates


def lstm_cell_grad(gates: Any, c: Any, c_next: Any, dh: Any, dc_next: Any) -> tuple[np.ndarray, np.ndarray]:
    """(gradient to the sums (B, 4H), gradient to c) from what a step left."""
    rows, units = c.shape
    ds, dc = np.zeros(gates.shape), np.zeros(c.shape)
    for r in range(rows):
        for u in range(units):
            i, f, g, o = (float(gates[r, k * units + u]) for k in range(4))
            t = math.tanh(float(c_next[r, u]))
            d_o = float(dh[r, u]) * t
            d_c = float(dc_next[r, u]) + float(dh[r, u]) * o * (1 - t * t)
            d_i, d_f, d_g = d_c * g, d_c * float(c[r, u]), d_c * i
            ds[r, u] = d_i * (i - i * i)
            ds[r, units + u] = d_f * (f - f * f)
            ds[r, 2 * units + u] = d_g * (1 - g * g)
            ds[r, 3 * units + u] = d_o * (o - o * o)
            dc[r, u] = d_c * f
    return ds, dc


def lstm_variant(s: Any, c: Any, p: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(h', c', gates i, f, g, o) from gate sums s without peepholes, c (B, H) and peepholes p.

    s (B, 4H) has the blocks i, f, g, o and p (3H,) i, f, o; s (B, 3H) and p (2H,) lack f: there f = 1 - i.
    """
    rows, units = c.shape
    h_next, c_next, gates = np.zeros(c.shape), np.zeros(c.shape), np.zeros((rows, 4 * units))
    for r in range(rows):
        for u in range(units):
            sums = [float(v) for v in s[r, u::units]]
            peep = [float(v) for v in p[u::units]]
            i = sigmoid(sums[0] + peep[0] * float(c[r, u]))
            f = 1 - i if len(sums) == 3 else sigmoid(sums[1] + peep[1] * float(c[r, u]))
            g = math.tanh(sums[-2])
            c_next[r, u] = f * float(c[r, u]) + i * g
            o = sigmoid(sums[-1] + peep[-1] * float(c_next[r, u]))
            h_next[r, u] = o * math.tanh(c_next[r, u])
            gates[r, u::units] = i, f, g, o
    return h_next, c_next, gates


def lstm_variant_grad(
    gates: Any, c: Any, c_next: Any, p: Any, dh: Any, dc_next: Any, coupled: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gradient to s, gradient to c, gradient to p) from what a step left."""
    rows, units = c.shape
    ds, dc, dp = np.zeros((rows, (3 if coupled else 4) * units)), np.zeros(c.shape), np.zeros(p.shape)
    for r in range(rows):
        for u in range(units):
            i, f, g, o = (float(v) for v in gates[r, u::units])
            old, new, d_h = float(c[r, u]), float(c_next[r, u]), float(dh[r, u])
            peep = [float(v) for v in p[u::units]]
            t = math.tanh(new)
            d_o = d_h * t * (o - o * o)
            d_c = float(dc_next[r, u]) + d_h * o * (1 - t * t) + d_o * peep[-1]
            d_g = d_c * i * (1 - g * g)
            if coupled:
                d_i = d_c * (g - old) * (i - i * i)
                ds[r, u::units] = d_i, d_g, d_o
                dc[r, u] = d_c * f + d_i * peep[0]
                dp[u::units] += [d_i * old, d_o * new]
            else:
                d_i, d_f = d_c * g * (i - i * i), d_c * old * (f - f * f)
                ds[r, u::units] = d_i, d_f, d_g, d_o
                dc[r, u] = d_c * f + d_i * peep[0] + d_f * peep[1]
                dp[u::units] += [d_i * old, d_f * old, d_o * new]
    return ds, dc, dp


def gru_cell(a: Any, b: Any, h: Any) -> tuple[np.ndarray, np.ndarray]:
    """(h', r z n q (B, 4H)) from the two gate sums (B, 3H) and h (B, H)."""
    rows, units = h.shape
    h_next, gates = np.zeros(h.shape), np.zeros((rows, 4 * units))
    for row in range(rows):
        for u in range(units):
            r = sigmoid(float(a[row, u]) + float(b[row, u]))
            z = sigmoid(float(a[row, units + u]) + float(b[row, units + u]))
            q = float(b[row, 2 * units + u])
            n = math.tanh(float(a[row, 2 * units + u]) + r * q)
            for k, value in enumerate((r, z, n, q)):
                gates[row, k * units + u] = value
            h_next[row, u] = (1 - z) * n + z * float(h[row, u])
    return h_next, gates


def gru_cell_grad(gates: Any, h: Any, dh: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gradient to a, gradient to b, direct gradient to h) from what a step left."""
    rows, units = h.shape
    da, db, direct = np.zeros((rows, 3 * units)), np.zeros((rows, 3 * units)), np.zeros(h.shape)
    for row in range(rows):
        for u in range(units):
            r, z, n, q = (float(gates[row, k * units + u]) for k in range(4))
            d = float(dh[row, u])
            d_n, d_z = d * (1 - z), d * (float(h[row, u]) - n)
            d_inner = d_n * (1 - n * n)  # of the argument of tanh: a_n + r * q
            d_r, d_q = d_inner * q, d_inner * r
            da[row, u] = db[row, u] = d_r * (r - r * r)
            da[row, units + u] = db[row, units + u] = d_z * (z - z * z)
            da[row, 2 * units + u], db[row, 2 * units + u] = d_inner, d_q
            direct[row, u] = d * z
    return da, db, direct


def rnn_cell(a: Any, b: Any, nonlinearity: str) -> np.ndarray:
    h_next = np.zeros(a.shape)
    for place in np.ndindex(a.shape):
        s = float(a[place]) + float(b[place])
        if nonlinearity == "tanh":
            h_next[place] = math.tanh(s)
        elif s > 0 or s != s:
            h_next[place] = s
    return h_next


def rnn_cell_grad(h_next: Any, dh: Any, nonlinearity: str) -> np.ndarray:
    ds = np.zeros(h_next.shape)
    for place in np.ndindex(h_next.shape):
        y = float(h_next[place])
        if nonlinearity == "tanh":
            ds[place] = float(dh[place]) * (1 - y * y)
        elif y != 0:
            ds[place] = float(dh[place])
    return ds


def _affine(w: Any, v: Any, bias: Any) -> np.ndarray:
    """w v + bias, (1, rows)."""
    return np.array([[math.fsum(w[r, k] * v[k] for k in range(len(v))) + bias[r] for r in range(len(w))]])


def layer(
    cell: str, x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, h0: Any, c0: Any, dy: Any, dh_n: Any, dc_n: Any,
    reverse: bool, lengths: list[int], w_ch: Any = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """A layer over x (T, B, I), a sequence at a time, and all its gradients given those of y, h_n and c_n.

    The cell "lstm_variant" has peepholes w_ch, and coupled gates where weights have three blocks of rows. The result's
    keys: y, h_n, c_n, and d_x, d_w_ih, d_w_hh, d_b_ih, d_b_hh, d_h0, d_c0, d_w_ch.
    """
    hidden = w_hh.shape[1]
    coupled = len(w_ih) == 3 * hidden
    w_ch = np.zeros((2 if coupled else 3) * hidden) if w_ch is None else w_ch
    out = {
        "y": np.zeros((*x.shape[:2], hidden)), "h_n": np.zeros(h0.shape), "c_n": np.zeros(h0.shape),
        "d_x": np.zeros(x.shape), "d_w_ih": np.zeros(w_ih.shape), "d_w_hh": np.zeros(w_hh.shape),
        "d_b_ih": np.zeros(len(w_ih)), "d_b_hh": np.zeros(len(w_hh)),
        "d_h0": np.zeros(h0.shape), "d_c0": np.zeros(h0.shape), "d_w_ch": np.zeros(w_ch.shape),
    }  # fmt: skip
    for s, length in enumerate(lengths):
        steps = list(range(length))[::-1] if reverse else list(range(length))
        h, c = h0[s], c0[s]
        memory = []
        for t in steps:
            a, b = _affine(w_ih, x[t, s], b_ih), _affine(w_hh, h, b_hh)
            before = h, c
            if cell == "lstm":
                h_row, c_row, gates = lstm_cell(a, b, c[None])
                c = c_row[0]
            elif cell == "lstm_variant":
                h_row, c_row, gates = lstm_variant(a + b, c[None], w_ch)
                c = c_row[0]
            elif cell == "gru":
                h_row, gates = gru_cell(a, b, h[None])
            else:
                h_row = rnn_cell(a, b, cell.removeprefix("rnn_"))
                gates = h_row
            h = h_row[0]
            memory.append((t, before, gates, c))
            out["y"][t, s] = h
        out["h_n"][s], out["c_n"][s] = h, c
        dh, dc = dh_n[s].copy(), dc_n[s].copy()
        for t, (h, c), gates, c_next in reversed(memory):
            dh = dh + dy[t, s]
            if cell == "lstm":
                da, dc_row = lstm_cell_grad(gates, c[None], c_next[None], dh[None], dc[None])
                db, direct, dc = da, np.zeros((1, hidden)), dc_row[0]
            elif cell == "lstm_variant":
                da, dc_row, dp = lstm_variant_grad(gates, c[None], c_next[None], w_ch, dh[None], dc[None], coupled)
                db, direct, dc = da, np.zeros((1, hidden)), dc_row[0]
                out["d_w_ch"] += dp
            elif cell == "gru":
                da, db, direct = gru_cell_grad(gates, h[None], dh[None])
            else:
                da = rnn_cell_grad(gates, dh[None], cell.removeprefix("rnn_"))
                db, direct = da, np.zeros((1, hidden))
            dh = direct[0]
            for r in range(len(w_ih)):
                out["d_b_ih"][r] += da[0, r]
                out["d_b_hh"][r] += db[0, r]
                for k in range(x.shape[2]):
                    out["d_w_ih"][r, k] += da[0, r] * x[t, s, k]
                    out["d_x"][t, s, k] += da[0, r] * w_ih[r, k]
                for k in range(hidden):
                    out["d_w_hh"][r, k] += db[0, r] * h[k]
                    dh[k] += db[0, r] * w_hh[r, k]
        out["d_h0"][s], out["d_c0"][s] = dh, dc
    return out
