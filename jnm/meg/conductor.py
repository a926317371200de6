"""From a current dipole to the field at MEG coils: the infinite medium and the conducting sphere.

With the dipole q at r0 and a coil at r with normal n, all from the centre of the sphere, a = r - r0:

    infinite   n.B = mu0/4pi q.(a x n) / |a|^3                                                (Biot-Savart)
    sphere     F      = |a| (|r| |a| + a.r)
               grad F = (a^2/|r| + a.r/|a| + 2|a| + 2|r|) r - (|a| + 2|r| + a.r/|a|) r0
               n.B    = q.K,   K = mu0/4pi r0 x (n/F - r (n.grad F)/F^2)                      (Sarvas 1987)

The second line of the sphere is Sarvas' field read from the dipole's side. Written so, a radial dipole is silent
identically (K.r0 = 0), K vanishes linearly at the centre, and no norm of r0 or of r x r0 is ever taken: the gradients
with respect to dipole, coil and centre are finite and exact everywhere inside, at the centre too.

Units: mm, nA m, fT; fT/cm where a coil measures a gradient. In SI both would underflow in float32 once squared.

Sarvas J (1987) Basic mathematical and electromagnetic concepts of the biomagnetic inverse problem. Phys Med Biol
32:11-22.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jnm.meg.sensors import Numbers, Sensors

MU0_OVER_4PI = 1e5
"""mu0/4pi = 1e-7 T m/A in fT mm^2/(nA m): 1e-7 T/fT (1e15) times 1/m^2 per 1/mm^2 (1e6) times A m per nA m (1e-9)."""

NEAREST_MM = 5.0
"""Coils of a head are farther than this from every source (chosen; MNE leaves out sources this near to the skull)."""

_TOGETHER = 32  # dipoles; 256 took twice as long on a CPU

Vectors = tuple[Array, Array, Array]
"""x, y and z apart: arrays with a last axis of three would leave a processor's vector units idle."""

Kernel = Callable[[Vectors, Vectors, Vectors], Vectors]


def infinite_kernel(
    points: Float[Array, "*#shape 3"], normals: Float[Array, "*#shape 3"], positions: Float[Array, "*#shape 3"]
) -> Float[Array, "*#shape 3"]:
    """The field of a dipole in an infinite medium, `n.B = q.K`: K in fT per nA m; all in mm, shapes broadcast.

    For teaching: without return currents it misses a head by 40 % in magnetometers, 100 % in planar gradiometers.
    """
    return jnp.stack(_infinite(_apart(points), _apart(normals), _apart(positions)), axis=-1)


def sphere_kernel(
    points: Float[Array, "*#shape 3"], normals: Float[Array, "*#shape 3"], positions: Float[Array, "*#shape 3"]
) -> Float[Array, "*#shape 3"]:
    """The field of a dipole in a conducting sphere, `n.B = q.K`: K in fT per nA m, coordinates in mm FROM ITS CENTRE.

    Radius and conductivity do not matter; the dipole must be nearer to the centre than the coil. Shapes broadcast.
    """
    return jnp.stack(_sphere(_apart(points), _apart(normals), _apart(positions)), axis=-1)


def _infinite(r: Vectors, n: Vectors, r0: Vectors) -> Vectors:
    a = _minus(r, r0)
    return _times(MU0_OVER_4PI / _dot(a, a) ** 1.5, _cross(a, n))


def _sphere(r: Vectors, n: Vectors, r0: Vectors) -> Vectors:
    a_vector = _minus(r, r0)
    a, length = jnp.sqrt(_dot(a_vector, a_vector)), jnp.sqrt(_dot(r, r))
    along = _dot(a_vector, r)
    F = a * (length * a + along)
    along_r, along_r0 = a**2 / length + along / a + 2 * a + 2 * length, a + 2 * length + along / a
    n_gradF = along_r * _dot(n, r) - along_r0 * _dot(n, r0)
    return _times(MU0_OVER_4PI, _cross(r0, _minus(_times(1 / F, n), _times(n_gradF / F**2, r))))


def _apart(x: Float[Array, "*shape 3"]) -> Vectors:
    return x[..., 0], x[..., 1], x[..., 2]


def _dot(a: Vectors, b: Vectors) -> Array:
    # term by term: jaxlib 0.10.2 miscompiles a sum within a sum on CPUs (jax-ml/jax#39103; here it was wrong by 130 %),
    # and a matrix product would be rounded to TF32 on GPUs
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Vectors, b: Vectors) -> Vectors:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _minus(a: Vectors, b: Vectors) -> Vectors:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _times(c: Array | float, a: Vectors) -> Vectors:
    return c * a[0], c * a[1], c * a[2]


