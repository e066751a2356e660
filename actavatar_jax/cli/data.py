"""The commands between a corpus on disk and encoded shards, and `init` for a model of them."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from actavatar_jax.cli.echomimic import ECHOMIMIC_SIZES, check_encoding, open_encoders
from actavatar_jax.cli.options import AudioPart, Key, ModelName, Workers
from actavatar_jax.errors import InputError

app = typer.Typer()
pages = typer.Typer(help="Looks at clips and shards.", no_args_is_help=True)
app.add_typer(pages, name="data")

Part = Annotated[
    str | None, typer.Option("--process", help="I/N: part I (from 0) of N; the one that ends last puts all together.")
]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds that a clip may take.")]
Retry = Annotated[bool, typer.Option("--retry", help="Try clips again that crashed or timed out.")]
Runner = Annotated[str, typer.Option(help="processes (here) or beam.")]
BeamOption = Annotated[
    list[str] | None, typer.Option(help="Of Beam's engine, as in --beam-option=--runner=FlinkRunner.")
]


@app.command(epilog="Example: actavatar corpus hdtf HDTF/ hdtf.parquet")
def corpus(
    kind: Annotated[str, typer.Argument(help="openhumanvid, speakervid, hdtf, folder or webdataset.")],
    source: Annotated[str, typer.Argument(help="The corpus as it is distributed; nothing is downloaded.")],
    table: Annotated[str, typer.Argument(help="The table of clips to write, .parquet.")],
    process: Part = None,
) -> None:
    """A corpus as it is distributed -> a table of its clips; says what was left out and why."""
    from data_pipelines.corpora import read_corpus

    _tell(read_corpus(kind, source, table, _slice(process)))


@app.command(epilog="Example: actavatar prepare videos/ clips/")
def prepare(
    videos: Annotated[str, typer.Argument(help="Folder of videos, or a table of clips from `corpus`.")],
    clip_dir: str,
    min_frames: Annotated[int, typer.Option(help="Shorter clips are left out (25 fps).")] = 75,
    min_side: Annotated[int, typer.Option(help="Smaller clips are left out (pixels of the short side).")] = 256,
    trim: Annotated[
        bool, typer.Option("--trim", help="Cut each clip to its longest shot and to the picture inside black borders.")
    ] = False,
    process: Part = None,
    timeout: Timeout = 600,
    retry: Retry = False,
    runner: Runner = "processes",
    workers: Workers = None,
    beam_option: BeamOption = None,
) -> None:
    """Videos -> clips of 25 fps and 16 kHz with a manifest; says what was skipped and why."""
    from data_pipelines.clips import prepare_clips

    settings = {"runner": runner, "workers": workers, "beam_options": beam_option or ()}
    settings |= {"process": _slice(process), "timeout": timeout, "retry": retry}
    _tell(prepare_clips(videos, clip_dir, min_frames=min_frames, min_side=min_side, trim=trim, **settings))


@app.command("filter", epilog="Example: actavatar filter clips/ --models models/")
def filter_clips(
    clip_dir: str,
    steps: Annotated[str | None, typer.Option(help="Filters, separated by commas; default: all.")] = None,
    models: Annotated[Path | None, typer.Option(help="Folder of the filters' models.")] = None,
    stage: Annotated[int | None, typer.Option(help="Only clips that are selected for this stage.")] = None,
    process: Part = None,
    timeout: Timeout = 600,
    retry: Retry = False,
    runner: Runner = "processes",
    workers: Workers = None,
    beam_option: BeamOption = None,
) -> None:
    """Measures prepared clips: columns of the manifest; rejects nothing."""
    from data_pipelines.filters import filter_clips

    settings = {"stage": stage, "runner": runner, "workers": workers, "beam_options": beam_option or ()}
    settings |= {"process": _slice(process), "timeout": timeout, "retry": retry}
    _tell(*filter_clips(clip_dir, steps.split(",") if steps else None, models, **settings))


@app.command(epilog="Example: actavatar select clips/ --stage 1")
def select(
    clip_dir: str,
    stage: Annotated[int, typer.Option(help="1: lips. 2: actions, of the clips of stage 1.")],
    rules: Annotated[str | None, typer.Option(help="Thresholds, YAML; default: the stage's own.")] = None,
    besides: Annotated[
        list[str] | None,
        typer.Option(help="Clip folder of another corpus, whose clips are not to be chosen twice."),
    ] = None,
) -> None:
    """Chooses the clips of a stage by thresholds; says which rule left out how many."""
    from data_pipelines.selection import select_clips

    _tell(select_clips(clip_dir, stage, rules, besides or ()))


@app.command(epilog="Example: actavatar annotate clips/ --server http://localhost:8000/v1 --model Qwen3-Omni-30B-A3B")
def annotate(
    clip_dir: str,
    server: Annotated[
        list[str], typer.Option(help="OpenAI-compatible address, with /v1; given again: another server of the model.")
    ],
    model: ModelName,
    key: Key = None,
    audio_part: AudioPart = "audio_url",
    parallel: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 8,
    per_minute: Annotated[float | None, typer.Option(min=0.1, help="At most so many a minute to a server.")] = None,
    seed: Annotated[int, typer.Option(help="Another one asks anew.")] = 0,
    encoder: Annotated[Path | None, typer.Option(help="Model folder whose tokenizer counts the tokens.")] = None,
    process: Part = None,
) -> None:
    """Has a multimodal model write what happens in the clips of stage 2; resumable, answers are kept."""
    from actavatar_jax.prompt.tokenizer import load_tokenizer
    from data_pipelines.annotation import ChatClient, Server, annotate_clips

    tokenizer = load_tokenizer(encoder / "tokenizer") if encoder else None
    settings = {"key": key, "audio_part": audio_part, "per_minute": per_minute, "seed": seed}
    with ExitStack() as stack:
        clients = [stack.enter_context(ChatClient(Server(url, model, **settings))) for url in server]
        _tell(annotate_clips(clip_dir, *clients, parallel=parallel, tokenizer=tokenizer, process=_slice(process)))


@app.command(epilog="Example: actavatar encode clips/ shards/ --model Wan2.2-TI2V-5B-Diffusers")
def encode(
    clip_dir: str,
    shard_dir: str,
    model: Annotated[Path | None, typer.Option(help="Model folder with the frozen encoders.")] = None,
    stage: Annotated[int | None, typer.Option(help="Only the clips selected for it; 2 wants actions.")] = None,
    process: Part = None,
    commit: Annotated[bool, typer.Option("--commit", help="Only list the shards of all parts.")] = False,
    frames: Annotated[
        int | None, typer.Option(help="Frames of a window, 4k+1; default: 125, of echomimic 113.")
    ] = None,
    buckets: Annotated[
        str | None, typer.Option(help="Sizes HEIGHTxWIDTH: commas between shapes, slashes between areas.")
    ] = None,
    stride: Annotated[int | None, typer.Option(help="Frames from window to window; default: end to end.")] = None,
    anchors: Annotated[
        bool, typer.Option(help="Texts with labels and anchors, or bare as models without `paper` in phase_time read.")
    ] = True,
    split: Annotated[
        str | None, typer.Option(help="Only the clips of this split; default: all that are not held back for tests.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    audio_encoder: Annotated[Path | None, typer.Option(help="Wav2Vec2 folder, if the model has none.")] = None,
    system: Annotated[str, typer.Option(help="actavatar, or echomimic, which takes no --model.")] = "actavatar",
    base: Annotated[Path | None, typer.Option(help="Folder of Wan2.1-Fun's encoders, of echomimic.")] = None,
    variant: Annotated[str, typer.Option(help="Of echomimic: preview or flash.")] = "preview",
    models: Annotated[Path | None, typer.Option(help="Folder of face.onnx, by which echomimic finds mouths.")] = None,
) -> None:
    """Clips -> encoded shards, resumable, by one process or by several; says what was skipped and why."""
    from data_pipelines.shards import DEFAULT_SIZES, commit_shards, encode_clips

    given = {"model": model, "base": base, "models": models, "variant": variant, "audio_encoder": audio_encoder}
    parts = check_encoding(system, encode, given)
    if commit == (given[parts] is not None):
        raise InputError(f"Give --{parts} to encode clips, or --commit to list the shards of all parts.")
    if commit:
        _tell(commit_shards(clip_dir, shard_dir))
        return
    settings = {"stride_frames": stride, "stage": stage, "split": split}
    if system == "echomimic":
        encoders = open_encoders(base, audio_encoder, variant, dtype, models)
        settings |= {"frames": frames or 113, "buckets": buckets or ECHOMIMIC_SIZES, "anchors": False}
    else:
        from actavatar_jax.encoders import Encoders

        encoders = Encoders.from_folder(model, dtype=dtype, audio_encoder=audio_encoder)
        settings |= {"frames": frames or 125, "buckets": buckets or DEFAULT_SIZES, "anchors": anchors}
    _tell(encode_clips(clip_dir, shard_dir, encoders, process=_slice(process), **settings))


@pages.command("inspect", epilog="Example: actavatar data inspect clips/ --out clips.html")
def inspect(
    folder: Annotated[str, typer.Argument(help="Of clips or of shards.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    samples: Annotated[int, typer.Option(min=0, help="Clips to show.")] = 24,
) -> None:
    """One web page of counts, hours, reasons, histograms and samples."""
    from data_pipelines.pages import inspect_folder

    inspect_folder(folder, out, samples=samples)


@pages.command("table", epilog="Example: actavatar data table clips/ --out everything.parquet")
def join_table(
    clip_dir: str,
    out: Annotated[str, typer.Option(help="The file to write, .parquet.")],
) -> None:
    """The clips with the columns of all steps, as one file."""
    from data_pipelines.table import read_manifest

    read_manifest(clip_dir).write(out)


@app.command(epilog="Example: actavatar init clips/ model/ --preset small --channels 96")
def init(
    clip_dir: Path,
    model_dir: Path,
    preset: Annotated[str, typer.Option(help="small or tiny.")] = "small",
    channels: Annotated[int | None, typer.Option(help="Components of PatchCodec; default: the preset's.")] = None,
    height: Annotated[int, typer.Option()] = 128,
    width: Annotated[int, typer.Option()] = 128,
    frames: Annotated[int, typer.Option(help="Default length of its videos.")] = 49,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """A fresh small model folder, with tokenizer and PatchCodec fitted on prepared clips."""
    from actavatar_jax.runs.small_world import init_model

    init_model(
        clip_dir, model_dir, preset=preset, channels=channels, size=(height, width), num_frames=frames, seed=seed
    )


def _tell(*reports: Any) -> None:
    """Prints what became of all inputs, and ends with an error if some of them failed or none is left."""
    print(*reports, sep="\n", flush=True)
    for report in reports:
        report.check()


def _slice(text: str | None) -> tuple[int, int] | None:
    """`I/N` as numbers."""
    if text is None:
        return None
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise InputError(f"--process {text}: expected I/N with I from 0 to N - 1, such as 0/4")
    return int(index), int(count)
