"""The commands of structured prompts: `prompt write` and `prompt check`."""

from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.cli.options import AudioPart, Key, ModelName, ServerUrl

app = typer.Typer(help="Structured prompts.", no_args_is_help=True)


@app.command(
    "write",
    epilog="Example: actavatar prompt write --image face.png --audio speech.wav "
    "--server http://localhost:8000/v1 --model Qwen3-Omni-30B-A3B",
)
def prompt_write(
    image: Annotated[Path, typer.Option(help="Portrait.")],
    audio: Annotated[Path, typer.Option(help="Speech.")],
    server: ServerUrl,
    model: ModelName,
    out: Annotated[Path, typer.Option(help="The .json to write.")] = Path("prompt.json"),
    seconds: Annotated[float | None, typer.Option(help="Of the speech; default: all of it, at most 20.")] = None,
    key: Key = None,
    audio_part: AudioPart = "audio_url",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Has a multimodal model propose what the person should do during a speech."""
    from actavatar_jax.storage import write_json
    from data_pipelines.annotation import ChatClient, Server, write_prompt

    with ChatClient(Server(server, model, key=key, audio_part=audio_part, seed=seed)) as client:
        prompt = write_prompt(image, audio, client, seconds=seconds)
    write_json(out, prompt.to_dict())
    print(prompt.timeline(seconds))


@app.command("check", epilog='Example: actavatar prompt check "A man. [0-2s] Waves. [2-4s] Points down."')
def prompt_check(
    prompt: Annotated[str, typer.Argument(help="Text, JSON, or a .json, .yaml or .txt file.")],
    seconds: Annotated[float | None, typer.Option(help="Length of the clip it is for.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder whose tokenizer counts the tokens.")] = None,
) -> None:
    """Shows the timeline and the tokens of every block, or all problems at once."""
    from actavatar_jax.checks import Limit, checked
    from actavatar_jax.prompt import StructuredPrompt

    if seconds is not None:
        checked("value of --seconds", seconds, float, Limit("above 0, up to 86,400", lambda x: 0 < x <= 86_400))
    parsed = StructuredPrompt.coerce(prompt, seconds)
    tokenizer = None
    if model:
        from actavatar_jax.encoders.text import load_model_tokenizer  # with JAX, which takes seconds

        tokenizer = load_model_tokenizer(model)
    parsed.check(duration=seconds, tokenizer=tokenizer)
    print(parsed.timeline(seconds))
    print(f"\n{parsed.render()}")
    if tokenizer:
        ids = parsed.tokenise(tokenizer).phase_ids.tolist()
        names = ["base", *(f"phase {k}" for k in range(1, len(parsed.phases) + 1))]
        print("\ntokens: " + ", ".join(f"{name} {ids.count(k)}" for k, name in enumerate(names)))
    for remark in parsed.remarks():
        print(f"\nnote: {remark}")
