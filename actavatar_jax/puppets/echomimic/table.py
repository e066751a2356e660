"""What the runs showed: means and intervals over seeds, and what each took, as Markdown."""

from pathlib import Path

from ml_collections import ConfigDict

from actavatar_jax.puppets.ablation.results import Spread, spread
from actavatar_jax.puppets.echomimic.costs import read_costs
from actavatar_jax.puppets.echomimic.rows import ROWS, Run, settings_of
from actavatar_jax.runs.resolve import to_steps
from actavatar_jax.storage import read_json

COLUMNS = {  # heading -> {heading: figure}
    "A talk from the first frame, windows heeded": {
        "lips": "lip_at_zero",
        "lips, other speech": "lip_shuffled",
        "Hit@Segment": "hit",
        "shuffled": "hit_shuffled",
        "accuracy": "accuracy",
        "IoU": "iou",
        "shuffled IoU": "iou_shuffled",
        "IoU gap": "iou_gap",
        "boundary error, s": "boundary",
        "PSNR": "psnr_whole",
        "hands": "psnr_hands",
        "mouth": "psnr_mouth",
        "drift": "drift",
    },
    "The same text without windows": {
        "lips": "off_lip_at_zero",
        "Hit@Segment": "off_hit",
        "accuracy": "off_accuracy",
        "IoU": "off_iou",
        "IoU gap": "off_iou_gap",
    },
    "Other tasks": {
        "dubbed: lips with the new speech": "dub_new",
        "with the old one": "dub_old",
        "dubbed: PSNR around": "dub_around",
        "last frame given: its PSNR": "last_given",
        "not given": "last_free",
        "continued: PSNR": "continued",
    },
}


def table(config: ConfigDict, workdir: Path) -> str:
    """Markdown: a part for each of `COLUMNS`, and one of costs, from the runs that are there."""
    parts = []
    for title, columns in COLUMNS.items():
        rows = {name: [str(figure(config, workdir, name, key)) for key in columns.values()] for name in ROWS}
        parts.append(_part(title, ["row", *columns, "seeds"], config, workdir, rows))
    head = ["row", "steps", "CPU minutes: training", "pairs", "scores", "CPU seconds a step"]
    rows = {name: _costs(config, workdir, name) for name in ROWS}
    return "\n\n".join([*parts, _part("Costs", [*head, "seeds"], config, workdir, rows)]) + "\n"


def figure(config: ConfigDict, workdir: Path, name: str, key: str) -> Spread:
    """A row's figure over the seeds that are there."""
    reports = [read_json(one.folder(workdir) / "scores.json", finite=False) for one in _done(config, workdir, name)]
    values = [report["figures"][key]["value"] for report in reports if key in report["figures"]]
    return spread([float("nan") if value is None else value for value in values])


def _costs(config: ConfigDict, workdir: Path, name: str) -> list[str]:
    runs = _done(config, workdir, name)
    costs = [read_costs(one.folder(workdir)) for one in runs]
    settings = settings_of(config, Run(name, 1))
    steps = to_steps(settings.steps, settings.data.batch_size, config.clips)
    minutes = [str(spread([cost.get(what, 0.0) / 60 for cost in costs])) for what in ("training", "pairs", "scores")]
    return [str(steps), *minutes, str(spread([cost["training"] / steps for cost in costs]))]


def _part(title: str, head: list[str], config: ConfigDict, workdir: Path, rows: dict[str, list[str]]) -> str:
    lines = [f"## {title}", "", _line(head), _line(["---"] * len(head))]
    for name, cells in rows.items():
        if runs := _done(config, workdir, name):
            lines.append(_line([ROWS[name].label, *cells, str(len(runs))]))
    return "\n".join(lines)


def _done(config: ConfigDict, workdir: Path, name: str) -> list[Run]:
    return [one for seed in range(1, config.seeds + 1) if (one := Run(name, seed)).done(workdir)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
