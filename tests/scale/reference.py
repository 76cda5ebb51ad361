"""Llama in float64, written for these tests alone: RMS norm, rotary embedding (half against half), grouped attention, SiLU.

A layer of holes adds nothing to its input and is left out."""
from packages import numpy

HEAD_ROWS = 8192  # rows of the head that are widened at a time
QUERIES = 512     # positions whose scores are held at a time


def rms_norm(x, epsilon):
    return x / numpy.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon)


def rotate(x, theta):
    """x: [positions, heads, size]; dimension d turns with d + size/2 by position * theta^(-2d/size)."""
    half = x.shape[-1] // 2
    angles = numpy.arange(x.shape[0])[:, None] * theta ** (-numpy.arange(half) / half)
    cos, sin = numpy.cos(angles)[:, None], numpy.sin(angles)[:, None]
    low, high = x[..., :half], x[..., half:]
    return numpy.concatenate([low * cos - high * sin, high * cos + low * sin], axis=-1)


def attend(q, k, v):
    """q: [positions, heads, size], k and v: [positions, kv heads, size]; each position sees itself and those before it."""
    count, heads, size = q.shape
    out = numpy.empty_like(q)
    for first in range(0, count, QUERIES):
        last = min(first + QUERIES, count)
        later = numpy.arange(last)[None, :] > numpy.arange(first, last)[:, None]
        for head in range(heads):
            shared = head * k.shape[1] // heads
            scores = q[first:last, head] @ k[:last, shared].T / numpy.sqrt(size)
            scores[later] = -numpy.inf
            scores = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
            out[first:last, head] = scores / scores.sum(axis=-1, keepdims=True) @ v[:last, shared]
    return out.reshape(count, heads * size)


def logits(checkpoint, tokens, positions):
    """float64 logits [len(positions), vocabulary] of a checkpoint whose norms are 1, after `tokens`."""
    shape = checkpoint.shape
    size = shape.hidden // shape.heads

    def linear(x, name):
        return x @ checkpoint.values(name).astype(numpy.float64).T

    x = checkpoint.values("model.embed_tokens.weight")[list(tokens)].astype(numpy.float64)
    for layer in checkpoint.real_layers:
        at = f"model.layers.{layer}."
        y = rms_norm(x, shape.epsilon)
        q = rotate(linear(y, at + "self_attn.q_proj.weight").reshape(len(x), shape.heads, size), shape.theta)
        k = rotate(linear(y, at + "self_attn.k_proj.weight").reshape(len(x), shape.kv_heads, size), shape.theta)
        v = linear(y, at + "self_attn.v_proj.weight").reshape(len(x), shape.kv_heads, size)
        x = x + linear(attend(q, k, v), at + "self_attn.o_proj.weight")
        y = rms_norm(x, shape.epsilon)
        gate = linear(y, at + "mlp.gate_proj.weight")
        x = x + linear(gate / (1 + numpy.exp(-gate)) * linear(y, at + "mlp.up_proj.weight"), at + "mlp.down_proj.weight")
    last = rms_norm(x[list(positions)], shape.epsilon)
    head = checkpoint.values("model.embed_tokens.weight" if shape.tied else "lm_head.weight")
    return numpy.concatenate([last @ head[row:row + HEAD_ROWS].astype(numpy.float64).T for row in range(0, len(head), HEAD_ROWS)], axis=1)
