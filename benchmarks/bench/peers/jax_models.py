"""The models in plain JAX, for one client, with weights in the shapes of torch's layers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def loss(model: str, params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Squared error for the curves, cross-entropy for the rest; mean over samples."""
    outputs = MODELS[model](params, x)
    if model == "sine":
        return jnp.square(outputs - y).mean()
    return -(jax.nn.log_softmax(outputs) * jax.nn.one_hot(y, outputs.shape[1])).sum(1).mean()


def _dense(params: Any, name: str, x: jax.Array) -> jax.Array:
    return x @ params[f"{name}.weight"].T + params[f"{name}.bias"]


def _mlp(params: Any, x: jax.Array) -> jax.Array:
    x = jax.nn.relu(_dense(params, "layer0", x))
    return _dense(params, "layer2", jax.nn.relu(_dense(params, "layer1", x)))


def _conv(params: Any, name: str, x: jax.Array) -> jax.Array:
    dims = ("NWC", "OIW", "NWC")
    y = jax.lax.conv_general_dilated(x, params[f"{name}.weight"], (1,), "VALID", dimension_numbers=dims)
    return y + params[f"{name}.bias"]


def _cnn(params: Any, x: jax.Array) -> jax.Array:
    x = jax.nn.relu(_conv(params, "conv0", x.transpose(0, 2, 1)))
    x = jnp.maximum(x[:, ::2], x[:, 1::2])  # faster than reduce_window or a reshaped maximum
    return _dense(params, "head", jax.nn.relu(_conv(params, "conv1", x)).mean(1))


def _gru(params: Any, x: jax.Array) -> jax.Array:
    series = x.transpose(2, 0, 1)  # time first
    inputs = series @ params["gru.weight_ih"].T + params["gru.bias_ih"]

    def step(h: jax.Array, given: jax.Array) -> tuple[jax.Array, None]:
        own = h @ params["gru.weight_hh"].T + params["gru.bias_hh"]
        (ir, iz, inew), (hr, hz, hnew) = jnp.split(given, 3, 1), jnp.split(own, 3, 1)
        r, z = jax.nn.sigmoid(ir + hr), jax.nn.sigmoid(iz + hz)
        return (1 - z) * jnp.tanh(inew + r * hnew) + z * h, None

    h, _ = jax.lax.scan(step, jnp.zeros((x.shape[0], params["gru.weight_hh"].shape[1])), inputs)
    return _dense(params, "head", h)


MODELS = {"mlp": _mlp, "module": _mlp, "cnn": _cnn, "gru": _gru, "sine": _mlp}
