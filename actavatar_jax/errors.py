"""Errors whose text is a complete sentence for a person, and the one line that is said of any other."""


class InputError(ValueError):
    """Wrong input. The message names the input, what was wrong with it and what is accepted."""


class OtherProcessError(RuntimeError):
    """Another process failed, and not because of wrong input. The message names it, and what it said."""


def first_line(error: BaseException) -> str:
    """The class of an exception and the first line of its message, which may be cut short."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


def interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an exception: C code that calls Python may have made another one of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
