"""The proxy transformer in float64, one sequence, position by position and head by head."""

import math

import numpy as np


def norm(x, gain):
    return x / np.sqrt(np.mean(x**2) + 1e-6) * gain


def rotate(x, position):
    """Pairs (i, i + half) as complex numbers, turned by position / 10000^(i/half)."""
    half = len(x) // 2
    turned = (x[:half] + 1j * x[half:]) * np.exp(
        1j * position * 10_000.0 ** (-np.arange(half) / half)
    )
    return np.concatenate([turned.real, turned.imag])


def logits(p, sequence, size):
    """Logits of shape (length, vocabulary); `p` is a nested dict of float64 arrays."""

    def turned(block, name, x, part, position):
        x = (x @ block[name])[part]
        return rotate(norm(x, block[f"{name}_gain"]) if size.qk_norm else x, position)

    stream = [p["embedding"][token] for token in sequence]
    for layer in range(size.layers):
        b = p[f"block_{layer}"]
        inner = [norm(x, b["attention_gain"]) for x in stream]
        out = [np.zeros(size.width) for _ in stream]
        for head in range(size.heads):
            part = slice(head * size.head_width, (head + 1) * size.head_width)
            key = [turned(b, "key", x, part, i) for i, x in enumerate(inner)]
            for i, x in enumerate(inner):
                query = turned(b, "query", x, part, i)
                score = np.array([query @ k for k in key[: i + 1]]) / math.sqrt(size.head_width)
                weight = np.exp(score - score.max())
                weight /= weight.sum()
                out[i][part] = sum(
                    w * (x @ b["value"])[part] for w, x in zip(weight, inner, strict=False)
                )
        stream = [x + o @ b["attention_out"] for x, o in zip(stream, out, strict=True)]
        for i, x in enumerate(stream):
            h = norm(x, b["mlp_gain"]) @ b["mlp_in"]
            h = 0.5 * h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
            stream[i] = x + h @ b["mlp_out"]
    head = p["embedding"].T if size.tied else p["head"]
    return np.array([norm(x, p["final_gain"]) @ head for x in stream])


def surprise(p, window, size):
    """Mean of -log p(next token) over a window of length + 1 tokens."""
    rows = logits(p, window[:-1], size)
    return np.mean(
        [
            np.log(np.exp(row).sum()) - row[token]
            for row, token in zip(rows, window[1:], strict=True)
        ]
    )
