"""A folder of anyone's videos against a bench file: metrics, coverage, a report and a page."""

from actavatar_jax.evaluation.bench.controls import CONTROLS, ControlsReport, check_controls
from actavatar_jax.evaluation.bench.items import BenchItem, BenchPhase, read_bench, write_bench, write_jobs
from actavatar_jax.evaluation.bench.judge import JudgeSettings
from actavatar_jax.evaluation.bench.metrics import METRICS, OPENINGS, parse_names
from actavatar_jax.evaluation.bench.report import PAGE, BenchReport
from actavatar_jax.evaluation.bench.videos import estimate_judge, evaluate_videos

__all__ = [
    "CONTROLS",
    "METRICS",
    "OPENINGS",
    "PAGE",
    "BenchItem",
    "BenchPhase",
    "BenchReport",
    "ControlsReport",
    "JudgeSettings",
    "check_controls",
    "estimate_judge",
    "evaluate_videos",
    "parse_names",
    "read_bench",
    "write_bench",
    "write_jobs",
]
