"""Average responses of MNE with their noise covariance, on the channels that recording, covariance and forward share."""

from typing import Any, NamedTuple

import numpy as np

from jnm.meg.mne.border import MM_PER_M, PER_NANOAMPERE_METRE, from_si, import_mne, read, sensor_positions
from jnm.meg.mne.covariance import active_patterns, covariance_of, rank_left, read_covariance
from jnm.meg.mne.forward import check_head, read_forward
from jnm.meg.mne.recording import check_finite


class EvokedArrays(NamedTuple):
    """An average response with what is needed to judge it, in jnm's units: fT, fT/cm, uV; ms; mm."""

    condition: str
    others: tuple[str, ...]  # the other conditions of the same file
    averages: int  # trials in the average
    times: np.ndarray  # [time] ms
    data: np.ndarray  # [time, channel], low-passed, baseline subtracted, projected where projectors are active
    covariance: np.ndarray  # [channel, channel] of the noise of one sample of the average
    patterns: np.ndarray  # [projector, channel]: the field patterns that active projectors take out
    rank: int  # dimensions that projectors and Maxwell filters leave to these channels
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]
    positions: np.ndarray  # [channel, 3] mm, head frame; NaN where unknown
    excluded: dict[str, str]  # channels left out, with the reason


def evoked_arrays(
    evoked: Any,
    cov: Any,
    forward: Any,
    *,
    condition: str | None,
    lowpass: float | None,
    baseline: tuple[float | None, float | None],
    stop: float,
) -> EvokedArrays:
    """An `mne.Evoked`, a list of them or the path of an -ave.fif, its noise covariance and forward solution, as arrays.

    Times are in ms and frequencies in Hz. Channels are the good ones of the types the forward solution has.
    """
    chosen, others = _pick_condition(_read_evokeds(evoked), condition)
    cov, forward = read_covariance(cov), read_forward(forward)
    ch_names, excluded = _common_channels(chosen.info, cov, forward["info"])
    check_head(chosen.info, forward["info"])
    response = _prepare(chosen, ch_names, lowpass, baseline, stop)
    info = response.info
    ch_types = tuple(info.get_channel_types())
    scale = from_si(ch_types)
    return EvokedArrays(
        condition=str(chosen.comment),
        others=others,
        averages=int(chosen.nave),
        times=response.times * 1e3,
        data=(response.data * scale[:, None]).T,
        covariance=covariance_of(cov, ch_names) * scale[:, None] * scale[None] / chosen.nave,
        patterns=active_patterns(info, ch_names) * scale[None],
        rank=rank_left(info, ch_names),
        ch_names=tuple(ch_names),
        ch_types=ch_types,
        positions=sensor_positions(info) * MM_PER_M,
        excluded=excluded,
    )


def _read_evokeds(evoked: Any) -> list[Any]:
    mne = import_mne()
    # projectors that are not active yet stay so: what was done to the data is for its owner to decide
    evoked = read(evoked, "read_evokeds", "holds no average responses", "-ave.fif", proj=False)
    averages = list(evoked) if isinstance(evoked, list | tuple) else [evoked]
    if not averages or not all(isinstance(one, mne.Evoked) for one in averages):
        kinds = ", ".join(sorted({type(one).__name__ for one in averages})) or "nothing"
        raise ValueError(f"wanted an mne.Evoked, a list of them or the path of an -ave.fif, got {kinds}.")
    return averages


def _pick_condition(averages: list[Any], condition: str | None) -> tuple[Any, tuple[str, ...]]:
    """The average of a condition, the first by default, and the names of the others."""
    known = {str(one.comment): one for one in reversed(averages) if one.kind == "average"}
    names = tuple(reversed(known))
    if not names:
        raise ValueError("the recording holds no averages, only standard errors.")
    chosen = names[0] if condition is None else condition
    if chosen not in known:
        raise ValueError(f"no condition {condition!r} in the recording; there are {', '.join(map(repr, names))}.")
    return known[chosen], tuple(name for name in names if name != chosen)


def _common_channels(info: Any, cov: Any, forward_info: Any) -> tuple[list[str], dict[str, str]]:
    """The good channels all three have. One that is missing somewhere without being called bad anywhere is an error."""
    kinds = dict(zip(info.ch_names, info.get_channel_types(), strict=True))
    modelled = set(forward_info.get_channel_types()) & set(PER_NANOAMPERE_METRE)
    wanted = [name for name, kind in kinds.items() if kind in modelled]
    bad = {name: f"bad in the {owner}" for owner, bads in _bads(info, cov, forward_info) for name in bads}
    good = [name for name in wanted if name not in bad]
    for owner, has in (("forward solution", forward_info.ch_names), ("noise covariance", cov.ch_names)):
        if missing := [name for name in good if name not in has]:
            raise ValueError(
                f"{len(missing)} of {len(good)} good channels of the recording are not in the {owner}: "
                f"{', '.join(missing[:8])}{', ...' * (len(missing) > 8)}. Give the one made for this recording, or mark "
                "these channels as bad (evoked.info['bads']) to go on without them."
            )
    if not good:
        raise ValueError(f"no channel is left: of {len(wanted)} the forward solution covers, {len(wanted)} are bad.")
    unmodelled = {
        name: f"no {kind} in the forward solution" for name, kind in kinds.items() if kind in _FIELD_TYPES - modelled
    }
    return good, {name: bad[name] for name in wanted if name in bad} | unmodelled


_FIELD_TYPES = set(PER_NANOAMPERE_METRE)


def _bads(info: Any, cov: Any, forward_info: Any) -> tuple[tuple[str, list[str]], ...]:
    return (("noise covariance", cov["bads"]), ("forward solution", forward_info["bads"]), ("recording", info["bads"]))


def _prepare(evoked: Any, ch_names: list[str], lowpass: float | None, baseline: tuple, stop: float) -> Any:
    """Pick, low-pass, take the baseline off, and cut at `stop` ms."""
    start, end = evoked.times[0] * 1e3, evoked.times[-1] * 1e3
    if end < stop - 500.0 / evoked.info["sfreq"]:
        raise ValueError(f"the recording lasts from {start:.0f} to {end:.0f} ms; wanted at least {stop:g} ms.")
    lower, upper = (edge if value is None else value for value, edge in zip(baseline, (start, end), strict=True))
    if not start - 1e-6 <= lower < upper - 2e3 / evoked.info["sfreq"]:
        raise ValueError(
            f"baseline {lower:g} to {upper:g} ms; the recording starts at {start:.0f} ms. Noise is judged on it: wanted some "
            "samples before the stimulus."
        )
    response = evoked.copy().pick(ch_names)
    check_finite(response.data, np.ones(len(response.times), bool), response, "")
    if lowpass is not None and response.info["lowpass"] > lowpass:
        response.filter(None, lowpass, verbose="error")
    response.apply_baseline((lower / 1e3, upper / 1e3), verbose="error")
    return response.crop(None, min(stop, end) / 1e3)
