"""From a model to a solution: noise, stimuli, the loop, reductions, records."""

from jnm.integration.clock import Time as Time
from jnm.integration.noise import StepNoise as StepNoise, White as White
from jnm.integration.record import Record as Record
from jnm.integration.reduction import (
    Moments as Moments,
    Reduction as Reduction,
    Spectrum as Spectrum,
    running_covariance as running_covariance,
    running_welch as running_welch,
)
from jnm.integration.simulate import simulate as simulate, terms as terms
from jnm.integration.solution import Final as Final, Solution as Solution
from jnm.integration.stimulus import (
    AbstractStimulus as AbstractStimulus,
    Constant as Constant,
    Pulse as Pulse,
    Sampled as Sampled,
    Sine as Sine,
)
