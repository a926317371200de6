"""The Threefry-2x32 block cipher (Salmon et al., SC 2011), written out: random bits as a function of key and counter.

Written out in full, the twenty rounds fuse with whatever makes numbers of the bits into one loop.
"""

import numpy as np
from jaxtyping import Array, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key: UInt32[Array, "2"], x0: UInt32[Array, "..."], x1: UInt32[Array, "..."]):
    """Twenty rounds of Threefry-2x32; equal to `jax.extend.random.threefry_2x32` bit for bit."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << distance) | (x1 >> (32 - distance))) ^ x0
        x0, x1 = x0 + schedule[(group + 1) % 3], x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1
