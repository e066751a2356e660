"""The PyTorch twin: diffusers' Wan transformer with our phases, speech and helps, so that our weights run in PyTorch.

The backbone is diffusers' own, run by its own forward pass; hooks add what ActAvatar adds. Nothing of the JAX model
is used but its config, so that each checks the other. Needs the `torch` extra.

B batch, C latent channels, T latent frames, H W latent height and width, P tokens per latent frame, L = T*P video
tokens, D width, S text tokens, A audio tokens per latent frame of width E.
"""

import contextlib
import itertools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Complex, Float, Int

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import latent_times
from actavatar_jax.models.avatar import FLOAT32, AudioAdapterConfig, DiTConfig
from actavatar_jax.models.avatar.audio_adapter import FIRST_WINDOW, GROUP_WINDOW
from actavatar_jax.models.avatar.intervals import BASE_WINDOW
from actavatar_jax.models.avatar.relay import EPSILON
from actavatar_jax.prompt.forms import bias_of, has_anchors, turn_of
from actavatar_jax.weights import folder as folders
from actavatar_jax.weights import names
from actavatar_jax.weights.tables import dit

try:
    import torch
    import torch.nn.functional as F  # noqa: N812 - everybody's name for it
    from diffusers import WanTransformer3DModel
    from diffusers.models.normalization import FP32LayerNorm
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle
except ImportError as error:
    raise InputError(
        f"The PyTorch twin needs torch and diffusers 0.36 or newer ({error}); install actavatar-jax[torch]."
    ) from error


