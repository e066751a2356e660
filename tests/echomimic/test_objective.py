"""What a training step draws for EchoMimicV3, what it tells the model, and what a step costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.diffusion import TimeLaw
from actavatar_jax.echomimic import EchoMimicConfig, EchoMimicDiT, EchoMimicObjective, PhaseDropout
from actavatar_jax.errors import InputError
from actavatar_jax.functional import random_key
from actavatar_jax.models import Execution, forward_flops, train_flops
from actavatar_jax.models.flops import products
from actavatar_jax.training.step import noisy_losses, sample_losses
from tests.echomimic.small import CONFIGS, FRAMES, HEIGHT, WIDTH, inputs, random_params

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = random_key(0)
VARIANTS = ("preview", "flash")


def batch(variant, size=2):
    told = inputs(variant, size)
    rng = np.random.default_rng(3)
    audio = told["audio"] if variant == "flash" else told["audio"][:, :, None]
    ids = np.full((size, 512), -1, np.int32)
    ids[:, :9] = [0, 0, 0, 1, 1, 1, 2, 2, 0]
    return {
        "latents": jnp.asarray(rng.standard_normal((size, FRAMES, HEIGHT, WIDTH, 4)), jnp.bfloat16),
        "text": jnp.asarray(told["text"], jnp.bfloat16),
        "phase_ids": jnp.asarray(ids),
        "phase_windows": jnp.tile(jnp.asarray([[0.0, 0.1], [0.2, 0.36]], jnp.float32)[None], (size, 1, 1)),
        "audio": jnp.asarray(audio, jnp.float16),
        "picture": jnp.asarray(told["image"], jnp.bfloat16),
        "known": jnp.asarray(told["known"], jnp.bfloat16),
        "index": jnp.arange(size, dtype=jnp.int32),
    }


def drawn(objective, count=6000):
    return objective.draw({"latents": jnp.zeros((count, 3, 1, 1, 1)), "index": jnp.arange(count)}, KEY)


# ---- what is drawn


def test_the_three_kinds_of_steps_are_as_frequent_and_tell_what_the_paper_says():
    draws = drawn(EchoMimicObjective(dropout=PhaseDropout(late=0.2, early=0.9)))
    times, told = np.asarray(draws.times), np.asarray(draws.strengths)
    assert (times > 0).all() and (times <= 1).all() and draws.clean == 0
    early, late = times > 0.9, times <= 0.2
    kinds = (early, ~early & ~late, late)
    assert [kind.mean() for kind in kinds] == pytest.approx([1 / 3] * 3, abs=0.02)
    assert [times[kind].mean() for kind in kinds] == pytest.approx([0.95, 0.55, 0.1], abs=0.01)  # evenly inside
    assert (told[early] == [1, 0, 0]).all() and (told[~early & ~late] == 1).all()
    subsets, counts = np.unique(told[late], axis=0, return_counts=True)
    assert {tuple(row) for row in subsets.tolist()} == {
        (0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0),
    }  # fmt: skip
    assert counts / counts.sum() == pytest.approx([1 / 6] * 6, abs=0.03)


def test_draws_depend_on_key_and_index_alone():
    objective, some = EchoMimicObjective(), {"latents": jnp.zeros((3, 3, 1, 1, 1))}
    one = objective.draw(some | {"index": jnp.asarray([5, 6, 7])}, KEY)
    other = objective.draw(some | {"index": jnp.asarray([7, 5, 9])}, KEY)
    np.testing.assert_array_equal(one.times[jnp.asarray([2, 0])], other.times[:2])
    np.testing.assert_array_equal(one.strengths[jnp.asarray([2, 0])], other.strengths[:2])
    assert (jax.random.key_data(one.noise)[2] == jax.random.key_data(other.noise)[0]).all()


def test_without_dropout_times_are_those_of_the_law_and_all_is_told():
    draws = drawn(EchoMimicObjective(TimeLaw(shift=5.0), dropout=None))
    assert draws.strengths is None
    assert float(np.median(draws.times)) == pytest.approx(5 / 6, abs=0.01)


@pytest.mark.parametrize("wrong", [{"late": 0.0}, {"early": 1.0}, {"late": 0.7, "early": 0.6}, {"late": float("nan")}])
def test_the_kinds_lie_in_order(wrong):
    with pytest.raises(InputError, match=r"setting echomimic\.(late|early) is .*late below early"):
        PhaseDropout(**wrong)


# ---- what the model is told


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_is_that_of_noisy_latents_in_every_frame(variant):
    """Against the model called by hand: every latent frame is noisy, at one time, and is scored."""
    params, given = random_params(variant), batch(variant)
    objective = EchoMimicObjective(dropout=PhaseDropout(0.1, 0.2), windows=False)

    @jax.jit
    def losses(params):
        return sample_losses(functional.bind(EchoMimicDiT, CONFIGS[variant], params), given, objective, KEY)

    @jax.jit
    def by_hand(params):
        model, draws = functional.bind(EchoMimicDiT, CONFIGS[variant], params), objective.draw(given, KEY)
        data, t = given["latents"].astype(jnp.float32), draws.times[:, None, None, None, None]
        noise = jax.vmap(lambda key: jax.random.normal(key, data.shape[1:]))(draws.noise)
        told = {name: given[name].astype(jnp.float32) for name in ("text", "audio", "known")}
        told["audio"] = told["audio"] if variant == "flash" else told["audio"][:, :, 0]
        conditions = model.condition(**told, image=given["picture"].astype(jnp.float32), strengths=draws.strengths)
        times = jnp.tile(1000 * draws.times[:, None], (1, FRAMES))
        return jnp.square(model((1 - t) * data + t * noise, times, conditions) - (noise - data)).mean((1, 2, 3, 4))

    got, times = losses(params)
    np.testing.assert_allclose(got, by_hand(params), rtol=1e-5)
    assert len(set(times.tolist())) == 2


def test_what_is_not_told_has_no_gradient_and_actions_are_heeded_in_their_windows():
    variant = "preview"
    params, given = random_params(variant), batch(variant)
    objective = EchoMimicObjective()
    strengths = jnp.asarray([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    draws = objective.draw(given, KEY)._replace(strengths=strengths)

    @jax.jit
    def gradients(told):
        def loss(told):
            model = functional.bind(EchoMimicDiT, CONFIGS[variant], params)
            conditions = objective.condition(model, given | told, draws)
            return noisy_losses(model, given["latents"].astype(jnp.float32), conditions, draws).sum()

        return jax.grad(loss)(told)

    found = gradients({name: given[name] for name in ("text", "picture", "audio", "phase_windows")})
    sizes = {name: np.abs(np.asarray(leaf, np.float32)).reshape(2, -1).max(axis=1) > 0 for name, leaf in found.items()}
    assert {name: tuple(size) for name, size in sizes.items()} == {
        "text": (True, False),
        "picture": (False, True),
        "audio": (False, True),
        "phase_windows": (True, False),
    }
    plain = dataclasses.replace(objective, windows=False)
    model = functional.bind(EchoMimicDiT, CONFIGS[variant], params)
    assert plain.condition(model, given, None).window_penalty is None


# ---- what it costs


@pytest.mark.parametrize("variant", VARIANTS)
def test_flops_are_those_of_the_program(variant):
    config, grid = EchoMimicConfig(variant=variant, layers=1), (5, 32, 32)
    heard = (2 * 17, 768) if variant == "preview" else (17, 12, 768)
    shapes = {"text": (512, 4096), "image": (257, 1280), "audio": heard, "known": (*grid, 20)}
    given = {name: jax.ShapeDtypeStruct((1, *shape), jnp.float32) for name, shape in shapes.items()}
    latents, times = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, *grid, 16), (1, 5)))

    def forward(params, latents, times, given):
        model = functional.bind(EchoMimicDiT, config, params, Execution(attention="xla"))  # a loop's body counts once
        return model(latents, times, model.condition(**given))

    lowered = jax.jit(forward).lower(functional.abstract(EchoMimicDiT, config), latents, times, given)
    assert forward_flops(config, grid) / lowered.cost_analysis()["flops"] == pytest.approx(1, abs=0.01)
    assert train_flops(config, grid) == 3 * forward_flops(config, grid)
    assert products(config, grid).adapter > 0
