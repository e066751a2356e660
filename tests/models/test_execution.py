"""How precisely products are computed: read off the programs, because a CPU computes all of them exactly."""

import jax
import jax.numpy as jnp
import pytest
from jax.lax import Precision

from actavatar_jax import functional
from actavatar_jax.models import Execution, Wav2Vec2, Wav2Vec2Config
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE


def products(jaxpr):
    """(dtype of the operands, precision) of every matrix product and convolution, those of inner programs too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            precision = equation.params["precision"]
            yield str(equation.invars[0].aval.dtype), precision[0] if isinstance(precision, tuple) else precision
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from products(inner)


def program(module, config, execution, call, *shapes):
    """The jaxpr of `call(module, *inputs)`, of shapes alone."""
    params = functional.abstract(module, config)
    inputs = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes]
    bound = jax.make_jaxpr(lambda params, *inputs: call(functional.bind(module, config, params, execution), *inputs))
    return bound(params, *inputs).jaxpr


AUDIO = AudioAdapterConfig(feature_layers=2, feature_width=4, hidden=8, tokens=3, token_width=8)
DIT = DiTConfig(
    width=32, heads=2, head_dim=16, ffn=48, layers=2, in_channels=4, out_channels=4, text_dim=12, freq_dim=16,
    audio=AUDIO, frame_time=True, place=True,
)  # fmt: skip
GRID = (3, 4, 4)


def velocity(model, latents, times, text, ids, windows, audio):
    return model(latents, times, model.cache(model.condition(text, ids, windows, audio, GRID)))


def test_what_stays_in_float32_is_computed_in_float32():
    """Time embedding and projection, positions and head: one bfloat16 pass of a TPU would round what they keep."""
    f32 = jnp.float32
    shapes = (((1, *GRID, 4), f32), ((1, 3), f32), ((1, 7, 12), f32), ((1, 7), int), ((1, 8, 2), f32))
    found = list(products(program(ActAvatarDiT, DIT, Execution("bfloat16"), velocity, *shapes, ((1, 9, 2, 4), f32))))
    wide = [precision for dtype, precision in found if dtype == "float32"]
    assert len(wide) == 6  # two of the time embedding, its projection, frame time, place, head
    assert set(wide) == {Precision.HIGHEST}
    assert {dtype for dtype, _ in found} == {"float32", "bfloat16"}


@pytest.mark.parametrize(("asked", "precision"), [("default", Precision.DEFAULT), ("high", Precision.HIGH)])
def test_every_product_of_the_vae_and_of_speech_has_the_precision_asked_for(asked, precision):
    vae = VAEConfig(
        encoder_base=4, decoder_base=4, z_dim=4, latents_mean=(0.0,) * 4, latents_std=(1.0,) * 4, res_blocks=1
    )
    speech = Wav2Vec2Config(
        hidden=16, layers=2, heads=2, ffn=24, conv_dim=(8,) * 7, pos_conv_kernel=8, pos_conv_groups=2
    )
    programs = (
        program(
            WanVAE,
            vae,
            Execution(precision=asked),
            lambda m, x: m.decode_stream(m.encode_stream(x)),
            ((1, 5, 32, 32, 3), jnp.float32),
        ),
        program(Wav2Vec2, speech, Execution(precision=asked), lambda m, x: m(x, frames=5), ((1, 3200), jnp.float32)),
    )
    for one in programs:
        assert {found for _, found in products(one)} == {precision}