class ActAvatarTwin(WanTransformer3DModel):
    """`ActAvatarDiT` in PyTorch; its state dict has the names of a model folder's `transformer/`.

    `from_folder` (not `from_pretrained`) reads one; what `save_pretrained` writes, our folders and diffusers read.
    """

    # Float32 in a model of lower precision too: diffusers' list, then the rest of `FLOAT32`.
    _keep_in_fp32_modules = (
        *WanTransformer3DModel._keep_in_fp32_modules,
        *(
            "time_proj",
            "proj_out",
            "norm_x",
            "norm",
            "phase_embedding",
            "frame_time",
            "place",
            "window_strength",
            "latent_log_variance",
        ),
    )
    _supports_gradient_checkpointing = False  # a block that is run again would find no hooks

    def __init__(self, settings: DiTConfig):
        """Parameters as PyTorch and diffusers draw them, unrelated to those that `ActAvatarDiT` starts with."""
        backbone = dit.to_json(settings)
        super().__init__(**{key: value for key, value in backbone.items() if key not in ("_class_name", "actavatar")})
        c = self.settings = settings
        self.phase_embedding = torch.nn.Embedding(c.max_phases + 1, c.text_dim)  # row 0 is the base block
        self.audio_proj = AudioProjection(c.audio)
        for block in self.blocks:
            block.norm_x = FP32LayerNorm(c.width, c.eps)
            block.audio_cross_attn = AudioCrossAttention(c.width, c.heads, c.audio.token_width)
            if bias_of(c.phase_time) == "soft_relay":
                block.window_strength = torch.nn.Parameter(torch.zeros(1))
        if c.frame_time:
            self.frame_time = torch.nn.Linear(c.freq_dim, c.width)
        if c.place:
            self.place = torch.nn.Linear(2 * c.freq_dim, c.width)
        if c.linear_guess:
            self.latent_log_variance = torch.nn.Parameter(torch.zeros(c.out_channels))

    @classmethod
    def from_folder(cls, folder: str | Path, dtype: torch.dtype = torch.float32) -> "ActAvatarTwin":
        """Reads the transformer of a model folder, in either layout; ready for inference, on the CPU.

        Args:
          folder: as `weights.folder.load` takes it; adapters that it lacks start at their identity.
          dtype: of the parameters; those of `models.avatar.FLOAT32` stay in float32.

        Raises:
          InputError: the transformer is missing, its files are broken, or its tensors do not fit.
        """
        part = folders.load(folder, "transformer")
        settings, leaves = part.config, functional.flatten(part.params)
        del part  # from here on `leaves` alone holds the parameters, and lets go of each once it is copied
        state = {}
        table = sorted(dit.diffusers(settings), key=lambda entry: entry.ours)
        for ours, entries in itertools.groupby(table, key=lambda entry: entry.ours):
            leaf, kept = leaves.pop(ours), re.fullmatch(FLOAT32, ours)
            for entry in entries:
                value = torch.from_numpy(names.export_leaf(entry, leaf).astype(np.float32))
                state[entry.theirs] = value if kept else value.to(dtype)
        with torch.device("meta"):  # nothing is drawn that the next line replaces
            twin = cls(settings)
        twin.load_state_dict(state, assign=True)
        twin.rope = type(twin.rope)(settings.head_dim, settings.patch, twin.rope.max_seq_len)  # has no parameters
        return twin.eval()

    def to_json_string(self) -> str:
        """What `save_pretrained` writes to config.json: the backbone's class and our settings."""
        return json.dumps(dit.to_json(self.settings), indent=2) + "\n"

    def forward(
        self,
        latents: Float[Tensor, "B C T H W"],
        timesteps: Float[Tensor, "B times"],
        text: Float[Tensor, "B S textdim"],
        phase_ids: Int[Tensor, "B S"],
        phase_windows: Float[Tensor, "B phases 2"],
        audio: Float[Tensor, "B F featurelayers featurewidth"],
    ) -> Float[Tensor, "B C T H W"]:
        """Velocity `noise - data`, in the dtype of `latents`.

        Args:
          latents: noisy latents; the first frame is the clean one of the portrait.
          timesteps: 1000 t, 0 where the frame is clean: one per latent frame, or one per token as diffusers'
            pipeline with `expand_timesteps` makes them.
          text: encoder output, exact zeros beyond the prompt's end.
          phase_ids: 0 base block and end token, k phase k, -1 padding.
          phase_windows: seconds [start, end] of phases 1.., zeros where unused; read by the window bias only.
          audio: speech features at 25 Hz; zeros are the null audio.

        Raises:
          InputError: `timesteps` are neither one per latent frame nor one per token.
        """
        c = self.settings
        _, _, frames, height, width = latents.shape
        rows, columns = height // c.patch[1], width // c.patch[2]
        if timesteps.shape[1] == frames:
            timesteps = timesteps.repeat_interleave(rows * columns, dim=1)
        if timesteps.shape[1] != frames * rows * columns:
            raise InputError(
                f"{timesteps.shape[1]} timesteps do not fit the latents: accepted are {frames}, one per latent frame, "
                f"or {frames * rows * columns}, one per token."
            )

        dtype = self.patch_embedding.weight.dtype
        phases = self.phase_embedding(phase_ids.clamp(min=0)) * (phase_ids >= 0)[..., None]
        phases = phases * has_anchors(c.phase_time)
        tokens = self.audio_proj(audio.to(dtype), frames)
        penalty = window_penalty(c, phase_ids, phase_windows, frames) if bias_of(c.phase_time) else None
        turns = text_turns(c, phase_ids, phase_windows, frames) if turn_of(c.phase_time) else None
        with contextlib.ExitStack() as stack:
            for handle in self._added(tokens, penalty, turns, (frames, rows, columns)):
                stack.callback(handle.remove)
            text = text.float() + phases  # and so diffusers leaves the time embedding in float32
            seen = latents
            if c.linear_guess:
                times = timesteps[:, :: rows * columns, None, None] / 1000  # [B, T, 1, 1]
                seen = guessed(latents.float(), times, self.latent_log_variance)
            velocity = super().forward(seen.to(dtype), timesteps, text, return_dict=False)[0].float()
        if c.linear_guess:
            velocity = preconditioned(velocity, latents.float(), times, self.latent_log_variance)
        return velocity.type_as(latents)

    def _added(
        self,
        tokens: Tensor,
        penalty: Tensor | None,
        turns: tuple[Tensor, Tensor] | None,
        grid: tuple[int, int, int],
    ) -> Iterator[RemovableHandle]:
        """Hooks what this sample adds into the backbone; the handles take it out again."""
        c, dtype = self.settings, self.patch_embedding.weight.dtype
        yield self.condition_embedder.text_embedder.register_forward_pre_hook(lambda module, args: (args[0].to(dtype),))
        yield self.blocks[-1].register_forward_hook(lambda module, args, out: out.float())  # norm and head are float32
        if c.frame_time or c.place:
            positions = self._positions(grid)
            yield self.patch_embedding.register_forward_hook(lambda module, args, out: out + positions.type_as(out))
        for i, block in enumerate(self.blocks):
            yield from hook_audio_attention(block, tokens, ((i + 1) / c.layers) ** c.audio.gamma)
            if penalty is not None:
                strength = block.window_strength if bias_of(c.phase_time) == "soft_relay" else 1.0
                yield from hook_window_bias(block, -strength * penalty.repeat_interleave(grid[1] * grid[2], dim=1))
            if turns is not None:
                keys, queries = turns
                yield hook_turns(block.attn2.norm_k, keys)
                yield hook_turns(block.attn2.norm_q, queries.repeat_interleave(grid[1] * grid[2], dim=1))

    def _positions(self, grid: tuple[int, int, int]) -> Float[Tensor, "D T rows columns"]:
        """What `frame_time` and `place` add to the embedded patches."""
        device, sinusoid = self.patch_embedding.weight.device, self.condition_embedder.timesteps_proj
        frames, rows, columns = grid
        added = torch.zeros(1, 1, 1, 1, device=device)
        if self.settings.frame_time:
            times = torch.as_tensor(latent_times(frames, self.settings.rate), device=device)
            added = added + self.frame_time(sinusoid(times * 200)).T[:, :, None, None]
        if self.settings.place:
            down = sinusoid(100.0 * torch.arange(rows, device=device))[:, None].expand(-1, columns, -1)
            right = sinusoid(100.0 * torch.arange(columns, device=device))[None].expand(rows, -1, -1)
            added = added + self.place(torch.cat([down, right], dim=-1)).permute(2, 0, 1)[:, None]
        return added.expand(-1, *grid)


