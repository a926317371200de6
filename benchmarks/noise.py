"""A cheaper generator for the noise: candidates beside the present one, their statistics, their cost, and the verdict.

    python benchmarks/noise.py [--quick]

The present generator is Threefry-2x32 with 20 rounds, both words used, each made normal by XLA's inverse error function.
Candidates change one thing: 13 rounds (which Salmon et al., SC 2011, report to pass BigCrush, with the 20 as a margin of
safety); the hash pcg4d (Jarzynski and Olano, JCGT 9(3), 2020), four words of four; a two-round multiply-xorshift mix; and an
inverse error function that is one polynomial instead of Giles' two, of which XLA selects each coefficient. Widynski's
squares and Philox multiply 32 by 32 bits to 64, which JAX has in double precision only.

Statistics, each as a number of standard deviations (at most 5 passes, of some hundred numbers): moments, Kolmogorov and
Smirnov's distance, correlation over steps, columns and both, of squares too, between keys and between raw key words that
are neighbours, pairs in 16 x 16 cells, the spectrum of an Ornstein-Uhlenbeck process driven by the noise, and avalanche:
how far each input bit is from turning each output bit half of the times. Costs are the least of many turns in turn; the
last row takes the noise away, the most that any generator could gain.

**Verdict: the present generator stays.** All pass but pcg4d, of which some input bits turn an output bit always or never (it
is made for counters that are pixels). But what a cheaper generator saves is little of what noise costs in a simulation of 64
members: 1.04 times as fast with 13 rounds, 1.11 with the mix, 1.12 with the mix and the one polynomial, against 1.2 asked
for, and against 2.15 with no noise at all. (The package against its like in this script gave 1.02: so exact are these.) A
number costs 5.0 ns now, 3.4 at best. The mix also has no literature behind it as a generator, only its hash has. Far more
than by any of these was gained by making each number by itself: halves of a step that are made of two words of one counter
and then joined are a loop with a branch, which is not vectorised.
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import network
import numpy as np
from _harness import report, row
from scipy import signal, special, stats
from scipy.signal.windows import hann

import jnm
from jnm._threefry import threefry
from jnm.integration.noise import _normal as giles

Words = Callable[[Any, Any, Any], tuple[Any, ...]]  # key words, step, element -> words
PASS = 5.0  # standard deviations
GOAL = 1.2  # a whole simulation must be so many times faster for another generator to be adopted


def threefry13(key: Any, x0: Any, x1: Any) -> tuple[Any, ...]:
    """Thirteen rounds: three groups of four, and one round more."""
    rotations = ((13, 15, 26, 6), (17, 29, 16, 24))
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for number in range(13):
        distance = rotations[number // 4 % 2][number % 4]
        x0 = x0 + x1
        x1 = ((x1 << distance) | (x1 >> (32 - distance))) ^ x0
        if number % 4 == 3:
            group = number // 4
            x0 = x0 + schedule[(group + 1) % 3]
            x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def pcg4d(key: Any, x0: Any, x1: Any) -> tuple[Any, ...]:
    """Four words of the counter and the key."""
    words = jnp.broadcast_arrays(x0, x1, key[0], key[1])
    x, y, z, w = (v * np.uint32(1664525) + np.uint32(1013904223) for v in words)
    for shifted in (False, True):
        if shifted:
            x, y, z, w = (v ^ (v >> 16) for v in (x, y, z, w))
        x = x + y * w
        y = y + z * x
        z = z + x * y
        w = w + y * z
    return x, y, z, w


def mix(key: Any, x0: Any, x1: Any) -> tuple[Any, ...]:
    """Two rounds of multiply and xorshift (Ettinger's lowbias32) for each of two words."""

    def lowbias(x):
        x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
        return x ^ (x >> 16)

    row_ = lowbias(x0 ^ key[0]) + key[1]  # once a step, not an element, where the compiler hoists it
    first = lowbias(row_ + x1 * np.uint32(0x9E3779B9))
    return first, lowbias(first ^ (row_ + np.uint32(0x85EBCA6B)))


def uniform(word: Any) -> Any:
    """[0, 1) from the upper 23 bits, as the package."""
    return jax.lax.bitcast_convert_type((word >> 9) | np.uint32(0x3F800000), jnp.float32) - 1


class Polynomial(NamedTuple):
    """erf_inv(x) / x over s in [-1, 1], the place of sqrt(2 + w), w = -log(1 - x^2), on all that float32 has."""

    low: float
    half: float
    coefficients: tuple[float, ...]

    @classmethod
    def fitted(cls, degree: int = 10, largest: float = 17.4) -> "Polynomial":
        """At Chebyshev's points; the relative error is below 1e-5."""
        low, high = np.sqrt(2.0), np.sqrt(2.0 + largest)
        s = np.cos(np.pi * (np.arange(4000) + 0.5) / 4000)
        t = low + (s + 1) / 2 * (high - low)
        x = np.sqrt(-np.expm1(2 - t**2))
        ratio = special.erfcinv(np.exp(2 - t**2) / (1 + x)) / x
        found = np.polynomial.Polynomial.fit(s, ratio, degree, domain=[-1, 1]).coef
        assert np.abs(np.polynomial.polynomial.polyval(s, found) / ratio - 1).max() < 1e-5
        return cls(float(low), float(high - low) / 2, tuple(found.tolist()))

    def __call__(self, unit: Any) -> Any:
        """Normals from [0, 1)."""
        lowest = np.nextafter(np.float32(-1), np.float32(0))
        x = jnp.maximum(lowest, unit * (1 - lowest) + lowest)
        s = (jnp.sqrt(2 - jnp.log1p(-x * x)) - self.low) / self.half - 1
        ratio = jnp.full_like(s, self.coefficients[-1])
        for c in self.coefficients[-2::-1]:
            ratio = ratio * s + c
        return np.sqrt(2, dtype=np.float32) * x * ratio


class Generator(NamedTuple):
    """How words are made, and normals of them."""

    words: Words
    normal: Callable[[Any], Any]

    def normals(self, words: Any, step: Any, count: int, size: int) -> Any:
        """[count, size] of the steps from `step` on, from the two words of a key."""
        steps = (jnp.asarray(step, np.uint32) + jnp.arange(count, dtype=np.uint32))[:, None]
        many = len(jax.eval_shape(self.words, words, np.uint32(0), np.uint32(0)))
        part, element = jnp.divmod(jnp.arange(size, dtype=np.uint32)[None], np.uint32(-(-size // many)))
        made = self.words(words, *(jnp.broadcast_to(c, (count, size)) for c in (steps, element)))
        word = functools.reduce(lambda found, k: jnp.where(part == k, made[k], found), range(1, many), made[0])
        return self.normal(uniform(word))


def generators() -> dict[str, Generator]:
    """The present one first."""
    return {
        "threefry 20": Generator(threefry, giles),
        "threefry 13": Generator(threefry13, giles),
        "pcg4d": Generator(pcg4d, giles),
        "mix": Generator(mix, giles),
        "threefry 20, one polynomial": Generator(threefry, Polynomial.fitted()),
        "threefry 13, one polynomial": Generator(threefry13, Polynomial.fitted()),
        "mix, one polynomial": Generator(mix, Polynomial.fitted()),
    }


# --------------------------------------------------------------------------------------------------- is it random?


def deviations(x: np.ndarray) -> dict[str, float]:
    """Of samples [step, column]: how many standard deviations each statistic lies off."""
    n, flat = x.size, x.ravel()
    found = {
        "mean": abs(flat.mean()) * np.sqrt(n),
        "variance": abs(flat.var() - 1) / np.sqrt(2 / n),
        "skewness": abs(stats.skew(flat)) / np.sqrt(6 / n),
        "kurtosis": abs(stats.kurtosis(flat)) / np.sqrt(24 / n),
        "Kolmogorov": stats.norm.isf(stats.kstest(flat, "norm").pvalue / 2),
        "pairs of steps": _cells(x[:-1], x[1:]),
        "pairs of columns": _cells(x[:, :-1], x[:, 1:]),
        "spectrum of OU": _spectrum(x),
    }
    for name, y in (("", x), (" of squares", (x**2 - 1) / np.sqrt(2))):
        for rows in (0, 1, 2, 3, 10, 100):
            for columns in (-2, -1, 0, 1, 2, x.shape[1] // 2, x.shape[1] // 4):
                if rows or columns > 0:
                    shifted = y[: len(y) - rows, max(0, -columns) : y.shape[1] - max(0, columns)]
                    other = y[rows:, max(0, columns) : y.shape[1] + min(0, columns)]
                    found[f"correlation{name}, {rows} steps, {columns} columns"] = _correlation(shifted, other)
    return {name: float(value) for name, value in found.items()}


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return abs(np.mean(x * y)) * np.sqrt(x.size)


def _cells(x: np.ndarray, y: np.ndarray, side: int = 16) -> float:
    """Chi squared of pairs in cells of equal probability, as a normal deviate."""
    edges = stats.norm.ppf(np.arange(1, side) / side)
    counts = np.bincount(
        (np.searchsorted(edges, x.ravel()) * side + np.searchsorted(edges, y.ravel())), minlength=side**2
    )
    wanted = x.size / side**2
    return abs(np.sum((counts - wanted) ** 2 / wanted) - (side**2 - 1)) / np.sqrt(2 * (side**2 - 1))


def _spectrum(x: np.ndarray, keep: float = 0.95) -> float:
    """The periodogram of x_n = keep x_(n-1) + noise over its law, in 32 bands: the largest deviation."""
    y = signal.lfilter([1.0], [1.0, -keep], x, axis=0)[200:]
    y = y[: len(y) // 64 * 64] * hann(len(y) // 64 * 64)[:, None]
    power = np.abs(np.fft.rfft(y, axis=0)[2:-2]) ** 2 / np.sum(hann(len(y)) ** 2)
    w = 2 * np.pi * np.arange(2, len(y) // 2 - 1) / len(y)
    bands = np.array_split((power * np.abs(1 - keep * np.exp(-1j * w))[:, None] ** 2)[::3], 32)  # Hann ties neighbours
    return max(abs(band.mean() - 1) * np.sqrt(band.size) for band in bands)


def between(one: Generator, steps: int, columns: int) -> dict[str, float]:
    """The largest correlation of what neighbouring keys, and neighbouring raw words, give."""
    keys = [jax.random.bits(jax.random.key(seed), (2,), np.uint32) for seed in range(8)]
    keys += [jax.random.bits(jax.random.fold_in(jax.random.key(0), i), (2,), np.uint32) for i in range(8)]
    raw = [jnp.array([i, j], np.uint32) for i in range(4) for j in range(4)]
    draw, found = jax.jit(one.normals, static_argnums=(2, 3)), {}
    for name, words in (("keys", keys), ("raw key words", raw)):
        x = np.stack([np.asarray(draw(w, 0, steps, columns), float).ravel() for w in words])
        for what, y in (("", x), (" of squares", (x**2 - 1) / np.sqrt(2))):
            r = (y @ y.T)[np.triu_indices(len(y), 1)] / np.sqrt(y.shape[1])
            found[f"correlation{what} between {name}"] = float(np.abs(r).max())
    return found


def avalanche(one: Generator, samples: int) -> float:
    """Over all input and output bits: the largest deviation from turning one in half of the cases."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 2**32, (samples, 4), dtype=np.uint32)
    inputs[:, 2:] >>= 12  # counters are small numbers

    def bits(v):
        made = jnp.stack(one.words((v[:, 0], v[:, 1]), v[:, 2], v[:, 3]))
        return (made[..., None] >> np.arange(9, 32, dtype=np.uint32)) & 1  # those that the mantissa takes

    bits, worst = jax.jit(bits), 0.0
    for word in range(4):
        for bit in range(32):
            turned = inputs.copy()
            turned[:, word] ^= np.uint32(1) << np.uint32(bit)
            share = np.asarray((bits(inputs) != bits(turned)).mean(axis=1))
            worst = max(worst, float(np.abs(share - 0.5).max() * 2 * np.sqrt(samples)))
    return worst


def statistics(one: Generator, steps: int, columns: int) -> dict[str, float]:
    """All deviations of a generator."""
    words = jax.random.bits(jax.random.key(42), (2,), np.uint32)
    x = np.asarray(jax.jit(one.normals, static_argnums=(2, 3))(words, 0, steps, columns), float)
    return {**deviations(x), **between(one, steps // 4, columns), "avalanche": avalanche(one, max(64, steps // 4))}


# ----------------------------------------------------------------------------------------------- what does it cost?


def least(workloads: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """The least processor time of each of some workloads run in turn, s: wall time would be that of a machine's load."""
    for work in workloads.values():
        jax.block_until_ready(work())
    times = dict.fromkeys(workloads, np.inf)
    for _ in range(turns):
        for name, work in workloads.items():
            begin = time.process_time()
            jax.block_until_ready(work())
            times[name] = min(times[name], time.process_time() - begin)
    return times


def nanoseconds(chosen: dict[str, Generator], steps: int, turns: int) -> dict[str, float]:
    """The least time of a normal number, 180 a step, a thousand steps at once, as `simulate` draws them."""
    key, size = jax.random.bits(jax.random.key(0), (2,), np.uint32), 180
    work = {}
    for name, one in chosen.items():
        draw = jax.jit(lambda step, one=one: one.normals(key, step, 1000, size).sum(axis=1))
        many = jax.jit(lambda draw=draw: jax.lax.map(draw, jnp.arange(0, steps, 1000)))
        work[name] = many
    return {name: 1e9 * seconds / (steps * size) for name, seconds in least(work, turns).items()}


class Exchanged(eqx.Module):
    """The package's white noise from another generator; from none, the same number always."""

    one: Generator | None = eqx.field(static=True)

    def draw(self, key: Any, step: Any, count: int, dt: float, like: Any, levy: bool) -> Any:
        size = sum(leaf.size for leaf in jax.tree.leaves(like))
        if self.one is None:
            return jnp.full((count, size), np.sqrt(dt))
        words = jax.random.bits(jax.random.fold_in(key, 0), (2,), np.uint32)
        return np.sqrt(dt) * self.one.normals(words, step, count, size)


def simulations(chosen: dict[str, Generator], members: int, steps: int, turns: int) -> dict[str, float]:
    """The least processor time of the sweep of `network.py` with each generator; and with none."""
    net, dt = network.network(network.connectome()[0]), network.DT

    def run_of(noise: Any) -> network.Run:
        def run(gain, key):
            model = eqx.tree_at(lambda m: m.coupling.gain, net, jnp.asarray(gain, float))
            return jnm.simulate(model, steps * dt, dt, key=key, save_every=10 * dt, noise=noise).ys.r

        return run

    everything: dict[str, Any] = {**chosen, "no noise": None}
    work = {name: network.batch(run_of(Exchanged(one)), members) for name, one in everything.items()}
    work["the package"] = network.batch(run_of(jnm.White()), members)
    return least(work, turns)


def main() -> None:
    """Run everything and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing kept: does it run?")
    quick = parser.parse_args().quick
    chosen = generators()
    found = {name: statistics(one, *((600, 32) if quick else (20_000, 100))) for name, one in chosen.items()}
    fair = {name: max(values.values()) <= PASS for name, values in found.items()}
    cost = nanoseconds(chosen, 1000 if quick else 20_000, 1 if quick else 30)
    whole = simulations(chosen, *((2, 200, 1) if quick else (64, 1000, 30)))
    rows, first = [], next(iter(chosen))
    for name, values in found.items():
        worst = max(values, key=values.__getitem__)
        rows.append(row(f"{name}: largest deviation ({worst})", values[worst], "sd", PASS))
        rows.append(row(f"{name}: a normal number", cost[name], "ns", relative=cost[name] / cost[first]))
    rows += [row(f"simulation, {first} : {name}", whole[first] / seconds, "") for name, seconds in whole.items()]
    adopted = [name for name in chosen if fair[name] and whole[first] / whole[name] >= GOAL]
    failed = {n: {k: v for k, v in values.items() if v > PASS} for n, values in found.items()}
    report("noise", rows, keep=not quick, failed=failed, worth_adopting=adopted)


if __name__ == "__main__":
    main()
