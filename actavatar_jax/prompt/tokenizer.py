"""Tokenizers: the one of a model folder, and small ones fitted on the texts of a small world."""

import base64
import contextlib
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, SupportsIndex

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from actavatar_jax.errors import InputError
from actavatar_jax.prompt.tokens import MAX_TOKENS
from actavatar_jax.storage import cut, named, parse_json, read_json, read_text, shown, write_json

LARGEST = 2**28  # bytes of a tokenizer.json; umT5's has 17 MB

_SPECIAL = ("<pad>", "</s>", "<unk>")  # ids 0, 1, 2, as umT5 has the first two
_CHARACTERS = ["▁", *map(chr, range(33, 127))]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_SMALLEST = len(_SPECIAL) + len(_BYTES) + len(_CHARACTERS)
_PIECES = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt")
_REWRITE = "transformers' save_pretrained writes one"
_CHARSMAP = re.compile(r'"precompiled_charsmap"\s*:\s*"([^"]*)"')

log = logging.getLogger(__name__)


class ModelTokenizer:
    """A tokenizer of the tokenizers library with what its folder says of it.

    The transformers library, which writes such folders and reads ours, would take longer to import than JAX.
    """

    def __init__(self, tokenizer: Tokenizer, config: dict[str, Any]):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.backend, self.config = tokenizer, config
        end = config.get("eos_token") or _SPECIAL[1]
        end = end.get("content") if isinstance(end, dict) else end
        self.eos_token_id = tokenizer.token_to_id(end) if isinstance(end, str) else None
        self.unk_token_id = tokenizer.token_to_id(_SPECIAL[2])
        if self.eos_token_id is None:
            raise InputError(f"the tokenizer has no piece {shown(end)} for the end of a text.")

    def __len__(self) -> int:
        """The rows that an embedding needs: one more than the largest id."""
        return 1 + max(self.backend.get_vocab().values())

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Ids of a text, with the end token if special ones are asked for."""
        with _told(f"the tokenizer cannot encode {shown(text)}", "it lacks pieces that it needs"):
            return self.backend.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """The text of ids, without special ones."""
        return self.backend.decode([int(one) for one in ids])

    def pieces(self, ids: Iterable[SupportsIndex]) -> list[str]:
        """The piece of each id, as the vocabulary has it."""
        return [self.backend.id_to_token(int(one)) for one in ids]

    def save(self, folder: Path) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json`, which transformers and diffusers read too."""
        folder.mkdir(parents=True, exist_ok=True)
        self.backend.save(str(folder / "tokenizer.json"))
        write_json(folder / "tokenizer_config.json", self.config)


def load_tokenizer(folder: str | Path) -> ModelTokenizer:
    """The tokenizer of a folder with a `tokenizer.json`; else InputError. Code in the folder is never run."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"tokenizer folder {named(folder)} does not exist.")
    file, config_file = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if not file.exists():
        pieces = next((f"a {name} but " for name in _PIECES if (folder / name).exists()), "")
        raise InputError(f"tokenizer folder {named(folder)} holds {pieces}no tokenizer.json; {_REWRITE}.")
    text, config = read_text(file, limit=LARGEST), read_json(config_file) if config_file.exists() else {}
    if text.startswith("version https://git-lfs"):
        raise InputError(f"{named(file)} is a Git LFS pointer in the place of the file: run `git lfs pull`.")
    with _told(
        f"tokenizer folder {named(folder)} cannot be read by tokenizers {tokenizers.__version__}",
        f"its tokenizer.json is damaged or of another version; {_REWRITE}",
    ):
        for charsmap in _CHARSMAP.findall(text):
            normalizers.Precompiled(base64.b64decode(charsmap))  # where it is damaged, `from_str` would panic
        tokenizer = Tokenizer.from_str(text)
    if config.pop("auto_map", None):
        log.warning("Tokenizer folder %s asks for code of its own (auto_map), which is not run.", folder)
    return ModelTokenizer(tokenizer, config)


def fit_tokenizer(texts: Iterable[str], vocab_size: int = 1024) -> ModelTokenizer:
    """A Unigram tokenizer with at most `vocab_size` pieces for `texts`; the same texts give the same tokenizer.

    Pieces do not span spaces, every ASCII character is a piece, and any other character falls back to its bytes, so
    that no text is unknown. `<pad>` is 0, `</s>` 1 (appended when special tokens are asked for), `<unk>` 2.
    """
    if vocab_size < _SMALLEST:
        raise InputError(f"a vocabulary of {vocab_size} pieces is too small; ASCII and bytes alone need {_SMALLEST}.")
    texts = sorted(texts)
    if not any(text.strip() for text in texts):
        raise InputError("a tokenizer cannot be fitted without texts.")
    metaspace = {"replacement": "▁", "prepend_scheme": "always"}
    tokenizer = Tokenizer(models.Unigram(_pieces(texts, vocab_size, metaspace), 2, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**metaspace)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(**metaspace)])
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    tokenizer.add_special_tokens(list(_SPECIAL))
    names = dict(zip(("pad_token", "eos_token", "unk_token"), _SPECIAL, strict=True))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MAX_TOKENS, **names}
    return ModelTokenizer(tokenizer, config)


@contextlib.contextmanager
def _told(what: str, why: str) -> Iterator[None]:
    """Makes what the library raises an InputError: a panic of Rust too, which is no Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        raise InputError(f"{what} ({cut(str(error), 60)}); {why}.") from error


def _pieces(texts: list[str], vocab_size: int, metaspace: dict[str, str]) -> list[tuple[str, float]]:
    """Pieces and log probabilities: special, frequent words, learned parts, characters (last resort), bytes.

    The trainer looks for strings that several different words share, and a small world has few words; so its frequent
    words are pieces of their own. Characters get one score because the trainer orders rare ones differently from run to
    run, and learned scores are rounded because the last bits of its sums vary too.
    """
    room = vocab_size - len(_SPECIAL) - len(_BYTES) - len(_CHARACTERS)
    counts = Counter("▁" + word for text in texts for word in text.split())
    frequent = [(word, count) for word, count in counts.items() if count > 1]
    frequent = sorted(frequent, key=lambda item: (-item[1], item[0]))[: room // 2]
    scores = {word: round(math.log(count / counts.total()), 4) for word, count in frequent}
    parts = sorted(_learned_parts(texts, vocab_size, metaspace).items(), key=lambda item: (-item[1], item[0]))
    for part, score in parts[: room - len(scores)]:
        scores.setdefault(part, score)
    return [
        *((piece, 0.0) for piece in _SPECIAL),
        *scores.items(),
        *((piece, -20.0) for piece in _CHARACTERS),
        *((piece, -100.0) for piece in _BYTES),
    ]


def _learned_parts(texts: list[str], vocab_size: int, metaspace: dict[str, str]) -> dict[str, float]:
    learner = Tokenizer(models.Unigram())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(**metaspace)
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=list(_SPECIAL), unk_token=_SPECIAL[2], show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    vocab = parse_json(learner.to_str(), "the learned tokenizer")["model"]["vocab"]
    return {piece: round(score, 4) for piece, score in vocab if len(piece) > 1 and piece not in _SPECIAL}
