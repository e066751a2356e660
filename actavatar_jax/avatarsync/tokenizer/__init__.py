"""Pictures to discrete visual tokens and back."""

from actavatar_jax.avatarsync.tokenizer import lfq
from actavatar_jax.avatarsync.tokenizer.config import LFQConfig, PatchTokensConfig, SmallLFQConfig
from actavatar_jax.avatarsync.tokenizer.model import LFQTokenizer
from actavatar_jax.avatarsync.tokenizer.patch_tokens import PatchTokens, fit_patch_tokens

__all__ = [
    "LFQConfig",
    "LFQTokenizer",
    "PatchTokens",
    "PatchTokensConfig",
    "SmallLFQConfig",
    "fit_patch_tokens",
    "lfq",
]
