"""A part's training, ended or killed at any moment, goes on as if nothing had been; phases follow each other."""

import dataclasses
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.parallel import WHOLE
from actavatar_jax.training.parts import train_part
from actavatar_jax.training.settings import CourseSettings
from tests.training.conftest import OPTIM

pytestmark = pytest.mark.usefixtures("quick_compilation")

COURSE = CourseSettings(
    seed=3,
    mesh="-1,1,1",
    steps=10,
    log_every=2,
    checkpoint_every=4,
    sample_every=2,
    bad_steps=2,
    explode=0.0,
    stall_minutes=0.0,
    optim=dataclasses.replace(OPTIM, learning_rate=0.05),
)
FROZEN = {"scale": {"kernel": np.full((1,), 2.0, np.float32)}}


class Line(nnx.Module):
    def __init__(self, config, *, rngs):
        self.linear = nnx.Linear(config, 1, rngs=rngs)

    def __call__(self, x):
        return self.linear(x)[:, 0]


NETWORK = Network(Line, 3)


@dataclasses.dataclass(frozen=True)
class Squares:
    """Also of chance, which has to come again after a restart."""

    shift: float = 0.0

    def __call__(self, params, frozen, batch, key):
        made = NETWORK.bind(params)(batch["x"]) * frozen["scale"]["kernel"] + 0.1 * jax.random.normal(key, ())
        loss = jnp.mean((made - batch["y"] - self.shift) ** 2)
        return loss, {"shift": jnp.float32(self.shift), "rare": jnp.where(loss > 0, jnp.nan, 0.0)}


def draw(rng):
    x = rng.standard_normal((4, 3), np.float32)
    return {"x": x, "y": x.sum(-1)}


def train(workdir, settings=COURSE, sample=None, draw=draw, network=NETWORK, start=None):
    return train_part(
        settings,
        network,
        lambda step: Squares(0.0 if step < 5 else 1.0),
        draw,
        workdir,
        described={"training": {"steps": settings.steps, "log_every": settings.log_every}},
        rules=WHOLE,
        frozen=FROZEN,
        start=start,
        may_change={"training.log_every"},
        sample=sample,
    )


def same(left, right):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, left, right)))


def told(workdir):
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss"], record["shift"]) for record in records]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    return train(workdir), workdir


def test_it_learns_and_its_phases_follow_each_other(tmp_path, undisturbed):
    _, workdir = undisturbed
    assert [step for step, *_ in told(workdir)] == [2, 4, 6, 8, 10]
    assert [shift for *_, shift in told(workdir)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    train(tmp_path, dataclasses.replace(COURSE, steps=80))
    assert told(tmp_path)[-1][1] < 0.2 * told(tmp_path)[2][1]


def test_it_begins_where_it_is_told_and_goes_on_from_nowhere_else(tmp_path, undisturbed):
    start, other = undisturbed[0], jax.tree.map(lambda leaf: leaf + 1, undisturbed[0])
    still = dataclasses.replace(COURSE, steps=1, optim=dataclasses.replace(OPTIM, learning_rate=1e-9))
    jax.tree.map(
        lambda new, old: np.testing.assert_allclose(new, old, atol=1e-6), train(tmp_path, still, start=start), start
    )
    for wrong in (None, other):
        with pytest.raises(InputError, match=r"other settings: start \(\w{32} then, \w+ now\)"):
            train(tmp_path, still, start=wrong)


@pytest.mark.parametrize("end", ["sigterm", "kill"])
def test_ended_or_killed_it_goes_on_bit_for_bit(tmp_path, undisturbed, end):
    def stop(params, step):
        assert set(params) == {"linear"}  # nothing of what is frozen
        if step == 6 and end == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
        elif step == 6:
            raise KeyboardInterrupt

    with pytest.raises(SystemExit if end == "sigterm" else KeyboardInterrupt) as left:
        train(tmp_path, sample=stop)
    assert end == "kill" or left.value.code == 75
    visited = []
    params = train(tmp_path, sample=lambda params, step: visited.append(step))
    assert visited == ([8, 10] if end == "sigterm" else [6, 8, 10])
    assert same(params, undisturbed[0])
    assert told(tmp_path)[-1] == told(undisturbed[1])[-1]
    records = (tmp_path / "metrics.jsonl").read_text()
    assert '"shift"' in records and '"rare"' not in records  # what is never known is not written down


def test_a_finished_run_gives_its_parameters_again_and_another_one_is_refused(undisturbed):
    params, workdir = undisturbed
    assert same(train(workdir, dataclasses.replace(COURSE, log_every=5)), params)
    with pytest.raises(InputError, match=r"training.steps \(10 then, 11 now\)"):
        train(workdir, dataclasses.replace(COURSE, steps=11))


def test_every_phase_is_compiled_once(tmp_path, monkeypatch):
    """Also where initialisers give weak types, which no step returns."""

    class Weak(Line):
        def __init__(self, config, *, rngs):
            super().__init__(config, rngs=rngs)
            self.offset = nnx.Param(jnp.broadcast_to(jnp.asarray(0.0), (1,)))

    drawn = jax.jit(lambda: nnx.state(Weak(3, rngs=nnx.Rngs(0))))()
    assert any(leaf.aval.weak_type for leaf in jax.tree.leaves(drawn))
    traced, original = [], Squares.__call__

    def count(self, params, frozen, batch, key):
        traced.append(self.shift)
        return original(self, {"linear": params["linear"]}, frozen, batch, key)

    monkeypatch.setattr(Squares, "__call__", count)
    train(tmp_path, network=Network(Weak, 3))
    assert traced == [0.0, 1.0]


def test_without_usable_gradients_it_ends(tmp_path):
    def broken(rng):
        return {**draw(rng), "y": np.full(4, np.nan, np.float32)}

    with pytest.raises(FloatingPointError, match="2 steps in a row"):
        train(tmp_path, draw=broken)
