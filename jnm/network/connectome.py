"""The connectome: which region hears which, how strongly, over what way, and where the regions lie.

weights[to, from]     row i holds what region i receives
"""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from jnm.network import formats, regions as sides, spectrum
from jnm.network.spectrum import Modes, Spectrum


def _known(doc: str, unit: str = "", static: bool = False) -> Any:
    """A field with what `jnm.describe` tells of it."""
    return eqx.field(static=static, metadata={"doc": doc, "unit": unit})


class Connectome(eqx.Module):
    """Weights between brain regions, with tract lengths, positions and names where they are known.

    **Arguments:**

    - `weights`: [to, from], zero where there is no connection. Structural weights are never negative; effective ones
      may be, and are taken as they come. The diagonal (self-connections) is kept too.
    - `lengths`: [to, from], tract lengths in mm, not negative; needed for delays.
    - `centres`: [region, 3], mm, in the coordinate frame named by `frame`.
    - `orientations`: [region, 3], unit vectors along the current dipoles of the regions, in the same frame.
    - `labels`: one name a region, all different; region01, region02, ... (and `labelled` False) if left out.
    - `frame`: "head" (MEG head coordinates: x right, y front, z up) or another name, such as "mni".
    - `source`, `citation`: where it comes from, and whom to cite, one paper a line.

    Text is static: connectomes that are stacked for `jax.vmap` must agree in it, and new labels compile anew.

    Raises `ValueError` for weights that are not square or not finite, lengths of another shape or negative, centres or
    orientations that are not [region, 3], orientations that are not unit vectors, and labels of another number or
    repeated. Of traced values only the shape is checked.

    >>> ring = jnm.Connectome([[0.0, 0.0, 2.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], labels=["A", "B", "C"])
    >>> ring.normalised("rows").weights[0]
    Array([0., 0., 1.], dtype=float32)
    """

    weights: Float[Array, "to from"] = _known("connection weights [to, from]")
    lengths: Float[Array, "to from"] | None = _known("tract lengths [to, from]", unit="mm")
    centres: Float[Array, "region 3"] | None = _known("positions of the regions", unit="mm")
    orientations: Float[Array, "region 3"] | None = _known("unit vectors along the dipoles of the regions")
    labels: tuple[str, ...] = _known("names of the regions", static=True)
    frame: str = _known("coordinate frame of centres and orientations", static=True)
    source: str = _known("where the connectome comes from", static=True)
    citation: str = _known("whom to cite for it, one paper a line", static=True)

    def __init__(
        self,
        weights: ArrayLike | Sequence[Any],
        lengths: ArrayLike | Sequence[Any] | None = None,
        centres: ArrayLike | Sequence[Any] | None = None,
        orientations: ArrayLike | Sequence[Any] | None = None,
        labels: Iterable[str] | None = None,
        *,
        frame: str = "head",
        source: str = "",
        citation: str = "",
    ):
        self.weights = _floats("weights", weights)
        self.lengths = None if lengths is None else _floats("lengths", lengths)
        self.centres = None if centres is None else _floats("centres", centres)
        self.orientations = None if orientations is None else _floats("orientations", orientations)
        _check_shapes(self)
        self.labels = _default_labels(self.n_regions) if labels is None else _checked_labels(labels, self.n_regions)
        _check_values(self)
        self.frame, self.source, self.citation = str(frame), str(source), str(citation)

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        *,
        lengths: str | os.PathLike[str] | None = None,
        frame: str | None = None,
        source: str = "",
        citation: str = "",
    ) -> "Connectome":
        """Read a file or folder of any usual format: .dat (edge list), .npz, .npy, .csv, .tsv, .txt, MATLAB's .mat, The
        Virtual Brain's .zip or folder, BIDS `*_relmat.dense.tsv`; `jnm.network.formats` says what each holds.

        **Arguments:** `lengths` is a second file, of tract lengths in mm, for formats that hold one matrix; where both
        name their regions they are matched by name. `frame` names the coordinates of centres where the file does not
        ("unknown" if neither does); `source` and `citation` replace the file's own.

        Raises `FileNotFoundError`, and `ValueError` naming the file and the line for anything that cannot be read.
        """
        parts = formats.read(path)
        if "weights" not in parts:
            raise ValueError(f"{path} holds tract lengths alone; read the weights, and give this file as lengths=.")
        if lengths is not None:
            parts["lengths"] = formats.lengths(lengths, parts.get("labels"))
        placed = "centres" in parts or "orientations" in parts
        parts["frame"] = frame or parts.get("frame", "unknown" if placed else "head")
        parts["source"] = source or parts.get("source", "")
        parts["citation"] = citation or parts.get("citation", "")
        return cls(**parts)

    @classmethod
    def from_centres(
        cls,
        centres: ArrayLike | Sequence[Any],
        *,
        seed: int,
        labels: Iterable[str] | None = None,
        orientations: ArrayLike | Sequence[Any] | None = None,
        frame: str = "head",
        recipe: str = "saturated",
    ) -> "Connectome":
        """Synthetic weights and lengths between given positions, for parcels whose connectivity nobody has measured.

        **Arguments:** `centres` [region, 3] in mm, in head coordinates; `seed` draws the weights by a `recipe` of
        `jnm.datasets`, which was fitted to a human average of 90 regions ("crowded" comes nearer to it than "saturated").
        They are plausible, not anybody's anatomy.

        Raises `ValueError` as the constructor does, for fewer than four regions, and for positions that span less than
        1 mm (metres, probably) or more than 1 m.
        """
        from jnm import datasets  # a room further right: imported when needed

        points = np.asarray(_floats("centres", centres), dtype=float)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 4:
            raise ValueError(f"centres came with shape {points.shape}; wanted [region, 3], at least 4 regions.")
        extent = np.ptp(points, axis=0).max()
        if not 1 < extent < 1000:
            raise ValueError(f"centres span {extent:g} mm; wanted finite positions in a head (metres: times 1000).")
        weights = datasets.latent_weights(points, np.random.default_rng(seed), recipe)
        lengths, source = datasets.tract_lengths(points), "synthetic, from centres (Connectome.from_centres)"
        return cls(weights, lengths, points, orientations, labels, frame=frame, source=source)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write everything to .npz, .zip (The Virtual Brain) or `X_relmat.dense.tsv` (BIDS), or weights and labels to .csv.

        Raises `ValueError` for another name, and where the format would lose something that is there, or needs something
        that is not: a .csv holds no lengths, centres and orientations, and TVB wants lengths and centres.
        """
        arrays = {name: getattr(self, name) for name in ("weights", "lengths", "centres", "orientations")}
        parts = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
        formats.write(path, parts, self.labels, frame=self.frame, source=self.source, citation=self.citation)

    @property
    def n_regions(self) -> int:
        """Number of regions."""
        return self.weights.shape[-1]

    @property
    def labelled(self) -> bool:
        """Whether the regions were given names: numbers (region01, ...) are no ground to match regions by."""
        return not all(re.fullmatch(r"region\d+", label) for label in self.labels)

    @property
    def density(self) -> float:
        """Share of the ordered pairs of different regions that are connected."""
        between = ~np.eye(self.n_regions, dtype=bool)
        return float(np.mean(np.asarray(self.weights)[between] != 0)) if self.n_regions > 1 else 0.0

    @property
    def hemispheres(self) -> tuple[str, ...]:
        """ "L" or "R" of each region, or "" on the midline; by its label, and where no label tells by its centre.

        Raises `ValueError` where neither tells.

        >>> left = brain.subset(i for i, side in enumerate(brain.hemispheres) if side == "L")
        """
        centres = None if self.centres is None else np.asarray(self.centres)
        return sides.hemispheres(self.labels, centres, self.frame)

    def normalised(self, how: str) -> "Connectome":
        """Weights on a common scale; lengths and all else stay.

        - "rows": every region receives the sum 1. Then a uniform state stays uniform, and the largest eigenvalue is 1.
        - "max": the largest weight is 1.
        - "spectral": the largest modulus of an eigenvalue is 1.

        Negative weights count by their modulus. Raises `ValueError` for another name, and where the scale is zero
        ("rows": a region that receives nothing, by name). In traced code, which cannot raise, such weights stay zero.
        """
        size = jnp.abs(self.weights)
        if how == "rows":
            scale = jnp.sum(size, axis=-1, keepdims=True)
        elif how == "max":
            scale = jnp.max(size, axis=(-2, -1), keepdims=True)
        elif how == "spectral":
            scale = spectrum.radius(self.weights)
        else:
            raise ValueError(f"normalised({how!r}): known are 'rows', 'max' and 'spectral'.")
        _check_scale(how, scale, self.labels)
        weights = self.weights / jnp.where(scale > 0, scale, 1.0)
        return eqx.tree_at(lambda c: c.weights, self, weights)

    def without_self_connections(self) -> "Connectome":
        """The same with a zero diagonal: streamlines that end where they began are no coupling between regions."""
        return eqx.tree_at(lambda c: c.weights, self, self.weights * (1 - jnp.eye(self.n_regions)))

    def with_delays(self, delays: ArrayLike | Sequence[Any], speed: float = 1.0) -> "Connectome":
        """The same with lengths that take these delays (ms, [to, from]) at a conduction speed of `speed` mm/ms.

        Raises `ValueError` for delays of another shape, negative or not finite, and for a speed that is not positive.

        >>> net = jnm.Network(jnm.PING(), brain.with_delays(delays), speed=1.0)
        """
        if not 0 < speed < np.inf:
            raise ValueError(f"with_delays: speed = {speed}; wanted a positive number of mm/ms.")
        lengths = speed * _floats("delays", delays)
        moved = eqx.tree_at(lambda c: c.lengths, self, lengths, is_leaf=lambda leaf: leaf is None)
        _check_shapes(moved)
        _check_values(moved)
        return moved

    def balance(self) -> Float[np.ndarray, " region"] | None:
        """The factors c (geometric mean 1) for which A = diag(c) S with S symmetric, or None if there are none."""
        return spectrum.balance(self.weights)

    def modes(self, real: bool = False) -> Modes:
        """Eigenvalues with right and left eigenvectors, in double precision; real under detailed balance.

        Right eigenvectors have length one. Raises `ValueError` where they do not span the space (a defective matrix,
        such as a feed-forward chain); `eigenvalues` still works there. With `real` also where the spectrum is not real.

        >>> jnm.datasets.connectome().normalised("rows").modes().eigenvalues[:2].round(2)
        array([1.  , 0.72])
        """
        found = spectrum.modes(self.weights)
        return found if not real else Modes(*(spectrum.real(part, self.weights) for part in found))

    def eigenvalues(self, real: bool = False) -> Spectrum:
        """Eigenvalues by descending real part, in double precision; real under detailed balance.

        With `real` raises `ValueError` where they are not, and says what may be done.
        """
        found = spectrum.eigenvalues(self.weights)
        return spectrum.real(found, self.weights) if real else found

    def plot(self, strongest: float = 0.04) -> Any:
        """The matrix and, with centres, the regions from three sides; returns the Figure. See `jnm.plot.connectome`."""
        from jnm.plot import connectome

        return connectome(self, strongest)

    def subset(self, regions: Iterable[str | int]) -> "Connectome":
        """Only these regions, in this order, by label or by index. Raises `ValueError` for one that is not there."""
        if isinstance(regions, str):
            raise ValueError(f"subset: one text, {regions!r}, came; wanted a list of regions, such as [{regions!r}].")
        return self._take([self._index(region) for region in regions])

    def reordered(self, labels: "Iterable[str] | Connectome") -> "Connectome":
        """All regions in the order of these labels, or of the labels of another connectome.

        Raises `ValueError` for a label that is missing, unknown or repeated.

        >>> brain.reordered(["V1", "M1", "A1"])
        >>> brain.reordered(jnm.Connectome.read("atlas.csv"))
        """
        labels = labels.labels if isinstance(labels, Connectome) else tuple(labels)
        missing = [label for label in self.labels if label not in labels]
        if missing:
            raise ValueError(f"reordered: {_some(missing)} not in the new order; to leave regions out use subset.")
        return self.subset(labels)

    def _index(self, region: str | int) -> int:
        if isinstance(region, str):
            if region in self.labels:
                return self.labels.index(region)
            near = difflib.get_close_matches(region, self.labels) or self.labels[:5]
            raise ValueError(f"No region is called {region!r}; of the {self.n_regions}, near are {', '.join(near)}.")
        if isinstance(region, bool | np.bool_) or not isinstance(region, int | np.integer):
            raise ValueError(f"A region is a label or an index; got {region!r}. Of a mask take np.flatnonzero(mask).")
        if not -self.n_regions <= region < self.n_regions:
            raise ValueError(f"Region {region} does not exist: there are {self.n_regions}, counted from 0.")
        return int(region) % self.n_regions

    def _take(self, chosen: list[int]) -> "Connectome":
        rows = np.array(chosen, dtype=int)
        pairs = np.ix_(rows, rows)
        return Connectome(
            self.weights[pairs],
            None if self.lengths is None else self.lengths[pairs],
            None if self.centres is None else self.centres[rows],
            None if self.orientations is None else self.orientations[rows],
            [self.labels[i] for i in chosen],
            frame=self.frame,
            source=self.source,
            citation=self.citation,
        )

    def __repr__(self) -> str:
        if not eqx.is_array(self.weights) or isinstance(self.weights, Tracer) or self.weights.ndim != 2:
            return f"Connectome(weights={self.weights})"  # inside a transformation, or a tree of other things
        facts = [f"{self.n_regions} regions", f"density {self.density:.3g}"]
        if loops := int(np.count_nonzero(np.diagonal(self.weights))):
            facts.append(f"{loops} self-connections")
        if self.lengths is not None and np.any(used := np.asarray(self.lengths)[np.asarray(self.weights) != 0]):
            facts.append(f"lengths {used.min():.3g}-{used.max():.3g} mm")
        if self.centres is not None:
            facts.append(f"centres in {self.frame} coordinates")
        return f"Connectome({', '.join([*facts, *filter(None, [self.source])])})"


def _default_labels(n_regions: int) -> tuple[str, ...]:
    width = max(2, len(str(n_regions)))
    return tuple(f"region{k:0{width}d}" for k in range(1, n_regions + 1))


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _floats(name: str, value: Any) -> Float[Array, "..."]:
    traced = any(isinstance(leaf, Array) for leaf in jax.tree.leaves(value))
    try:
        array = jnp.asarray(value) if traced else np.asarray(value)  # a list may hold traced numbers, or text
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers; got {type(value).__name__} ({error}).") from error
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise ValueError(f"{name} must be an array of real numbers; got {type(value).__name__} of {array.dtype}.")
    with np.errstate(over="ignore"):  # what overflows in single precision is found to be infinite, and reported
        return jnp.asarray(array, dtype=float)


def _check_shapes(connectome: Connectome) -> None:
    shape = connectome.weights.shape
    if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise ValueError(f"weights came with shape {shape}; wanted a square matrix [to, from], one row a region.")
    wanted = {"lengths": shape, "centres": (shape[0], 3), "orientations": (shape[0], 3)}
    for name, right in wanted.items():
        value = getattr(connectome, name)
        if value is not None and value.shape != right:
            raise ValueError(f"{name} came with shape {value.shape}; wanted {right}, as the weights are {shape}.")


def _checked_labels(labels: Iterable[str], n_regions: int) -> tuple[str, ...]:
    if isinstance(labels, str):
        raise ValueError(f"labels came as one string, {labels!r}; wanted {n_regions} of them, such as ['V1', 'V2'].")
    names = tuple(str(label).strip() for label in labels)  # MATLAB and NumPy pad texts to a common length
    if len(names) != n_regions:
        raise ValueError(f"labels: {len(names)} came for {n_regions} regions; give one a region, or leave labels out.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"labels must differ, but {_some(repeated)} came more than once; add the hemisphere, say.")
    return names


def _check_values(connectome: Connectome) -> None:
    def refuse(name: str, wrong: Callable[[np.ndarray], np.ndarray], mend: str) -> None:
        value = getattr(connectome, name)
        if value is None or isinstance(value, Tracer):
            return
        bad = np.argwhere(wrong(np.asarray(value)))
        if len(bad):
            at = f"in row {bad[0, 0]} ({connectome.labels[bad[0, 0]]}), column {bad[0, 1]}"
            raise ValueError(f"{name}: {len(bad)} of {value.size} values are {mend.format(at=at)}.")

    def not_finite(x: np.ndarray) -> np.ndarray:
        return ~np.isfinite(x)

    def not_unit(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.abs(np.linalg.norm(x, axis=1, keepdims=True) - 1) > 1e-3

    refuse("weights", not_finite, "not finite, the first {at}; a missing connection is 0")
    refuse("lengths", not_finite, "not finite, the first {at}; where there is no connection, write 0")
    refuse(
        "lengths", lambda x: x < 0, "negative, the first {at}; tract lengths are in mm, and 0 where there is no tract"
    )
    refuse("centres", not_finite, "not finite, the first {at}; leave out the regions without a position")
    refuse("orientations", not_finite, "not finite, the first {at}; leave orientations out if some are unknown")
    refuse("orientations", not_unit, "not of length one, the first {at}; divide each vector by its length")


def _check_scale(how: str, scale: Array, labels: tuple[str, ...]) -> None:
    if isinstance(scale, Tracer) or np.all(np.asarray(scale) > 0):
        return
    if how != "rows":
        raise ValueError(f"normalised({how!r}): the scale is 0, because the weights are zero or only feed forward.")
    empty = np.unique(np.argwhere(np.asarray(scale)[..., 0] == 0)[:, -1])
    names = _some([labels[i] for i in empty])
    raise ValueError(
        f"normalised('rows'): {names} receive nothing (rows {empty[:5].tolist()}), so there is no sum to divide by; "
        "leave them out with subset, or normalise by 'max' or 'spectral'. Rows are targets: is the matrix transposed?"
    )
