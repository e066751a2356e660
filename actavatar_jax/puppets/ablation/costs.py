"""What an ablation will take."""

from collections.abc import Iterable
from pathlib import Path

from ml_collections import ConfigDict

from actavatar_jax.errors import InputError
from actavatar_jax.puppets.ablation.planning import Run, plan_runs, rows_of, steps, total_steps


def forecast(config: ConfigDict, workdir: Path, steps_per_second: float) -> str:
    """The runs with their steps and what is left of them, and hours for each group on its own and for all."""
    if not steps_per_second > 0:
        raise InputError(f"A training makes more than {steps_per_second} steps per second.")
    runs = plan_runs(config)
    lines = [f"{'run':<24}{'steps':>8}"]
    for one in runs:
        state = "  done" if one.done(workdir) else ""
        trains = "" if not one.row.model_of else f"  the models of {one.row.model_of}, scored"
        lines.append(f"{one.name + f'/seed-{one.seed}':<24}{_training(config, one):>8}{trains}{state}")
    groups = {group: [one for one in runs if one.name in rows_of(config, group).values()] for group in config.groups}
    for group, members in groups.items():
        needed = dict.fromkeys(run for one in members for run in (one.trained, one))
        lines.append(f"{group + ' alone':<24}{_hours(config, needed, steps_per_second):>8.1f} h")
    left = [one for one in runs if not one.done(workdir)]
    return "\n".join([*lines, f"{'left in all':<24}{_hours(config, left, steps_per_second):>8.1f} h"])


def _hours(config: ConfigDict, runs: Iterable[Run], steps_per_second: float) -> float:
    """Sampling counts as training: three evaluations of one clip cost about as much as a clip's step forth and back."""
    sampling = config.test_clips * config.sample.steps / config.stage2.data.batch_size
    backbone = steps(config, config.backbone) * any(not one.row.frame_time for one in runs)
    return (backbone + sum(_training(config, one) + sampling for one in runs)) / steps_per_second / 3600


def _training(config: ConfigDict, one: Run) -> int:
    return 0 if one.row.model_of else total_steps(config, one)
