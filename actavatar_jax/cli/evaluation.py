"""The commands that score a model or videos: `evaluate puppets`, `heads`, `long`, `untold`, `videos`, `controls`, and
`export` and `vbench` for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from actavatar_jax.cli.options import Key
from actavatar_jax.errors import InputError

if TYPE_CHECKING:
    from actavatar_jax.chat import Server

JudgeServer = Annotated[str | None, typer.Option(help="OpenAI-compatible address of the judge, with /v1; or gemini.")]
JudgeModel = Annotated[str | None, typer.Option(help="Name of the multimodal model there.")]
Runs = Annotated[int, typer.Option(min=1, help="Of the judge, for each clip.")]
Temperature = Annotated[float, typer.Option(min=0, max=2, help="Of the judge.")]
Parallel = Annotated[int, typer.Option(min=1, help="Requests at a time.")]
PerMinute = Annotated[float | None, typer.Option(min=0.1, help="At most so many requests a minute.")]

app = typer.Typer(help="Scores of a model, or of anyone's videos.", no_args_is_help=True)


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


@app.command("heads", epilog="Example: actavatar evaluate heads --model runs/avatarsync/model")
def evaluate_heads(
    model: Annotated[Path, typer.Option(help="Model folder of AvatarSync, trained on heads of puppets.")],
    items: Annotated[int, typer.Option(min=1, max=10_000, help="Heads to make; no training draws them.")] = 64,
    allocations: Annotated[bool, typer.Option(help="Also with keyframes at other times.")] = False,
    rival: Annotated[Path | None, typer.Option(help="Model folder of ActAvatar's puppets, measured beside it.")] = None,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The figures, with intervals.")] = Path("heads.json"),
) -> None:
    """Makes heads that no training saw: the whole, its parts, and how far each is from what was drawn."""
    from actavatar_jax.avatarsync import AvatarSyncPipeline
    from actavatar_jax.pipeline import ActAvatarPipeline
    from actavatar_jax.puppets import demo
    from actavatar_jax.puppets.avatarsync.evaluation import evaluate_heads, world_of
    from actavatar_jax.puppets.avatarsync.scores import table, to_json
    from actavatar_jax.storage import write_json

    with demo.deliver_folder(out.parent) as folder:
        pipeline, beside = AvatarSyncPipeline.from_pretrained(model), None
        if rival is not None:
            beside = (ActAvatarPipeline.from_pretrained(rival), demo.world_of(rival))
        rows = evaluate_heads(pipeline, world_of(pipeline), demo.UNSEEN[:items], allocations, beside)
        write_json(folder / out.name, to_json(rows))
    print(table(rows))


@app.command("untold", epilog="Example: actavatar evaluate untold --idle random")
def evaluate_untold(
    idle: Annotated[str, typer.Option(help="Idle motion of the puppets: told or random.")] = "told",
    items: Annotated[int, typer.Option(min=1, max=10_000, help="Clips to draw.")] = 10,
) -> None:
    """The share of motion energy that first frame, sound and prompt do not tell: the floor under any model's error."""
    from actavatar_jax.puppets.world.clips import World
    from actavatar_jax.puppets.world.untold import untold_share

    print(f"{untold_share(World(idle=idle), tqdm(range(items), 'drawing', unit='clip')):.2f}")


