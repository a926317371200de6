"""Placeholder by the lead until the connectome worker's file lands: overwrite it."""

import equinox as eqx
import jax.numpy as jnp


class Connectome(eqx.Module):
    weights: object
    lengths: object = None
    labels: tuple = eqx.field(static=True, default=())

    def __init__(self, weights, lengths=None, **ignored):
        self.weights = jnp.asarray(weights, float)
        self.lengths = None if lengths is None else jnp.asarray(lengths, float)
        self.labels = tuple(f"R{i}" for i in range(self.weights.shape[0]))

    def normalised(self, how):
        return Connectome(self.weights / self.weights.sum(1, keepdims=True), self.lengths)
