"""Progress bars of what reports `(name, done, total)`."""

from tqdm import tqdm


def show_progress(bar: tqdm, component: str, done: int, total: int) -> None:
    """Sets a progress bar to the bytes done of one component."""
    bar.set_description(component, refresh=False)
    bar.total, bar.n = total, done
    bar.refresh()
