r"""Places on the cortex, a population of n QIF cells each: what spikes, mean V, currents and sensors see of them at rest.

Populations of one kind, heard by their own cells (weight C) and along `links` by others (K), rest at the effective drive
X = eta + (C + K) R under white currents xi of their own. With W = C + K links, H the synapse, G the answer of a rate to a
current and G_v that of the mean V, all in times of tau_m and to first order,

    spikes     r = T (chi + G xi),                     T = (1 - G H W)^-1,      G = 2 R / ((i w + a)^2 + (2 pi R)^2),
    mean V     v = psi + G_v (xi + H W r),             G_v = G (i w + a) / (2 R),    a = delta / (pi R),
    source     q = gain H W r,
    sensors    y = L q + noise,

where chi and psi are the shot noise of n cells in their spikes and in V. Cells are clocks of rate nu with the density P
(`jnm.shot_noise_psd`), whose k-th harmonic is nu in the spikes and c_k in z = (1 + i V) / (1 - i V),

    c_k = -(1 - rho^2) rho^(k-1),    rho = (1 - pi nu) / (1 + pi nu),
    <chi z*> = (1/n) sum_k P(f/k) nu c_k / k,    <z z*> = (1/n) sum_k P(f/k) c_k^2 / k,    nu = f/k.

The mean of V itself does not exist, since V runs to infinity in every spike. That of z does, and the v that belongs to
it, pi R - i v = (1 - Z) / (1 + Z), is that of the mean field (Montbrio, Pazo & Roxin, Phys. Rev. X 5:021028, 2015), so
that psi = -i (z - Z) / (1 + Z)^2. Cells near threshold are clocks under weak noise only: of 500 uncoupled cells (X = 2,
delta = 1) the shot noise in V below 16 Hz was 90 to 101 % of this at sigma = .01 and 56 to 61 % at .03. Shot noise after
Klinshov & Kirillov, Phys. Rev. E 106 L062302 (2022); the rest is ours.
"""

from typing import Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._param import Positive, check_domains, param
from jnm.meg.dipole import Dipole
from jnm.models import NMM2, psi, shot_noise_psd
from jnm.network import Connectome, Linear, Network
from jnm.spiking import QIFNetwork

Way = Literal["spikes", "mean V", "source", "sensors"]
WAYS: tuple[Way, ...] = get_args(Way)
"""What is looked at: rates, mean V, dipole moments, and these through a lead field."""

NAMES = ("eta", "C", "K", "delta", "sigma sqrt(n)", "n", "gain / sqrt(n)")
"""What is looked for. The last two are the level of a spectrum: n where cells are counted, the other behind dipoles."""

_COUNTED = ("spikes", "mean V")
_HARMONICS = 60  # of a cell; what they bring falls as k^-4


def _ring(count: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in np.roll(np.eye(count), 1, axis=0).tolist())


