"""The one exception for wrong input: its text is a complete sentence for the person who gave the input."""


class InputError(ValueError):
    """Wrong input. The message names the input, what was wrong with it and what is accepted."""
