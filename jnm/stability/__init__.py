"""Where a model rests, when it starts to oscillate, and how it answers a weak input."""

from jnm.stability.continuation import Branch as Branch, continuation as continuation
from jnm.stability.crossing import Fold as Fold, HopfPoint as HopfPoint
from jnm.stability.cycle import Cycle as Cycle, limit_cycle as limit_cycle
from jnm.stability.cycle_branch import CycleBranch as CycleBranch, CyclePoint as CyclePoint
from jnm.stability.delayed_cycle import DelayedCycle as DelayedCycle
from jnm.stability.equilibria import fold_points as fold_points, hopf_points as hopf_points
from jnm.stability.feedback_inhibition import feedback_inhibition as feedback_inhibition
from jnm.stability.fixed_point import (
    FixedPoint as FixedPoint,
    FixedPoints as FixedPoints,
    at_rest as at_rest,
    fixed_points as fixed_points,
)
from jnm.stability.homogeneous import homogeneous as homogeneous
from jnm.stability.hopf_curve import HopfCurve as HopfCurve, hopf_curves as hopf_curves
from jnm.stability.linear_response import (
    LinearSpectrum as LinearSpectrum,
    Resonance as Resonance,
    TransferFunction as TransferFunction,
    linear_spectrum as linear_spectrum,
    resonances as resonances,
    transfer_function as transfer_function,
)
from jnm.stability.lyapunov import Lyapunov as Lyapunov, LyapunovFinal as LyapunovFinal, lyapunov as lyapunov
from jnm.stability.onset import Onset as Onset, transverse_onset as transverse_onset
from jnm.stability.shot_noise import closed_loop_psd as closed_loop_psd
from jnm.stability.state_map import StateMap as StateMap, state_map as state_map
from jnm.stability.transverse import (
    Dispersion as Dispersion,
    dispersion as dispersion,
    master_stability as master_stability,
)
from jnm.stability.unequal_delays import DelaySpectrum as DelaySpectrum, delay_spectrum as delay_spectrum
