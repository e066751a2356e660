"""`actavatar bench ...`: what systems are asked to make, before `evaluate videos` measures what they made."""

from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.cli.options import Key, ModelName, ServerUrl, Workers

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


@app.command(
    "make",
    epilog="Example: actavatar bench make portraits/ bench/ --tts 'espeak-ng -v {language} -w {out} -- {text}' "
    "--server http://localhost:8000/v1 --model Qwen3-VL-30B-A3B",
)
def make_bench(
    portraits: Annotated[Path, typer.Argument(help="Folder of pictures of people, .png or .jpg.")],
    folder: Annotated[Path, typer.Argument(help="For draft.jsonl, review.html, pictures and speech.")],
    tts: Annotated[str, typer.Option(help="Program that speaks: a command with {text}, {language} and {out}, a wav.")],
    server: ServerUrl,
    model: ModelName,
    key: Key = None,
    items: Annotated[int, typer.Option(min=1, max=10_000, help="Clips that are asked for.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the composition: who, which kind of action, how many, when.")] = 0,
    language: Annotated[
        list[str] | None, typer.Option(help="Of the speech; may be given again, for as many items each. Default: en.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Of the model.")] = 0.7,
    parallel: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 4,
    per_minute: Annotated[float | None, typer.Option(min=0.1, help="At most so many requests a minute.")] = None,
    input_price: Annotated[float, typer.Option(min=0, help="Of a million tokens that the model reads.")] = 0.0,
    output_price: Annotated[float, typer.Option(min=0, help="Of a million tokens that it writes.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="What the model would take; asks nothing.")] = False,
) -> None:
    """A draft of a bench from portraits, whose texts a multimodal model writes and a program speaks; resumable."""
    from actavatar_jax.chat import Server
    from actavatar_jax.evaluation import bench as benches

    told = Server.at(server, model=model, key=key, temperature=temperature, per_minute=per_minute)
    settings = benches.AskingSettings(told, parallel, input_price, output_price)
    composition = benches.Composition(items, tuple(language or ("en",)), seed)
    given = (portraits, folder, benches.Speaker(tts), settings, composition)
    if dry_run:
        print(f"model: {benches.estimate_making(*given).line()}")
        return
    made = benches.make_bench(*given)
    print(made.table())
    print(folder / benches.REVIEW_PAGE)
    made.check()


@app.command("accept", epilog="Example: actavatar bench accept bench/ review.json")
def accept_bench(
    folder: Annotated[Path, typer.Argument(help="Of `bench make`.")],
    review: Annotated[Path, typer.Argument(help="What the page review.html has saved.")],
) -> None:
    """The bench of what a person has accepted of a draft."""
    from actavatar_jax.evaluation import bench as benches

    accepted = benches.accept_bench(folder, review)
    print(accepted.line())
    print(folder / benches.BENCH_FILE)


@app.command("hdtf", epilog="Example: actavatar bench hdtf HDTF/ hdtf_bench/")
def write_hdtf(
    videos: Annotated[Path, typer.Argument(help="HDTF, its lists and the videos, as `corpus hdtf` reads it.")],
    folder: Annotated[Path, typer.Argument(help="For bench.jsonl, pictures, speech, and the filmed clips.")],
    workers: Workers = None,
) -> None:
    """100 clips of 5 s of HDTF, by a fixed list, as a bench; says which of them are not there."""
    from actavatar_jax.evaluation.bench import BENCH_FILE
    from actavatar_jax.runs.hdtf_bench import write_hdtf_bench

    report = write_hdtf_bench(videos, folder, workers=workers)
    print(report)
    print(folder / BENCH_FILE)
    report.check()


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
