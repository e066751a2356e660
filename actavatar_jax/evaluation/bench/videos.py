"""A folder of videos against a bench: every metric on every clip, each clip with a result or one reason."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.ahead import measure_ahead
from actavatar_jax.evaluation.bench.answers import Estimate
from actavatar_jax.evaluation.bench.clips import Results, find_clips
from actavatar_jax.evaluation.bench.comparing import compare_reports
from actavatar_jax.evaluation.bench.external import read_external
from actavatar_jax.evaluation.bench.items import read_bench
from actavatar_jax.evaluation.bench.judge import JudgeMetric, JudgeSettings
from actavatar_jax.evaluation.bench.kept import Kept, digest_file
from actavatar_jax.evaluation.bench.metric import Metric
from actavatar_jax.evaluation.bench.metrics import Needs, open_metric, parse_names
from actavatar_jax.evaluation.bench.report import BenchReport, MetricReport, read_report
from actavatar_jax.evaluation.bench.templates import check_templates
from actavatar_jax.evaluation.sets import RESAMPLES
from actavatar_jax.storage import locked_folder, named

KEPT = "kept"  # below the report: what was found out, so that a second run goes on


def evaluate_videos(
    results: str | Path,
    bench: str | Path,
    out: str | Path,
    *,
    metrics: str | Sequence[str] | None = None,
    weights: str | Path | None = None,
    real: str | Path | None = None,
    judge: JudgeSettings | None = None,
    stand_ins: Sequence[Metric] = (),
    external: Sequence[str | Path] = (),
    compare: str | Path | None = None,
    kept: str | Path | None = None,
    resamples: int = RESAMPLES,
    workers: int = 1,
    progress: bool = True,
) -> BenchReport:
    """Measures `<id>.mp4` of every item of a bench, and writes `out/report.json` and `out/report.html`.

    A clip that a metric cannot measure has a reason there, and a metric that lacks something a sentence; the others go
    on. What was measured is kept in `out/kept`, by the contents of the clip: a second run measures what is new.

    Args:
      results: folder of the videos.
      bench: JSON lines, see `read_bench`.
      metrics: names of `METRICS`, in a list or in text with commas; default: all but the judge.
      weights: folder of the published networks under their agreed names.
      real: folder of real videos: a set for FID, KID and FVD, and pairs by name for PSNR, SSIM and LPIPS.
      judge: the server of a multimodal model, for the metric `judge`.
      stand_ins: metrics in the place of ours of the same name, such as those of puppets by their judge.
      external: files with numbers of other programs, see `read_external`.
      compare: folder of another report of the same bench, to tell differences with.
      kept: folder of what was measured; default: `out/kept`.
      resamples: draws of the intervals of FID, KID and FVD; 0 for none.
      workers: processes that measure clips side by side, on the processor; the judge has its own way.

    Raises:
      InputError: the bench, a folder or the other report cannot be read, there is no such metric, another process
        writes into `out`, or a worker dies.
    """
    names, out = parse_names(metrics), Path(out)
    items = read_bench(bench)
    others = read_external(external, [item.id for item in items])
    other = None if compare is None else read_report(compare)
    check_templates()
    folders = [None if path is None else _folder(Path(path)) for path in (weights, real)]
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out):
        kept = Kept(out / KEPT if kept is None else Path(kept))
        with _bar(progress, "look", len(items)) as step:
            found = find_clips(results, items, kept, step)
        needs = Needs(*folders, _opener(judge), resamples)
        given = {metric.name: metric for metric in (*stand_ins, *others)}
        if workers > 1 and (ours := [name for name in names if name != "judge" and name not in given]):
            measure_ahead(ours, found.clips, needs, kept, workers, partial(_bar, progress, "measure"))
        wanted = (*names, *(metric.name for metric in others))
        reports = [_measured(name, partial(_open, name, given, needs), found, kept, progress) for name in wanted]
        report = BenchReport(Path(results).name, Path(bench).name, digest_file(Path(bench)), items, found, reports)
        if other is not None:
            report.comparison = compare_reports(report, other)
        report.write(out)
    return report


def estimate_judge(
    results: str | Path, bench: str | Path, out: str | Path, judge: JudgeSettings, *, progress: bool = True
) -> Estimate:
    """What the judge would be asked and cost, without asking it: answers that `out` keeps cost nothing.

    Raises InputError as `evaluate_videos`.
    """
    items, kept = read_bench(bench), Kept(Path(out) / KEPT)
    with _bar(progress, "look", len(items)) as step:
        found = find_clips(results, items, kept, step)
    return JudgeMetric(judge).estimate(found.clips, kept)


def _measured(name: str, opening: Callable[[], Metric], found: Results, kept: Kept, progress: bool) -> MetricReport:
    try:
        metric = opening()
        with _bar(progress, name, len(found.clips)) as step:
            return MetricReport(name, metric.columns, metric.score(found.clips, kept, step))
    except InputError as error:
        return MetricReport(name, reason=str(error))


def _open(name: str, given: Mapping[str, Metric], needs: Needs) -> Metric:
    return given[name] if name in given else open_metric(name, needs)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"{named(path)} is no folder; accepted is one of weights, or of real videos.")
    return path


def _opener(judge: JudgeSettings | None) -> Callable[[], Metric] | None:
    return None if judge is None else lambda: JudgeMetric(judge)


@contextlib.contextmanager
def _bar(progress: bool, name: str, total: int) -> Iterator[Callable[[], object]]:
    with tqdm(total=total, desc=name, unit="clip", disable=not progress) as bar:
        yield bar.update
