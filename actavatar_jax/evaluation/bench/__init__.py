"""A folder of anyone's videos against a bench file: metrics, coverage, a report and a page; and benches made anew."""

from actavatar_jax.evaluation.bench.answers import AskingSettings
from actavatar_jax.evaluation.bench.controls import CONTROLS, ControlsReport, check_controls
from actavatar_jax.evaluation.bench.export import Export, export_clips
from actavatar_jax.evaluation.bench.items import BenchItem, BenchPhase, read_bench, write_bench, write_jobs
from actavatar_jax.evaluation.bench.judge import JudgeSettings
from actavatar_jax.evaluation.bench.making import Composition, MadeBench, Speaker, estimate_making, make_bench
from actavatar_jax.evaluation.bench.metrics import METRICS, OPENINGS, parse_names
from actavatar_jax.evaluation.bench.report import PAGE, BenchReport
from actavatar_jax.evaluation.bench.review import BENCH_FILE, REVIEW_PAGE, Accepted, accept_bench
from actavatar_jax.evaluation.bench.vbench import convert_vbench
from actavatar_jax.evaluation.bench.videos import estimate_judge, evaluate_videos

__all__ = [
    "BENCH_FILE",
    "CONTROLS",
    "METRICS",
    "OPENINGS",
    "PAGE",
    "REVIEW_PAGE",
    "Accepted",
    "AskingSettings",
    "BenchItem",
    "BenchPhase",
    "BenchReport",
    "Composition",
    "ControlsReport",
    "Export",
    "JudgeSettings",
    "MadeBench",
    "Speaker",
    "accept_bench",
    "check_controls",
    "convert_vbench",
    "estimate_judge",
    "estimate_making",
    "evaluate_videos",
    "export_clips",
    "make_bench",
    "parse_names",
    "read_bench",
    "write_bench",
    "write_jobs",
]
