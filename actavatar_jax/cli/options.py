"""Options that several commands have: of a model and of sampling, of steps over clips, and of a server."""

from pathlib import Path
from typing import Annotated

import typer

ServerUrl = Annotated[str, typer.Option(help="OpenAI-compatible address, with /v1.")]
ModelName = Annotated[str, typer.Option(help="Name of the multimodal model there.")]
Key = Annotated[str | None, typer.Option(envvar="ACTAVATAR_API_KEY", help="Key of a hosted server.")]
AudioPart = Annotated[str, typer.Option(help="audio_url (vLLM, sglang-jax) or input_audio (hosted).")]
Workers = Annotated[int | None, typer.Option(min=0, help="Processes; default: one per core, 0: this one.")]

Model = Annotated[Path, typer.Option(help="Model folder.")]
ChunkFrames = Annotated[
    int | None, typer.Option(help="Of echomimic: 4k+1 that are made at once; a longer video has chunks.")
]
Dtype = Annotated[str, typer.Option(help="float32 or bfloat16.")]
AttentionForm = Annotated[str, typer.Option(help="auto, xla, chunked, blocked, cudnn or splash.")]
AudioEncoder = Annotated[Path | None, typer.Option(help="Wav2Vec2 folder, if the model has none.")]
Adapter = Annotated[Path | None, typer.Option(help="Audio adapter that stage 1 wrote: adapter.safetensors.")]
Lora = Annotated[list[str] | None, typer.Option(help="LoRA file, or FILE:strength; may be given again.")]
Memory = Annotated[str, typer.Option(help="Of one device: auto, or such as 24GB; what is too much waits elsewhere.")]
MeshSizes = Annotated[
    str | None, typer.Option("--mesh", help="Devices along data, fsdp and seq, such as 1,2,4; default: one device.")
]
Distributed = Annotated[
    bool, typer.Option("--distributed", help="Joins the other processes of a cluster; all get the same arguments.")
]
PhaseTime = Annotated[
    str | None,
    typer.Option(help="How text knows time: paper, relay, tie, paper+relay, ...; default: as the model was trained."),
]
Rate = Annotated[int | None, typer.Option(help="Frames a second, 16 or 25; default: as the model was trained.")]
Anyway = Annotated[
    bool, typer.Option("--anyway", help="Also of a portrait that the model cannot show, or a video that has no room.")
]
Steps = Annotated[int | None, typer.Option(help="Solver steps; default: the model's own.")]
Solver = Annotated[str | None, typer.Option(help="unipc, dpm++, euler, or mean with 1 step; default: the model's own.")]
Shift = Annotated[float | None, typer.Option(help="Warp of the noise levels; default: the model's own.")]
Scale = Annotated[float | None, typer.Option(help="Default: the model's own.")]
