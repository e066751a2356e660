"""Options that several commands have: the server of a multimodal model."""

from typing import Annotated

import typer

ServerUrl = Annotated[str, typer.Option(help="OpenAI-compatible address, with /v1.")]
ModelName = Annotated[str, typer.Option(help="Name of the multimodal model there.")]
Key = Annotated[str | None, typer.Option(envvar="ACTAVATAR_API_KEY", help="Key of a hosted server.")]
AudioPart = Annotated[str, typer.Option(help="audio_url (vLLM, sglang-jax) or input_audio (hosted).")]