@app.command(
    "videos",
    epilog="Example: actavatar evaluate videos results/ --bench bench.jsonl --weights models/ --out report/",
)
def evaluate_videos(
    results: Annotated[Path, typer.Argument(help="Folder of the videos, <id>.mp4 each.")],
    bench: Annotated[Path, typer.Option(help="JSON lines: what was asked for, one clip a line.")],
    metrics: Annotated[
        str | None,
        typer.Option(help="Of energy,sync,csim,dynamics,psnr,ssim,lpips,fid,kid,fvd,judge; default: all but judge."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of the published networks.")] = None,
    real: Annotated[Path | None, typer.Option(help="Folder of real videos: sets, and pairs by name.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report, from which a second run goes on.")] = (
        Path("report")
    ),
    compare: Annotated[Path | None, typer.Option(help="Folder of another report of this bench.")] = None,
    external: Annotated[
        list[Path] | None, typer.Option(help="JSON with numbers of another program; may be given again.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that measure clips side by side.")] = 1,
    server: JudgeServer = None,
    model: JudgeModel = None,
    key: Key = None,
    runs: Runs = 5,
    temperature: Temperature = 0.4,
    parallel: Parallel = 4,
    per_minute: PerMinute = None,
    input_price: Annotated[float, typer.Option(min=0, help="Of a million tokens that the judge reads.")] = 0.0,
    output_price: Annotated[float, typer.Option(min=0, help="Of a million tokens that it writes.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="What the judge would take; asks nothing.")] = False,
) -> None:
    """Measures a folder of anyone's videos against a bench; a clip has results or reasons; resumable."""
    from actavatar_jax.evaluation import bench as benches

    told = _server(server, model, key, temperature, per_minute)
    judge = None if told is None else benches.JudgeSettings(told, parallel, input_price, output_price, runs)
    names = benches.parse_names(metrics)
    if (judge is not None and "judge" in names) or dry_run:
        if judge is None:
            raise InputError("A dry run tells what the judge would take; give --server and --model.")
        print(f"judge: {benches.estimate_judge(results, bench, out, judge).line()}")
    if dry_run:
        return
    others = {"external": external or (), "compare": compare, "workers": workers}
    report = benches.evaluate_videos(
        results, bench, out, metrics=names, weights=weights, real=real, judge=judge, **others
    )
    print(report.table())
    print(f"{out / benches.PAGE}")


@app.command(
    "controls",
    epilog="Example: actavatar evaluate controls results/ --bench bench.jsonl --weights models/ --out controls/",
)
def evaluate_controls(
    results: Annotated[Path, typer.Argument(help="Folder of videos, <id>.mp4 each.")],
    bench: Annotated[Path, typer.Option(help="JSON lines: what was asked for, one clip a line.")],
    metrics: Annotated[str | None, typer.Option(help="As of evaluate videos.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of the published networks.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the spoilt videos and their reports.")] = Path("controls"),
    server: JudgeServer = None,
    model: JudgeModel = None,
    key: Key = None,
    runs: Runs = 5,
    temperature: Temperature = 0.4,
    parallel: Parallel = 4,
    per_minute: PerMinute = None,
) -> None:
    """Spoils the videos on purpose, and says whether every measure notices: of a judge to be run before it is used."""
    from actavatar_jax.evaluation import bench as benches

    told = _server(server, model, key, temperature, per_minute)
    judge = None if told is None else benches.JudgeSettings(told, parallel, runs=runs)
    names = benches.parse_names(metrics) if metrics or judge is None else tuple(benches.METRICS)
    print(benches.check_controls(results, bench, out, metrics=names, weights=weights, judge=judge).table())


@app.command("export", epilog="Example: actavatar evaluate export results/ --bench bench.jsonl --out export/")
def export(
    results: Annotated[Path, typer.Argument(help="Folder of videos, <id>.mp4 each.")],
    bench: Annotated[Path, typer.Option(help="JSON lines: what was asked for, one clip a line.")],
    out: Annotated[Path, typer.Option(help="A new folder.")] = Path("export"),
) -> None:
    """Writes frames, videos and prompts for Q-Align, VBench and others; what they find goes to videos --external."""
    from actavatar_jax.evaluation import bench as benches

    print(benches.export_clips(results, bench, out).line())


@app.command("vbench", epilog="Example: actavatar evaluate vbench results_eval_results.json --out external/")
def vbench(
    results: Annotated[Path, typer.Argument(help="What VBench wrote: <name>_eval_results.json.")],
    out: Annotated[Path, typer.Option(help="Folder of the files, one for each dimension.")] = Path("external"),
) -> None:
    """Makes of VBench's results the files that evaluate videos --external takes."""
    from actavatar_jax.evaluation import bench as benches

    for path in benches.convert_vbench(results, out):
        print(path)


def _server(
    address: str | None, model: str | None, key: str | None, temperature: float, per_minute: float | None
) -> "Server | None":
    from actavatar_jax.chat import Server

    if bool(address) != bool(model):
        raise InputError("The judge needs both --server and --model; give them together.")
    if not address:
        return None
    return Server.at(address, model=model, key=key, temperature=temperature, per_minute=per_minute)
