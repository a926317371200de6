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

Kernel = Callable[[Array, Array, Array], Array]


def dot(a: Float[Array, "*#shape 3"], b: Float[Array, "*#shape 3"]) -> Float[Array, "*#shape 1"]:
    """Inner product of 3-vectors, keeping the axis."""
    # term by term: jaxlib 0.10.2 miscompiles a sum within a sum on CPUs (jax-ml/jax#39103; here it was wrong by 130 %),
    # and a matrix product would be rounded to TF32 on GPUs
    products = a * b
    return products[..., 0:1] + products[..., 1:2] + products[..., 2:3]


def infinite_kernel(
    points: Float[Array, "*#shape 3"], normals: Float[Array, "*#shape 3"], positions: Float[Array, "*#shape 3"]
) -> Float[Array, "*#shape 3"]:
    """The field of a dipole in an infinite medium, `n.B = q.K`: K in fT per nA m; all in mm, shapes broadcast.

    For teaching: without return currents it misses a head by 40 % in magnetometers, 100 % in planar gradiometers.
    """
    a = points - positions
    return MU0_OVER_4PI * jnp.cross(a, normals) / dot(a, a) ** 1.5


def sphere_kernel(
    points: Float[Array, "*#shape 3"], normals: Float[Array, "*#shape 3"], positions: Float[Array, "*#shape 3"]
) -> Float[Array, "*#shape 3"]:
    """The field of a dipole in a conducting sphere, `n.B = q.K`: K in fT per nA m, coordinates in mm FROM ITS CENTRE.

    Radius and conductivity do not matter; the dipole must be nearer to the centre than the coil. Shapes broadcast.
    """
    a_vector = points - positions
    a, r = jnp.sqrt(dot(a_vector, a_vector)), jnp.sqrt(dot(points, points))
    along = dot(a_vector, points)
    F = a * (r * a + along)
    along_r, along_r0 = a**2 / r + along / a + 2 * a + 2 * r, a + 2 * r + along / a
    n_gradF = along_r * dot(normals, points) - along_r0 * dot(normals, positions)
    return MU0_OVER_4PI * jnp.cross(positions, normals / F - points * n_gradF / F**2)


def sphere_lead_field(positions_mm: Numbers, sensors: Sensors, origin_mm: Numbers) -> Float[Array, "channel source 3"]:
    """What each channel sees of a dipole of 1 nA m along x, y, z inside a conducting sphere (Sarvas 1987).

        L[c, s] = sum_p w_p K(r_p - origin, n_p, r_s - origin)

    over the integration points p of channel c. Differentiable in positions, origin and sensors. The field of a radial
    dipole is zero, and so are the gradients of everything that drives it: that is physics.

    **Arguments**

    - `positions_mm`: dipoles [source, 3], head frame, mm.
    - `sensors`: a helmet, `Sensors.from_info(info)` or `Sensors.canonical()`.
    - `origin_mm`: centre of the sphere [3], head frame, mm.

    **Returns** [channel, source, 3], fT (fT/cm for planar gradiometers) per nA m.

    Raises `ValueError` for other shapes and for a dipole that is not nearer to the origin than every coil.

        sensors = jnm.meg.Sensors.canonical("neuromag")
        L = jnm.meg.sphere_lead_field([[0.0, 20.0, 100.0]], sensors, origin_mm=(0.0, 0.0, 45.0))
    """
    positions, origin = _points(positions_mm, "positions_mm", 2), _points(origin_mm, "origin_mm", 1)
    _check_inside(positions, sensors, origin)
    return _lead_field(sphere_kernel, positions, sensors, origin)


def infinite_lead_field(positions_mm: Numbers, sensors: Sensors) -> Float[Array, "channel source 3"]:
    """What each channel sees of a dipole of 1 nA m along x, y, z in an infinite medium; as `sphere_lead_field`."""
    positions = _points(positions_mm, "positions_mm", 2)
    return _lead_field(infinite_kernel, positions, sensors, jnp.zeros(3, positions.dtype))


@eqx.filter_jit
def _lead_field(kernel: Kernel, positions: Array, sensors: Sensors, origin: Array) -> Array:
    points, normals = sensors.points - origin[None, None], sensors.normals * sensors.weights[..., None]

    @jax.checkpoint
    def of_dipole(position: Array) -> Array:
        return sensors.compensate(jnp.sum(kernel(points, normals, position[None, None]), axis=1))

    # 8,000 sources at once would hold 2 GB of integration points, 7 GB for a gradient
    return jnp.moveaxis(jax.lax.map(of_dipole, positions - origin[None], batch_size=256), 0, 1)


def _points(value: Numbers, name: str, ndim: int) -> Array:
    array = jnp.asarray(value, dtype=float)
    if array.ndim != ndim or array.shape[-1] != 3:
        wanted = "[source, 3]" if ndim == 2 else "[3]"
        raise ValueError(f"{name} has shape {array.shape}; wanted {wanted}, head-frame coordinates in mm.")
    return array


def _check_inside(positions: Array, sensors: Sensors, origin: Array) -> None:
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