def sphere_lead_field(
    positions_mm: Numbers, sensors: Sensors, origin_mm: Numbers, radius_mm: float | None = None
) -> Float[Array, "channel source 3"]:
    """What each channel sees of a dipole of 1 nA m along x, y, z inside a conducting sphere (Sarvas 1987).

        L[c, s] = sum_p w_p K(r_p - origin, n_p, r_s - origin)

    over the integration points p of channel c. Differentiable in positions, origin and sensors. The field of a radial
    dipole is zero, and so are the gradients of everything that drives it: that is physics.

    **Arguments**

    - `positions_mm`: dipoles [source, 3], head frame, mm.
    - `sensors`: a helmet, `Sensors.from_info(info)` or `Sensors.canonical()`.
    - `origin_mm`: centre of the sphere [3], head frame, mm.
    - `radius_mm`: of the sphere, which only serves to refuse dipoles and coils on its wrong side.

    **Returns** [channel, source, 3], fT (fT/cm for planar gradiometers) per nA m.

    Raises `ValueError` for other shapes, for a dipole that is not nearer to the origin than every coil or within 5 mm of
    one, and for a dipole outside the sphere or a coil inside.

        sensors = jnm.meg.Sensors.canonical("neuromag")
        L = jnm.meg.sphere_lead_field([[0.0, 20.0, 100.0]], sensors, origin_mm=(0.0, 0.0, 45.0))
    """
    positions, origin = _points(positions_mm, "positions_mm", 2), _points(origin_mm, "origin_mm", 1)
    _check_inside(positions, sensors, origin, radius_mm)
    check_apart(positions, sensors.points)
    return _lead_field(_sphere, positions, sensors, origin)


def infinite_lead_field(positions_mm: Numbers, sensors: Sensors) -> Float[Array, "channel source 3"]:
    """What each channel sees of a dipole of 1 nA m along x, y, z in an infinite medium; as `sphere_lead_field`."""
    positions = _points(positions_mm, "positions_mm", 2)
    check_apart(positions, sensors.points)
    return _lead_field(_infinite, positions, sensors, jnp.zeros(3, positions.dtype))


@eqx.filter_jit
def _lead_field(kernel: Kernel, positions: Array, sensors: Sensors, origin: Array) -> Array:
    points = _apart(sensors.points - origin[None, None])
    normals = _apart(sensors.normals * sensors.weights[..., None])

    @jax.checkpoint
    def of_dipole(position: Array) -> Array:
        coils = [jnp.sum(field, axis=1) for field in kernel(points, normals, _apart(position))]
        return sensors.compensate(jnp.stack(coils, axis=-1))

    # 8,000 sources at once would hold 2 GB of integration points, 7 GB for a gradient; a few of them stay in the cache
    return jnp.moveaxis(jax.lax.map(of_dipole, positions - origin[None], batch_size=_TOGETHER), 0, 1)


def _points(value: Numbers, name: str, ndim: int) -> Array:
    array = jnp.asarray(value, dtype=float)
    if array.ndim != ndim or array.shape[-1] != 3:
        wanted = "[source, 3]" if ndim == 2 else "[3]"
        raise ValueError(f"{name} has shape {array.shape}; wanted {wanted}, head-frame coordinates in mm.")
    return array


def _check_inside(positions: Array, sensors: Sensors, origin: Array, radius_mm: float | None) -> None:
    if any(isinstance(x, Tracer) for x in (positions, sensors.points, origin)):
        return  # values are not known inside jit, vmap and grad
    centre = np.asarray(origin)
    distance = np.linalg.norm(np.asarray(positions) - centre, axis=-1)
    nearest = np.linalg.norm(np.asarray(sensors.points) - centre, axis=-1).min()
    outside = np.flatnonzero(~(distance < nearest))  # so written, NaN counts as outside
    if outside.size:
        raise ValueError(
            f"{outside.size} of {len(distance)} sources do not lie inside the sensors: source {outside[0]} is "
            f"{distance[outside[0]]:.1f} mm from the origin {centre.tolist()}, the nearest coil {nearest:.1f} mm. "
            "Positions, origin and sensors must all be head-frame mm; is the head position (dev_head_t) set?"
        )
    if radius_mm is not None and not distance.max() < radius_mm < nearest:
        raise ValueError(
            f"a sphere of radius {radius_mm:g} mm about {centre.tolist()}: the farthest source is {distance.max():.1f} mm "
            f"from it (source {distance.argmax()}), the nearest coil {nearest:.1f} mm; wanted sources inside, coils outside."
        )


def check_apart(positions: Array | np.ndarray, points: Array | np.ndarray) -> None:
    """Raise `ValueError` for a source next to a coil, where no brain is and the field of a point has no meaning."""
    if isinstance(positions, Tracer) or isinstance(points, Tracer):
        return
    from scipy.spatial import KDTree

    sources = np.asarray(positions)
    if unknown := np.flatnonzero(~np.isfinite(sources).all(axis=-1)).tolist():
        raise ValueError(f"source {unknown[0]} is at {sources[unknown[0]].tolist()}; wanted head-frame mm.")
    distance, _ = KDTree(np.asarray(points).reshape(-1, 3)).query(sources, distance_upper_bound=NEAREST_MM)
    if near := np.flatnonzero(np.isfinite(distance)).tolist():  # of those farther away it is infinite
        raise ValueError(
            f"source {near[0]} at {sources[near[0]].tolist()} mm is {distance[near[0]]:.2g} mm from a coil; wanted at least "
            f"{NEAREST_MM:g} mm. Positions and sensors must both be head-frame mm."
        )