def hook_audio_attention(
    block: torch.nn.Module, tokens: Float[Tensor, "B T A E"], scale: float
) -> Iterator[RemovableHandle]:
    """Puts the audio cross-attention behind the text's (eq. 4): the text attention returns what both add."""
    stream = []

    def before(norm, args):
        stream.append(args[0])

    def after(attention, args, out):
        x = stream.pop() + out
        return out + scale * block.audio_cross_attn(block.norm_x(x.float()).type_as(out), tokens)

    yield block.norm2.register_forward_pre_hook(before)
    yield block.attn2.register_forward_hook(after)


def hook_window_bias(block: torch.nn.Module, bias: Float[Tensor, "B L S"]) -> Iterator[RemovableHandle]:
    """Adds a bias to the scores of the text cross-attention."""

    def before(attention, args):
        x, text, _, rotary = args
        return x, text, bias[:, None].type_as(x), rotary

    yield block.attn2.register_forward_pre_hook(before)


def hook_turns(norm: torch.nn.Module, turns: Complex[Tensor, "B L pairs"]) -> RemovableHandle:
    """Turns what a norm gives, in every head, by the angles of complex numbers and by their size."""

    def after(norm, args, out):
        heads = out.float().unflatten(2, (-1, 2, turns.shape[-1]))  # the two halves of a head
        turned = torch.complex(heads[..., 0, :], heads[..., 1, :]) * turns[:, :, None]
        return torch.stack([turned.real, turned.imag], dim=3).reshape(out.shape).type_as(out)

    return norm.register_forward_hook(after)


class AudioProjection(torch.nn.Module):
    """Speech features of 25 Hz -> A tokens per latent frame."""

    def __init__(self, config: AudioAdapterConfig):
        super().__init__()
        c = self.config = config
        feature = c.feature_layers * c.feature_width
        self.proj1 = torch.nn.Linear(FIRST_WINDOW * feature, c.hidden)
        self.proj1_vf = torch.nn.Linear(GROUP_WINDOW * feature, c.hidden)
        self.proj2 = torch.nn.Linear(c.hidden, c.hidden)
        self.proj3 = torch.nn.Linear(c.hidden, c.tokens * c.token_width)
        self.norm = FP32LayerNorm(c.token_width, eps=1e-5)

    def forward(
        self, features: Float[Tensor, "B F featurelayers featurewidth"], frames: int
    ) -> Float[Tensor, "B T A E"]:
        # Features -2 .. 4(T-1)+2, the outermost repeated beyond the recording's ends.
        reach = torch.arange(-2, 4 * frames - 1, device=features.device).clamp(0, features.shape[1] - 1)
        features = features.flatten(2)[:, reach]
        first = self.proj1(features[:, :FIRST_WINDOW].flatten(1))[:, None]
        groups = features[:, 1:].unfold(1, GROUP_WINDOW, 4).transpose(2, 3)  # [B, T-1, window, feature]
        x = torch.cat([first, self.proj1_vf(groups.flatten(2))], dim=1)
        x = self.proj3(self.proj2(x.relu()).relu())
        return self.norm(x.unflatten(2, (self.config.tokens, self.config.token_width)))


