"""The bar over the steps of a video: how far it goes, and who shows it."""

from types import SimpleNamespace

import jax
import pytest

from actavatar_jax.cli import progress


@pytest.fixture
def bars(monkeypatch):
    made = []

    class Bar:
        def __init__(self, **options):
            self.options, self.n, self.closed = options, options["initial"], False
            made.append(self)

        def update(self):
            assert not self.closed
            self.n += 1

        def close(self):
            self.closed = True

    monkeypatch.setattr(progress, "tqdm", Bar)
    return made


def walk(bar, steps):
    for done in range(1, steps + 1):
        bar(SimpleNamespace(done=done, steps=steps))


def test_a_bar_begins_behind_the_first_step_and_ends_with_the_last(bars):
    for steps in (4, 1):
        walk(progress.StepBar(), steps)
    assert [(bar.n, bar.options["total"], bar.options["initial"], bar.closed) for bar in bars] == [
        (4, 4, 1, True),
        (1, 1, 1, True),
    ]


@pytest.mark.parametrize(("process", "hidden"), [(0, None), (1, True)])
def test_the_first_process_alone_shows_it(bars, monkeypatch, process, hidden):
    monkeypatch.setattr(jax, "process_index", lambda: process)
    walk(progress.StepBar(), 2)
    assert [bar.options["disable"] for bar in bars] == [hidden]
