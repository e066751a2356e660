"""The commands that score a model: `evaluate puppets`, `evaluate long` and `evaluate untold`."""

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

app = typer.Typer(help="Scores of a model.", no_args_is_help=True)


@app.command("puppets", epilog="Example: actavatar evaluate puppets --model runs/puppets/model")
def evaluate_puppets(
    model: Annotated[Path, typer.Option(help="Model folder of puppets.")],
    items: Annotated[int, typer.Option(min=1, max=10_000, help="Clips to sample; no training draws them.")] = 64,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The report, with intervals.")] = Path("report.json"),
) -> None:
    """Samples drawn clips that no training saw, and judges them from their pixels: lips, actions, timing."""
    from actavatar_jax.pipeline import ActAvatarPipeline
    from actavatar_jax.puppets import demo
    from actavatar_jax.puppets import recipe as puppets
    from actavatar_jax.storage import write_json

    with demo.deliver_folder(out.parent) as folder:
        world = demo.world_of(model)
        pipeline = ActAvatarPipeline.from_pretrained(model)
        report = puppets.evaluate(pipeline, world, demo.UNSEEN[:items])
        write_json(folder / out.name, report.to_dict())
    print(report.table())


@app.command("long", epilog="Example: actavatar evaluate long --model runs/puppets/model --seconds 20 --phases 6")
def evaluate_long(
    model: Annotated[Path, typer.Option(help="Model folder of puppets.")],
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Of each video.")] = 20.0,
    phases: Annotated[int, typer.Option(min=1, help="Of each prompt.")] = 6,
    items: Annotated[int, typer.Option(min=1, max=10_000, help="Videos to make.")] = 8,
    overlap: Annotated[int, typer.Option(min=1, help="Latent frames that a part knows of the one before.")] = 1,
    hold_colours: Annotated[bool, typer.Option(help="As of sample.")] = False,
) -> None:
    """Makes long videos in parts, and judges them: lips, windows, what is seen at borders, looks of the parts."""
    from actavatar_jax.pipeline import ActAvatarPipeline
    from actavatar_jax.puppets import demo
    from actavatar_jax.puppets.long_clips import score_long

    pipeline, seeds = ActAvatarPipeline.from_pretrained(model), demo.UNSEEN[:items]
    options = {"overlap": overlap, "hold_colours": hold_colours}
    print(score_long(pipeline, demo.world_of(model), seeds, seconds, phases, **options).table())


@app.command("untold", epilog="Example: actavatar evaluate untold --idle random")
def evaluate_untold(
    idle: Annotated[str, typer.Option(help="Idle motion of the puppets: told or random.")] = "told",
    items: Annotated[int, typer.Option(min=1, max=10_000, help="Clips to draw.")] = 10,
) -> None:
    """The share of motion energy that first frame, sound and prompt do not tell: the floor under any model's error."""
    from actavatar_jax.puppets.world.clips import World
    from actavatar_jax.puppets.world.untold import untold_share

    print(f"{untold_share(World(idle=idle), tqdm(range(items), 'drawing', unit='clip')):.2f}")