class Places(eqx.Module):
    """Like populations of n QIF cells at some places, each with its dipole (equations: head of this file).

        >>> places = Places(jnm.meg.Dipole.qif(cells=8e6, tau_m=15.0), X=2.0, C=4.0, K=2.0, delta=1.0, sigma=0.03, n=1000)
        >>> S = places.spectra("source", jnp.linspace(5.0, 100.0, 96))      # (nA m)^2 / Hz, [frequency, place, place]

    `links` says who hears whom, [to][from], rows of sum one; by default a ring of three. Raises `ValueError` for others.
    """

    dipole: Dipole
    X: Float[Array, ""] = param(doc="effective drive, eta + (C + K) R")
    C: Float[Array, ""] = param(doc="weight of a population's own synapses")
    K: Float[Array, ""] = param(doc="weight of the synapses of others, along links")
    delta: Float[Array, ""] = param(domain=Positive(), doc="half width of the Lorentzian of excitability")
    sigma: Float[Array, ""] = param(unit="1/sqrt(ms)", domain=Positive(), doc="white noise on v, one for each place")
    n: Float[Array, ""] = param(domain=Positive(), doc="cells of a population")
    tau_m: Float[Array, ""] = param(15.0, unit="ms", domain=Positive(), doc="membrane time constant")
    tau_s: Float[Array, ""] = param(5.0, unit="ms", domain=Positive(), doc="time constant of the synapses")
    links: tuple[tuple[float, ...], ...] = eqx.field(default=_ring(3), static=True)

    def __check_init__(self):
        check_domains(self)
        links = np.array(self.links)
        if links.ndim != 2 or links.shape[0] != links.shape[1] or not np.allclose(links.sum(axis=1), 1):
            raise ValueError(f"Places: links of shape {list(links.shape)}; wanted [to][from], rows of sum one.")

    @property
    def R(self) -> Float[Array, ""]:
        """The rate at rest in units of 1/tau_m."""
        return psi(self.X, self.delta)

    @property
    def eta(self) -> Float[Array, ""]:
        """The centre of the Lorentzian."""
        return self.X - (self.C + self.K) * self.R

    @property
    def gain(self) -> Float[Array, ""]:
        """nA m per unit of source."""
        return self.dipole(jnp.ones(1))[0]

    @property
    def weights(self) -> Float[Array, "to from"]:
        """C + K links."""
        return self.C * jnp.eye(len(self.links)) + self.K * jnp.asarray(self.links)

    @property
    def growth(self) -> float:
        """How fast the slowest mode of the masses at rest grows, 1/ms; below zero the rest is stable.

        The largest real part of all lambda with ((lambda + a)^2 + (2 pi R)^2) (1 + lambda tau_s / tau_m)^2 = 2 R w, where w
        are the eigenvalues of the weights, divided by tau_m.
        """
        R, tau_m = float(self.R), float(self.tau_m)
        a, ratio = float(self.delta) / (np.pi * R), float(self.tau_s) / tau_m
        cells = np.polymul([1, 2 * a, a**2 + (2 * np.pi * R) ** 2], [ratio**2, 2 * ratio, 1])
        loops = (np.polysub(cells, [2 * R * w]) for w in np.linalg.eigvals(np.asarray(self.weights)))
        return max(np.roots(loop).real.max() for loop in loops) / tau_m

    def free(self, way: Way) -> Float[Array, " coordinate"]:
        """X, C, K, log delta, log(sigma sqrt n) and the log of what sets the level: n, or behind dipoles gain / sqrt n.

        Dipoles know n and sigma only by what they make of them together: n is then left as it is.
        """
        level = self.n if way in _COUNTED else self.gain / jnp.sqrt(self.n)
        return jnp.stack(
            [self.X, self.C, self.K, jnp.log(self.delta), jnp.log(self.sigma * jnp.sqrt(self.n)), jnp.log(level)]
        )

    def at(self, theta: Float[Array, " coordinate"], way: Way) -> "Places":
        """The places with these coordinates."""
        delta, ratio, level = jnp.exp(theta[3]), jnp.exp(theta[4]), jnp.exp(theta[5])
        n = level if way in _COUNTED else self.n
        more = 0.0 if way in _COUNTED else jnp.log(level * jnp.sqrt(n) / self.gain)
        values = (theta[0], theta[1], theta[2], delta, ratio / jnp.sqrt(n), n, self.dipole.log_scale + more)
        return eqx.tree_at(lambda p: (p.X, p.C, p.K, p.delta, p.sigma, p.n, p.dipole.log_scale), self, values)

    def values(self) -> dict[str, Float[Array, ""]]:
        """What is looked for, by name."""
        root = jnp.sqrt(self.n)
        told = (self.eta, self.C, self.K, self.delta, self.sigma * root, self.n, self.gain / root)
        return dict(zip(NAMES, told, strict=True))

    @property
    def mass(self) -> Network:
        """The mass model: infinitely many cells a place, and white noise."""
        node = NMM2(self.tau_m, self.tau_s, self.delta, self.eta, self.C, sigma=self.sigma)
        return Network(node, Connectome(jnp.asarray(self.links)), Linear(gain=self.K))

    @property
    def cells(self) -> QIFNetwork:
        """The spiking network; its noise comes as a stimulus."""
        count = len(self.links)
        tau_m, tau_s, delta, eta = (jnp.full(count, x) for x in (self.tau_m, self.tau_s, self.delta, self.eta))
        return QIFNetwork(tau_m, tau_s, delta, eta, self.weights, n=round(float(self.n)))

    def spectra(
        self, way: Way, f_hz: Float[Array, " frequency"], *, shots: bool = True
    ) -> Complex[Array, "frequency place place"]:
        """Cross-spectra of rates (1/ms), of v or of moments (nA m; "source" and "sensors"), one-sided per Hz.

        `f_hz` may be negative. Without `shots` they are those of the mass, infinitely many cells.
        """
        f_tau = jnp.maximum(jnp.abs(f_hz), 1e-3) / 1000 * self.tau_m
        S = self._scattered(way, f_tau, jnp.where(shots, 1 / self.n, 0.0))
        scale = {"spikes": 1 / self.tau_m**2, "mean V": 1.0}.get(way, self.gain**2)
        S = 2 * self.tau_m / 1000 * scale * S
        return jnp.where((f_hz < 0)[:, None, None], jnp.conj(S), S)

    def _scattered(self, way: Way, f: Array, per_cell: Array) -> Array:
        """Two-sided densities, per cycle and tau_m."""
        R, eye, W = self.R, jnp.eye(len(self.links))[None], self.weights[None]
        turning, a = 2j * jnp.pi * f, self.delta / (jnp.pi * R)
        G, H = 2 * R / ((turning + a) ** 2 + (2 * jnp.pi * R) ** 2), (1 + turning * self.tau_s / self.tau_m) ** -2
        G, H, G_v = (x[:, None, None] for x in (G, H, G * (turning + a) / (2 * R)))
        T = jnp.linalg.inv(eye - G * H * W)
        rates, both, membranes = (per_cell * x[:, None, None] for x in self._shots(f))
        current = self.sigma**2 * self.tau_m
        if way != "mean V":
            seen = T if way == "spikes" else H * W @ T
            return seen @ ((rates + current * jnp.abs(G) ** 2) * _dagger(seen))
        heard, moved = G_v * (H * W @ T), G_v * (eye + H * W @ T * G)
        crossed = heard * both
        shots = membranes * eye + heard @ (rates * _dagger(heard)) + crossed + _dagger(crossed)
        return shots + current * moved @ _dagger(moved)

    def _shots(self, f: Array) -> tuple[Array, Array, Array]:
        """<chi chi*>, <chi psi*> and <psi psi*> of one cell."""
        k = jnp.arange(1, _HARMONICS + 1)[:, None]
        nu = f[None] / k
        density = 2 * jnp.pi * nu * self.delta / ((jnp.pi**2 * nu**2 - self.X) ** 2 + self.delta**2)
        rho = (1 - jnp.pi * nu) / (1 + jnp.pi * nu)
        c = -(1 - rho**2) * rho ** (k - 1)
        at_rest = jnp.pi * self.R + 0.5j * self.delta / (jnp.pi * self.R)  # pi R - i v
        turn = -1j * ((1 + at_rest) / 2) ** 2  # psi / z, as 1 + Z = 2 / (1 + pi R - i v)
        chi_z, z_z = jnp.sum(density / k * nu * c, axis=0), jnp.sum(density / k * c**2, axis=0)
        chi = shot_noise_psd(f, self.X, self.delta, 1.0)
        return chi, chi_z * jnp.conj(turn), z_z * jnp.abs(turn) ** 2


def _dagger(x: Array) -> Array:
    return jnp.conj(jnp.swapaxes(x, -1, -2))
