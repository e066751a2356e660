"""The held-out loss: the right value at fixed noise, the same every time, and training does not notice it."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from actavatar_jax.functional import Network, random_key
from actavatar_jax.parallel import make_mesh
from actavatar_jax.training import loop
from actavatar_jax.training.heldout import LEVELS, HeldOutLoss
from actavatar_jax.training.objective import AvatarObjective
from actavatar_jax.training.state import TrainState

pytestmark = pytest.mark.usefixtures("quick_compilation")

SHAPE = (3, 2, 2, 4)  # of the latents of a clip


class Scaled(Network):
    """A network whose model says `scale` times what it is shown; it writes down the model times."""

    def __init__(self):
        object.__setattr__(self, "times", [])

    def bind(self, params):
        return Scaled.Model(params["scale"], self.times)

    @dataclasses.dataclass
    class Model:
        scale: jax.Array
        times: list

        def condition(self, *_):
            return None

        def __call__(self, latents, times, conditions):
            jax.debug.callback(lambda value: self.times.append(np.asarray(value)), times)
            return self.scale * latents


def clips(numbers, size):
    """Batches of `size` of the clips with these numbers; the last one is filled up."""
    latents = {n: np.random.default_rng(n).standard_normal(SHAPE, np.float32) for n in numbers}
    rest = dict.fromkeys(("text", "phase_ids", "phase_windows", "audio"), np.zeros(size, np.float32))
    for first in range(0, len(numbers), size):
        inside = numbers[first : first + size]
        filled = [*inside, *inside[-1:] * (size - len(inside))]
        weight = np.float32(np.arange(size) < len(inside))
        yield {"latents": np.stack([latents[n] for n in filled]), "index": np.array(filled), "weight": weight} | rest


def measured(numbers, size):
    """(record, model times) of a state whose weights say 0 and whose average says what it is shown."""
    mesh, network = make_mesh("1,-1,1"), Scaled()
    state = TrainState(jnp.int32(0), {"scale": jnp.float32(0)}, {}, (), {"scale": jnp.float32(1)})
    shardings = jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), state)
    beats = []
    with jax.set_mesh(mesh):
        record = HeldOutLoss(
            network, AvatarObjective(), list(clips(numbers, size)), mesh, shardings, lambda: beats.append(1)
        )(state)
        jax.effects_barrier()
    assert len(beats) == -(-len(numbers) // size)
    return record, np.concatenate([times[:, 1] for times in network.times])


def expected(number, level):
    """(time, squared errors of both weights) of a clip, by the definitions."""
    draws = jax.random.split(jax.random.fold_in(jax.random.fold_in(random_key(0), number), level))
    time = (level + 1 - float(jax.random.uniform(draws[0]))) / LEVELS
    data = np.random.default_rng(number).standard_normal(SHAPE, np.float32)[1:]
    noise = np.asarray(jax.random.normal(draws[1], SHAPE))[1:]
    shown = (1 - time) * data + time * noise
    return time, np.mean((noise - data) ** 2), np.mean((shown - noise + data) ** 2)


def test_it_is_the_flow_loss_of_weights_and_average_at_fixed_noise_in_every_part_of_flow_time():
    record, times = measured([0, 1, 2], size=2)
    assert set(record) == {
        f"heldout/{kind}{place}"
        for kind in ("loss", "ema_loss")
        for place in ("", *(f"_at_noise/{part}" for part in ("0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00")))
    }
    for level, place in enumerate(("0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00")):
        wanted = np.mean([expected(number, level) for number in range(3)], axis=0)
        assert level / LEVELS < wanted[0] <= (level + 1) / LEVELS
        assert record[f"heldout/loss_at_noise/{place}"] == pytest.approx(wanted[1], rel=1e-4)
        assert record[f"heldout/ema_loss_at_noise/{place}"] == pytest.approx(wanted[2], rel=1e-4)
    assert record["heldout/loss"] == pytest.approx(
        np.mean([expected(number, level)[1] for number in range(3) for level in range(LEVELS)]), rel=1e-4
    )
    drawn = {round(1000 * expected(number, level)[0], 1) for number in range(3) for level in range(LEVELS)}
    assert {round(float(time), 1) for time in times} == drawn


def test_it_does_not_depend_on_how_clips_are_put_into_batches():
    whole, _ = measured([0, 1, 2], size=3)
    parts, _ = measured([0, 1, 2], size=2)
    again, _ = measured([0, 1, 2], size=2)
    assert parts == again
    assert parts == pytest.approx(whole, rel=1e-5)


def train(world, workdir, heldout, **changes):
    settings = world.settings(stage=1, heldout_every=3, **changes)
    described = json.loads(json.dumps(dataclasses.asdict(settings)))
    return loop.train(
        settings, world.network, world.open_params, world.batches(), workdir, described=described, heldout=heldout
    )


@pytest.mark.slow
def test_a_run_is_bitwise_the_same_with_and_without_it_and_its_curves_can_be_compared(world, tmp_path):
    batch = next(world.batches(seed=1)) | {"weight": np.ones(4, np.float32)}
    parts = [{name: values[first : first + 2] for name, values in batch.items()} for first in (0, 2)]
    states = {name: train(world, tmp_path / name, heldout) for name, heldout in (("with", [batch]), ("without", None))}
    leaves = zip(*(jax.tree.leaves(state) for state in states.values()), strict=True)
    assert all(np.array_equal(a, b) for a, b in leaves)

    records = {}
    accumulated = train(world, tmp_path / "parts", parts, micro_batches=2)
    assert int(accumulated.step) == 8
    for name in ("with", "without", "parts"):
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        records[name] = [line for line in lines if "loss" in line]
        records[name, "heldout"] = [line for line in lines if "heldout/loss" in line]
    kept = ("step", "loss", "grad_norm", "param_norm", "skipped")
    trained = [[{key: line[key] for key in kept} for line in records[name]] for name in ("with", "without")]
    assert trained[0] == trained[1]
    assert not records["without", "heldout"]
    assert [line["step"] for line in records["with", "heldout"]] == [3, 6, 8]
    first, *_, last = records["with", "heldout"]
    assert first["heldout/loss"] != last["heldout/loss"] != last["heldout/ema_loss"]
    for one, other in zip(records["with", "heldout"], records["parts", "heldout"], strict=True):
        assert one == pytest.approx(other, rel=1e-3)