class AudioCrossAttention(torch.nn.Module):
    """Each latent frame's video tokens attend to that frame's audio tokens only."""

    def __init__(self, width: int, heads: int, token_width: int):
        super().__init__()
        self.heads = heads
        self.q_linear = torch.nn.Linear(width, width)
        self.kv_linear = torch.nn.Linear(token_width, 2 * width)
        self.proj = torch.nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "B L D"], tokens: Float[Tensor, "B T A E"]) -> Float[Tensor, "B L D"]:
        batch, frames = tokens.shape[:2]
        q = self.q_linear(x).reshape(batch * frames, -1, self.heads, x.shape[2] // self.heads)
        kv = self.kv_linear(tokens.flatten(0, 1)).unflatten(2, (2, self.heads, -1))
        k, v = kv.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q.transpose(1, 2), k, v)
        return self.proj(out.transpose(1, 2).reshape(x.shape))


def window_penalty(
    config: DiTConfig, phase_ids: Int[Tensor, "B S"], phase_windows: Float[Tensor, "B phases 2"], frames: int
) -> Float[Tensor, "B T S"]:
    """How far each latent frame lies outside each token's window, as `models.avatar.relay` defines it."""
    windows = phase_windows * config.latent_rate  # in latent frames
    half = ((windows[..., 1] - windows[..., 0]) / 2 - 1).clamp(min=0.5)
    times = torch.as_tensor(latent_times(frames, config.rate), device=windows.device) * config.latent_rate
    outside = (times[None, :, None] - windows.mean(dim=-1)[:, None]).abs() - half[:, None]
    penalty = (outside.clamp(min=0) * math.log(1 / EPSILON)).square() / 2  # [B, T, phases]
    penalty = F.pad(penalty, (1, 0))  # phase 0 and padding lie nowhere outside
    return penalty.gather(2, phase_ids.clamp(min=0).long()[:, None].expand(-1, frames, -1))


def text_turns(
    config: DiTConfig, phase_ids: Int[Tensor, "B S"], phase_windows: Float[Tensor, "B phases 2"], frames: int
) -> tuple[Complex[Tensor, "B S pairs"], Complex[Tensor, "B T pairs"]]:
    """Complex factors of keys [B, S, K/2] and queries [B, T, K/2], as `models.avatar.intervals` defines them."""
    form, pairs, device = turn_of(config.phase_time), config.head_dim // 2, phase_ids.device
    rates = config.time_scale * 10_000.0 ** (-torch.arange(pairs, device=device) / pairs)
    base = torch.tensor(BASE_WINDOW, device=device).expand(len(phase_ids), 1, 2)
    windows = torch.cat([base, phase_windows.float()], dim=1)
    windows = windows.gather(1, phase_ids.clamp(min=0).long()[..., None].expand(-1, -1, 2))
    start, end = windows.split(1, dim=-1)
    angles = rates * (start + end) / 2
    if form == "original":
        angles = torch.cat([(rates * start)[..., : pairs // 2], (rates * end)[..., pairs // 2 :]], dim=-1)
    size = torch.ones_like(angles)
    if form == "tie":
        size = torch.sinc(rates * (end - start) / 2 / math.pi)
        size = size / size.mean(dim=-1, keepdim=True)
    timed = (phase_ids > 0).any(dim=1)
    keys = torch.where((timed[:, None] & (phase_ids >= 0))[..., None], torch.polar(size.abs(), angles) * size.sign(), 1)
    index = torch.arange(frames, device=device)
    middles = torch.where(index == 0, 0.125, index - 0.25) / config.latent_rate
    angles = (middles[:, None] * rates).expand(len(phase_ids), -1, -1)
    return keys, torch.where(timed[:, None, None], torch.polar(torch.ones_like(angles), angles), 1)


def guessed(
    latents: Float[Tensor, "B C T H W"], times: Float[Tensor, "B T 1 1"], log_variance: Float[Tensor, "C"]
) -> Float[Tensor, "B C T H W"]:
    """The mean of the clean latents behind noisy ones, data taken for N(0, variance)."""
    t, variance = times[:, None], log_variance.exp()[:, None, None, None]
    return latents * (1 - t) * variance / (t**2 + (1 - t) ** 2 * variance)


def preconditioned(
    velocity: Float[Tensor, "B C T H W"],
    latents: Float[Tensor, "B C T H W"],
    times: Float[Tensor, "B T 1 1"],
    log_variance: Float[Tensor, "C"],
) -> Float[Tensor, "B C T H W"]:
    """The velocity of a network that learns what is left of it once data are taken for N(0, variance)."""
    t, variance = times[:, None], log_variance.exp()[:, None, None, None]
    total = t**2 + (1 - t) ** 2 * variance
    return latents * (t - (1 - t) * variance) / total + velocity * (variance / total).sqrt()
