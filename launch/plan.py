"""A Markdown table of plans: `python launch/plan.py --config configs/stage2.py v5p:2x2x2@1,8,1 h200:8@1,8,1`.

A plan is TOPOLOGY@MESH; without a mesh, the fastest that fits is searched for. `actavatar plan train` tells more.
"""

import sys
from typing import Annotated

import typer
from tqdm import tqdm

app = typer.Typer(add_completion=False)


@app.command(context_settings={"ignore_unknown_options": True})  # --config.NAME=VALUE
def table(
    config: Annotated[str, typer.Option(help="Config file, with its argument behind a colon.")],
    words: Annotated[list[str], typer.Argument(metavar="PLAN ...", help="And changed settings: --config.NAME=VALUE.")],
) -> None:
    """Plans a training step for several clusters, none of which need be here."""
    import jax

    from actavatar_jax.errors import InputError
    from actavatar_jax.planning import training
    from actavatar_jax.runs.settings import read_config
    from actavatar_jax.runs.workload import workload_of

    jax.config.update("jax_platforms", "cpu")  # accelerators of this machine are left alone
    try:
        workload = workload_of(read_config(config, [word for word in words if word.startswith("--")]))
        plans = []
        for word in tqdm([word for word in words if not word.startswith("--")], unit="plan"):
            where, _, mesh = word.partition("@")
            plans.append(training.plan_training(workload, where, mesh) if mesh else training.search(workload, where)[0])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(training.markdown(plans))


if __name__ == "__main__":
    app()
