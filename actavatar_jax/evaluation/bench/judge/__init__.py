"""A multimodal model as judge: whether people in clips do what was asked for, when it was asked for, and how well."""

from actavatar_jax.evaluation.bench.judge.asking import JudgeSettings
from actavatar_jax.evaluation.bench.judge.metric import JudgeMetric
from actavatar_jax.evaluation.bench.judge.verdicts import PhaseVerdict, read_verdicts

__all__ = ["JudgeMetric", "JudgeSettings", "PhaseVerdict", "read_verdicts"]
