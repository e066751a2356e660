"""Which units a keyframe should see: the four masks of the paper's appendix, trained alike and scored alike.

Heads, tokenizer and interpolator are the same for all; the keyframe transformer alone is trained, once for every mask
and seed. What is there is not trained again.
"""

from pathlib import Path

from ml_collections import ConfigDict

from actavatar_jax.avatarsync.keyframes import VISIBLE
from actavatar_jax.puppets.ablation.results import spread
from actavatar_jax.puppets.avatarsync.recipe import Run, make_model
from actavatar_jax.puppets.avatarsync.scores import FIGURES, to_json
from actavatar_jax.storage import read_json, write_json, write_text

KEPT = ("tokenizer", "interpolator")
SHOWN = ("lips", "psnr_whole", "psnr_mouth", "psnr_keyframes")


def run_ablation(config: ConfigDict, start: Path, workdir: Path, seeds: int) -> str:
    """Trains and scores every mask with every seed from 1 on, and returns the table, `workdir/table.md`, as far as it
    goes after every run. `start` is the model folder with the other parts."""
    for seed in range(1, seeds + 1):
        for visible in VISIBLE:
            place = folder(workdir, visible, seed)
            if not (place / "scores.json").is_file():
                run = Run(changed(config, visible, seed), place, start, ("keyframes",), workdir / "heads")
                write_json(place / "scores.json", to_json(make_model(run, kept=KEPT)))
            write_text(workdir / "table.md", table(workdir, seeds))
    return table(workdir, seeds)


def changed(config: ConfigDict, visible: str, seed: int) -> ConfigDict:
    """The config with another mask and seed of the keyframe transformer."""
    config = config.copy_and_resolve_references()
    config.keyframes.network.visible, config.keyframes.training.seed = visible, seed
    return config


def table(workdir: Path, seeds: int) -> str:
    """Markdown: of every mask the means of the whole model's figures, with 95 % intervals over seeds."""
    lines = [["a keyframe sees", *(FIGURES[name] for name in SHOWN), "seeds"], ["---"] * (2 + len(SHOWN))]
    for visible in VISIBLE:
        places = [folder(workdir, visible, seed) / "scores.json" for seed in range(1, seeds + 1)]
        found = [read_json(place)["model"] for place in places if place.is_file()]
        cells = [str(spread([figures[name]["value"] for figures in found])) for name in SHOWN]
        lines.append([visible.replace("_", " "), *cells, str(len(found))])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def folder(workdir: Path, visible: str, seed: int) -> Path:
    """Of a run."""
    return workdir / visible / f"seed-{seed}"
