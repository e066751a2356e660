"""Progress bars: of what reports `(name, done, total)`, and of the steps of a video."""

from typing import Any

from tqdm import tqdm


def show_progress(bar: tqdm, component: str, done: int, total: int) -> None:
    """Sets a progress bar to the bytes done of one component."""
    bar.set_description(component, refresh=False)
    bar.total, bar.n = total, done
    bar.refresh()


class StepBar:
    """A callback of sampling: shows the steps of one video, and the time that is left.

    It begins behind the first step, which compiles. On a terminal and in the first process only.
    """

    def __call__(self, step: Any) -> None:
        if step.done == 1:
            self.bar = tqdm(total=step.steps, initial=1, desc="steps", unit="step", leave=False, disable=_hidden())
        else:
            self.bar.update()
        if step.done == step.steps:
            self.bar.close()


def _hidden() -> bool | None:
    import jax

    return jax.process_index() > 0 or None  # None: wherever there is no terminal
