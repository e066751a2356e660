"""What there is to say of a file, once, however often it is read."""

import functools
import logging

logger = logging.getLogger(__name__)


@functools.lru_cache(maxsize=4096)
def warn_once(sentence: str) -> None:
    """Logs a warning, in each process the first time only: a training reads the same clips again and again."""
    logger.warning(sentence)
