"""From noise to data: sigma grids, and the solvers Euler, UniPC, DPM++ and mean as per-step linear combinations.

With x = (1 - sigma) data + sigma noise, everything a solver needs besides latents and velocities depends on the
sigmas alone. It is computed once, on the host and in float64, so that a step is a few multiply-adds in a scan:

    solver = make_solver("unipc", sigma_grid("unipc", steps=40, shift=5.0))
    state = solver.init(latents)
    latents, state = solver.step(coefficients_of_step, state, latents, velocity)     # inside jax.lax.scan

Sources: Wan-Video/Wan2.2 wan/utils/{fm_solvers_unipc,fm_solvers}.py; UniPC (arXiv 2302.04867), order 2, B(h) = e^h - 1;
DPM-Solver++ 2M (arXiv 2211.01095); both predict data, not noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from actavatar_jax.diffusion.flow import TRAIN_STEPS, shift_time
from actavatar_jax.errors import InputError
from actavatar_jax.storage import shown

Latents = Float[Array, "B T H W C"]
Sigmas = Array | np.ndarray | Sequence  # what a user may give; check_sigmas looks inside
Coefficients = dict[str, Any]  # name -> [steps, ...] in a solver, name -> [...] in one step
State = dict[str, Any]


@runtime_checkable
class Solver(Protocol):
    """A pytree: scan over `coefficients` with a state of fixed shapes."""

    coefficients: Coefficients

    def init(self, latents: Latents) -> State:
        """The state before the first step."""

    def step(self, now: Coefficients, state: State, latents: Latents, velocity: Latents) -> tuple[Latents, State]:
        """Latents at the next sigma, given the velocity predicted at this one."""


def make_solver(name: str, sigmas: Sigmas) -> Solver:
    """The solver `name` of `SOLVERS` for `sigmas` [steps + 1], which fall from at most 1 to 0."""
    solver = _named(name)
    # Like the original, solve on the float32 values of the grid.
    return solver.from_sigmas(check_sigmas(sigmas).astype(np.float32).astype(np.float64))


def sigma_grid(name: str, steps: int, shift: float) -> Float[np.ndarray, "{steps}+1"]:
    """Wan's own sigmas for a solver: evenly spaced, warped by `shift`, and a final 0.

    UniPC starts at 0.999, the others at 1. float64, because UniPC and DPM++ truncate times taken from these values.
    """
    _named(name)
    if not 1 <= steps <= TRAIN_STEPS:
        raise InputError(f"The number of sampling steps must be 1 to {TRAIN_STEPS}, not {steps}.")
    if name == "mean" and steps != 1:
        raise InputError(f"The solver mean makes 1 step, not {steps}; give steps=1 with it, or another solver.")
    if not (np.isfinite(shift) and shift > 0):
        raise InputError(f"The sigma shift must be a positive number, not {shift}.")
    start = float(np.float32(0.999)) if name == "unipc" else 1.0
    return shift_time(np.linspace(start, 0.0, steps + 1), shift)


def model_times(name: str, sigmas: Sigmas) -> Float[np.ndarray, "steps"]:
    """Timesteps in [0, 1000] the model reads, one per step: 1000 sigma, without its fraction for UniPC and DPM++."""
    _named(name)
    # In the precision the sigmas came in: a float32 value close to 0.95 means 950, not 949.
    sigmas = check_sigmas(sigmas)
    times = sigmas[:-1] * sigmas.dtype.type(TRAIN_STEPS)
    return (np.trunc(times) if name in ("unipc", "dpm++") else times).astype(np.float32)


def check_sigmas(sigmas: Sigmas) -> Float[np.ndarray, "n"]:
    """The sigmas as an array (float32 stays float32), or InputError when they are no way from noise to data."""
    try:
        values = np.asarray(sigmas)
        values = values if values.dtype == np.float32 else values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("The sigmas must be a list of numbers that fall from at most 1 to 0.") from error
    if values.ndim != 1 or len(values) < 2:
        raise InputError(f"The sigmas must be one list of steps + 1 numbers (at least 2), not of shape {values.shape}.")
    if not (values[0] <= 1 and values[-1] == 0 and np.all(np.diff(values.astype(np.float32)) < 0)):
        raise InputError(
            f"The sigmas must start at most at 1, fall strictly and end in 0; these are {values.tolist()}."
        )
    return values


def _named(name: str) -> type:
    if name not in SOLVERS:
        raise InputError(f"There is no solver {shown(name)}; choose one of {', '.join(SOLVERS)}.")
    return SOLVERS[name]


def _mix(weights: Float[Array, "K"] | Float[np.ndarray, "K"], *terms: Latents) -> Latents:
    return sum(weights[k] * term for k, term in enumerate(terms))


def _half_log_snr(sigmas: np.ndarray) -> np.ndarray:
    """lambda = ln(1 - sigma) - ln(sigma): -inf at sigma 1 and +inf at 0, where the formulas below keep their limits."""
    with np.errstate(divide="ignore"):
        return np.log1p(-sigmas) - np.log(sigmas)


def _pack(**columns: np.ndarray | Sequence) -> Coefficients:
    return {name: np.asarray(column, np.float32) for name, column in columns.items()}


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Euler:
    """x' = x + (sigma' - sigma) v."""

    coefficients: Coefficients

    @classmethod
    def from_sigmas(cls, sigmas: Float[np.ndarray, "n"]) -> "Euler":
        return cls(_pack(move=np.diff(sigmas)))

    def init(self, latents: Latents) -> State:
        return {}

    def step(self, now: Coefficients, state: State, latents: Latents, velocity: Latents) -> tuple[Latents, State]:
        return latents + now["move"] * velocity, state


class Mean:
    """Euler's formula in a single step from pure noise to data: one evaluation, and no sample but a mean.

    It is the mean of all videos that fit the conditions, whatever the noise (guidance scales other than 1 mix such
    means). For worlds in which first frame, sound and prompt determine nearly everything: what they leave open is
    blurred.
    """

    @staticmethod
    def from_sigmas(sigmas: Float[np.ndarray, "n"]) -> Euler:
        if sigmas.tolist() != [1, 0]:
            raise InputError(f"The solver mean makes 1 step, from sigma 1 to 0; these are {sigmas.tolist()}.")
        return Euler.from_sigmas(sigmas)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class DPMSolver:
    """DPM-Solver++ 2M, midpoint form; first order on the first and the last step."""

    coefficients: Coefficients

    @classmethod
    def from_sigmas(cls, sigmas: Float[np.ndarray, "n"]) -> "DPMSolver":
        steps, log_snr = len(sigmas) - 1, _half_log_snr(sigmas)
        predict = []  # weights of latents, data, previous data
        for i in range(steps):
            h = log_snr[i + 1] - log_snr[i]
            gain = -(1 - sigmas[i + 1]) * np.expm1(-h)
            slope = 0.0
            if 0 < i < steps - 1:  # an infinite first interval (sigma 1) gives slope 0
                slope = 0.5 * gain * h / (log_snr[i] - log_snr[i - 1])
            predict.append((sigmas[i + 1] / sigmas[i], gain + slope, -slope))
        return cls(_pack(sigma=sigmas[:-1], predict=predict))

    def init(self, latents: Latents) -> State:
        return {"data": jnp.zeros_like(latents)}

    def step(self, now: Coefficients, state: State, latents: Latents, velocity: Latents) -> tuple[Latents, State]:
        data = latents - now["sigma"] * velocity
        return _mix(now["predict"], latents, data, state["data"]), {"data": data}


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class UniPC:
    """UniPC of order 2: each new data prediction first corrects the present latents, then predicts the next ones.

    The prediction itself is not repeated after the correction. The first and the last predictor step are of order 1;
    a corrector has the order of the predictor it corrects.
    """

    coefficients: Coefficients

    @classmethod
    def from_sigmas(cls, sigmas: Float[np.ndarray, "n"]) -> "UniPC":
        steps, log_snr = len(sigmas) - 1, _half_log_snr(sigmas)
        orders = [min(2, i + 1, steps - i) for i in range(steps)]
        correct = [(1.0, 0.0, 0.0, 0.0, 0.0)]  # nothing to correct at step 0
        correct += [_unipc_corrector(sigmas, log_snr, i, orders[i - 1]) for i in range(1, steps)]
        predict = [_unipc_predictor(sigmas, log_snr, i, orders[i]) for i in range(steps)]
        return cls(_pack(sigma=sigmas[:-1], correct=correct, predict=predict))

    def init(self, latents: Latents) -> State:
        return {name: jnp.zeros_like(latents) for name in ("start", "data", "older_data")}

    def step(self, now: Coefficients, state: State, latents: Latents, velocity: Latents) -> tuple[Latents, State]:
        data = latents - now["sigma"] * velocity
        start = _mix(now["correct"], latents, state["start"], data, state["data"], state["older_data"])
        predicted = _mix(now["predict"], start, data, state["data"])
        return predicted, {"start": start, "data": data, "older_data": state["data"]}


def _unipc_predictor(sigmas: np.ndarray, log_snr: np.ndarray, i: int, order: int) -> tuple[float, ...]:
    """Weights of the corrected latents, data and previous data in the latents at sigma i + 1."""
    h = log_snr[i + 1] - log_snr[i]
    gain = -(1 - sigmas[i + 1]) * np.expm1(-h)
    slope = 0.0
    if order == 2:
        r = (log_snr[i - 1] - log_snr[i]) / h
        slope = 0.5 * gain / r
    return sigmas[i + 1] / sigmas[i], gain - slope, slope


def _unipc_corrector(sigmas: np.ndarray, log_snr: np.ndarray, i: int, order: int) -> tuple[float, ...]:
    """Weights of the predicted latents, those one step before, data, previous data and the one before that."""
    h = log_snr[i] - log_snr[i - 1]
    e = np.expm1(-h)
    gain = -(1 - sigmas[i]) * e
    new, old = 0.5, 0.0
    if order == 2:
        r = (log_snr[i - 2] - log_snr[i - 1]) / h  # -inf if that sigma was 1; then old is 0
        g1 = -e / h - 1
        g2 = -g1 / h - 0.5
        # new + old r = g1 / e and new + old r^2 = 2 g2 / e, the order conditions with B(h) = e
        c = (2 * g2 / e - g1 / e) / (r - 1)
        new, old = g1 / e - c, c / r
    return 0.0, sigmas[i] / sigmas[i - 1], gain * new, gain * (1 - new - old), gain * old


SOLVERS = {"unipc": UniPC, "dpm++": DPMSolver, "euler": Euler, "mean": Mean}
