"""`actavatar bench ...`: what systems are asked to make, before `evaluate videos` measures what they made."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Benches: what is asked for, one clip a line.", no_args_is_help=True)


@app.command("puppets", epilog="Example: actavatar bench puppets bench/ --items 6")
def write_puppets(
    folder: Annotated[Path, typer.Argument(help="For bench.jsonl, pictures, recordings, and the drawn films.")],
    items: Annotated[int, typer.Option(min=1, max=10_000, help="Clips; no training draws them.")] = 6,
) -> None:
    """A bench of drawn people, which needs no file of anyone: to try a whole evaluation on."""
    from actavatar_jax.puppets import demo
    from actavatar_jax.puppets.bench import write_puppet_bench
    from actavatar_jax.puppets.recipe import SHIPPED

    write_puppet_bench(folder, demo.UNSEEN[:items], demo.world_of(SHIPPED))
    print(folder / "bench.jsonl")


@app.command("jobs", epilog="Example: actavatar bench jobs bench/bench.jsonl results/ --out jobs.jsonl")
def write_jobs(
    bench: Annotated[Path, typer.Argument(help="JSON lines: what is asked for, one clip a line.")],
    results: Annotated[Path, typer.Argument(help="Folder that the videos are to be made in.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="The jobs file.")] = Path("jobs.jsonl"),
) -> None:
    """A bench as a jobs file, with which `sample` makes all of its videos."""
    from actavatar_jax.evaluation import bench as benches

    benches.write_jobs(benches.read_bench(bench), results, out)
    print(out)
