"""ShotNoise: an NMM2 of finitely many neurons, by the way its noise is made."""

from typing import Any

from jnm.models.gaussian_shot_noise import GaussianShotNoise
from jnm.models.nmm2 import NMM2
from jnm.spiking.nested_shot_noise import NestedShotNoise


def ShotNoise(model: NMM2, n: Any, members: int | None = None, **options: Any) -> GaussianShotNoise | NestedShotNoise:
    """An NMM2 whose synapses hear n neurons in each population.

    Without `members` the noise is a Gaussian path with the spectrum of the resting state: cheap, for rates that stay
    near a stable fixed point. With `members=1000` so many neurons run beside the mean field and their noise follows
    what happens: next to oscillations, on rhythms, between two states. The `options` are those of the two models.

        >>> quick = jnm.ShotNoise(jnm.Pyramidal(), n=1000)
        >>> faithful = jnm.ShotNoise(jnm.ING(eta=4.5), n=16_000, members=1000)

    Raises `ValueError` as `jnm.GaussianShotNoise` and `jnm.NestedShotNoise` do.
    """
    if members is None:
        return GaussianShotNoise(model, n, **options)
    return NestedShotNoise(model, n, members, **options)
