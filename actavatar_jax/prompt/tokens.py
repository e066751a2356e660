"""Token ids of a prompt's blocks, and for each id the block it belongs to."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

from actavatar_jax.errors import InputError

MAX_TOKENS = 512  # the text encoder's length, end token included
_LISTED = 9  # blocks of a prompt that is too long: as many as a model takes

log = logging.getLogger(__name__)


@runtime_checkable
class Tokenizer(Protocol):
    """What is used of a tokenizer: `ModelTokenizer` has it, and every one of the transformers library."""

    eos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...


@dataclass(frozen=True, eq=False)
class TokenisedPrompt:
    """Token ids ending with the end token, and for each the phase it belongs to (0: the base). No padding.

    The end token belongs to the base, or where texts are bare to the last phase.
    """

    ids: Int32[np.ndarray, " S"]
    phase_ids: Int32[np.ndarray, " S"]


def tokenise_blocks(
    blocks: Sequence[str], tokenizer: Tokenizer, max_length: int, strict: bool, apart: bool = False
) -> TokenisedPrompt:
    """The ids of the base and of the phases in order; at most `max_length` with the end token, which comes last.

    They are those of the joint text, or of each block `apart`; then the end token belongs to the last block.

    Where that is too long, InputError with the count of every block if `strict`; else the end of the base is left out,
    with a warning, or InputError where the base does not suffice.
    """
    ids, counts = _ids(blocks, tokenizer, apart)
    if unknown := ids.count(getattr(tokenizer, "unk_token_id", None)):
        log.warning("%d of the prompt's %d tokens are unknown to the tokenizer", unknown, len(ids))
    excess = len(ids) + 1 - max_length
    if excess > 0:
        if strict or excess > counts[0]:
            raise InputError(f"{_too_long(counts, max_length)}.")
        log.warning("%s; the last %d tokens of the base text are left out", _too_long(counts, max_length), excess)
        counts[0] -= excess
        ids = ids[: counts[0]] + ids[counts[0] + excess :]
    phase_ids = np.append(np.repeat(np.arange(len(counts)), counts), len(counts) - 1 if apart else 0)
    return TokenisedPrompt(np.array([*ids, tokenizer.eos_token_id], np.int32), phase_ids.astype(np.int32))


def length_problem(blocks: Sequence[str], tokenizer: Tokenizer, max_length: int) -> str | None:
    """What `tokenise_blocks` would say of blocks that are too long."""
    ids, counts = _ids(blocks, tokenizer)
    return _too_long(counts, max_length) if len(ids) + 1 > max_length else None


def _too_long(counts: Sequence[int], max_length: int) -> str:
    names = ["base", *(f"phase {k}" for k in range(1, len(counts)))]
    detail = [f"{name} {count}" for name, count in zip(names, counts, strict=True)]
    if len(detail) > _LISTED:
        detail[_LISTED:] = [f"{len(detail) - _LISTED} more {sum(counts[_LISTED:])}"]
    return f"the text has {sum(counts) + 1} tokens, at most {max_length} fit ({', '.join(detail)}, end 1)"


def _ids(blocks: Sequence[str], tokenizer: Tokenizer, apart: bool = False) -> tuple[list[int], list[int]]:
    """Ids of the joined text, or of the blocks one by one, without end token, and how many of them each block has.

    Pieces of a SentencePiece tokenizer do not span spaces, so the blocks' own ids are the joint text's. Where that does
    not hold the joint text counts, and growing prefixes of it are measured.
    """

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False)) if text else []

    single = [encode(block) for block in blocks]
    if apart:
        return list(chain(*single)), [len(ids) for ids in single]
    joint = encode(" ".join(filter(None, blocks)))
    if list(chain(*single)) == joint:
        return joint, [len(ids) for ids in single]
    log.info("this tokenizer joins pieces across blocks; phase ids are measured on growing prefixes")
    ends = [len(encode(" ".join(filter(None, blocks[: k + 1])))) for k in range(len(blocks) - 1)]
    ends = np.minimum(np.maximum.accumulate([0, *ends]), len(joint))
    return joint, np.diff([*ends, len(joint)]).tolist()
