"""Which units a keyframe should see: the four masks of the paper's appendix, and words in the place of phonemes.

Heads, tokenizer and interpolator are the same for all; the keyframe transformer alone is trained, alike for every row
and seed, and scored alike. What is there is not trained again.
"""

from pathlib import Path

from ml_collections import ConfigDict

from actavatar_jax.avatarsync.keyframes import VISIBLE
from actavatar_jax.avatarsync.units import unit_table
from actavatar_jax.puppets.ablation.planning import read_part
from actavatar_jax.puppets.ablation.results import spread
from actavatar_jax.puppets.ablation.runs import keep_settings
from actavatar_jax.puppets.avatarsync.recipe import Run, make_model
from actavatar_jax.puppets.avatarsync.scores import FIGURES, to_json
from actavatar_jax.storage import read_json, write_json, write_text

WORDS = {"level": "words", "units": unit_table().size + unit_table().words}
ROWS = {name: {"visible": name} for name in VISIBLE} | {"one_to_one_word": {"visible": "one_to_one", **WORDS}}
KEPT = ("tokenizer", "interpolator")
SHOWN = ("lips", "psnr_whole", "psnr_mouth", "psnr_keyframes")


def run_ablation(config: ConfigDict, start: Path, workdir: Path, seeds: int, part: str = "1/1") -> str:
    """Trains and scores every row with every seed from 1 on, and returns the table, `workdir/table.md`, as far as it
    goes after every run.

    Args:
      config: of `configs/avatarsync.py`.
      start: the model folder with the other parts.
      workdir: of the runs.
      seeds: how many.
      part: "2/3" does every third run from the second on, for processes side by side.

    Raises:
      InputError: a part that there is not, results of other settings in the workdir, and as `make_model`.
    """
    for name, seed in part_of([(name, seed) for seed in range(1, seeds + 1) for name in ROWS], part):
        place, own = folder(workdir, name, seed), changed(config, name, seed)
        keep_settings(place, dict(own.items()))
        if not (place / "scores.json").is_file():
            run = Run(own, place, start, ("keyframes",), workdir)
            write_json(place / "scores.json", to_json(make_model(run, kept=KEPT)))
        write_text(workdir / "table.md", table(workdir, seeds))
    return table(workdir, seeds)


def part_of(runs: list[tuple[str, int]], part: str) -> list[tuple[str, int]]:
    """Those of process 2 of 3 for "2/3"."""
    number, parts = read_part(part)
    return runs[number - 1 :: parts]


def changed(config: ConfigDict, name: str, seed: int) -> ConfigDict:
    """The config with what a row and a seed have otherwise of the keyframe transformer."""
    config = config.copy_and_resolve_references()
    config.keyframes.network.update(ROWS[name])
    config.keyframes.training.seed = seed
    return config


def table(workdir: Path, seeds: int) -> str:
    """Markdown: of every row the means of the whole model's figures, with 95 % intervals over seeds."""
    lines = [["a keyframe sees", *(FIGURES[name] for name in SHOWN), "seeds"], ["---"] * (2 + len(SHOWN))]
    for name in ROWS:
        places = [folder(workdir, name, seed) / "scores.json" for seed in range(1, seeds + 1)]
        found = [read_json(place)["model"] for place in places if place.is_file()]
        cells = [str(spread([figures[figure]["value"] for figures in found])) for figure in SHOWN]
        lines.append([name.replace("_", " "), *cells, str(len(found))])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def folder(workdir: Path, name: str, seed: int) -> Path:
    """Of a run."""
    return workdir / name / f"seed-{seed}"
