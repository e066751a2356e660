"""Attention backends agree with the plain form, forwards and backwards."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.models import Execution, blocked_attention
from actavatar_jax.models import attention as module
from actavatar_jax.models.attention import SAVED, attention, choose_form
from actavatar_jax.models.avatar.model import rematerialised


def inputs(length: int, keys: int):
    k = jax.random.split(jax.random.key(0), 4)
    shape = (2, length, 3, 16)
    return (
        jax.random.normal(k[0], shape),
        jax.random.normal(k[1], (2, keys, 3, 16)),
        jax.random.normal(k[2], (2, keys, 3, 16)),
        jax.random.normal(k[3], (2, 1, length, keys)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("length", [7, 64, 100])  # below, at and across chunk borders
@pytest.mark.parametrize("biased", [False, True])
def test_chunked_equals_plain(length, biased, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 32)
    q, k, v, bias = inputs(length, 40)
    bias = bias if biased else None

    def loss(backend):
        return lambda q, k, v: jnp.sum(jnp.sin(attention(q, k, v, Execution(attention=backend), bias=bias)))

    for argument in range(3):
        ours = jax.jit(jax.value_and_grad(loss("chunked"), argument))(q, k, v)
        plain = jax.jit(jax.value_and_grad(loss("xla"), argument))(q, k, v)
        np.testing.assert_allclose(ours[0], plain[0], rtol=1e-5)
        np.testing.assert_allclose(ours[1], plain[1], atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [7, 16, 24, 32, 40, 49])  # one block, several, and with a shorter one at the end
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_blocked_equals_plain(keys, dtype, monkeypatch):
    monkeypatch.setattr(blocked_attention, "BLOCK", 16)
    q, k, v, _ = inputs(20, keys)
    k = k.at[:, -1].multiply(30)  # what counts most comes last, so that sums are scaled down

    def loss(form):
        def of(*inputs):
            cast = [x.astype(dtype) for x in inputs]
            return jnp.sum(jnp.sin(attention(*cast, Execution(dtype, attention=form)).astype(jnp.float32)))

        return jax.jit(jax.value_and_grad(of, (0, 1, 2)))

    (ours, gradients), (plain, wanted) = loss("blocked")(q, k, v), loss("xla")(q, k, v)
    tolerance = 2e-5 if dtype == "float32" else 0.02
    np.testing.assert_allclose(ours, plain, rtol=tolerance)
    for gradient, want in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(gradient, want, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize("form", ["chunked", "blocked"])
def test_memory_does_not_grow_with_the_square_of_the_length(form):
    q, k, v, _ = inputs(4096, 4096)

    def temporaries(form):
        step = jax.jit(jax.grad(lambda q, k, v: attention(q, k, v, Execution(attention=form)).sum(), (0, 1, 2)))
        return step.lower(q, k, v).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(form) < temporaries("xla") / 3


def test_unknown_settings_are_refused():
    with pytest.raises(
        InputError, match="attention is 'flash'; accepted is auto, xla, chunked, blocked, cudnn, splash"
    ):
        Execution(attention="flash")
    with pytest.raises(InputError, match="dtype is 'foo'; accepted is float32, bfloat16"):
        Execution("foo")


FULL = (1, 24, 28_160, 28_160)  # scores of one sample of 704 x 1280 pixels, 125 frames


@pytest.mark.parametrize(
    ("form", "execution", "scores", "head_dim", "biased"),
    [
        ("splash", Execution("bfloat16", platform="tpu"), FULL, 128, False),
        ("splash", Execution("float32", platform="tpu"), FULL, 128, False),
        ("chunked", Execution("bfloat16", platform="tpu"), FULL, 128, True),  # fused kernels take no bias
        ("chunked", Execution("bfloat16", platform="tpu"), FULL, 96, False),
        ("cudnn", Execution("bfloat16", platform="cuda"), FULL, 128, False),
        ("chunked", Execution("float32", platform="cuda"), FULL, 128, False),
        ("chunked", Execution("bfloat16", platform="cuda"), FULL, 256, False),
        ("blocked", Execution("float32", platform="cpu"), FULL, 128, False),
        ("chunked", Execution("float32", platform="cpu"), FULL, 128, True),
        ("xla", Execution("float32", platform="cpu"), (1, 8, 256, 256), 128, True),
        ("xla", Execution("bfloat16", platform="cuda", attention="xla"), FULL, 128, False),  # as asked for
        ("chunked", Execution("bfloat16", platform="cuda", attention="cudnn"), FULL, 128, True),
    ],
)
def test_the_form_is_the_best_of_the_platform_unless_asked_for(form, execution, scores, head_dim, biased):
    assert choose_form(execution, scores, head_dim, biased) == form


@pytest.mark.parametrize(
    ("capability", "form"), [("9.0", "cudnn"), ("8.0", "cudnn"), ("7.5", "chunked"), ("gfx942", "chunked")]
)
def test_a_gpu_that_is_here_is_asked_what_it_can(capability, form, monkeypatch):
    """cuDNN's kernel needs Ampere or newer; JAX calls AMD's cards GPUs as well."""
    device = types.SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert choose_form(Execution("bfloat16"), FULL, 128) == form


@jax.custom_vjp
def fused(q, k, v):
    """Like a fused kernel: its backward pass reads the result and statistics that only its own rule knows."""
    return jnp.sinh(q + k) * v


def _forwards(q, k, v):
    out, statistics = fused(q, k, v), jnp.cosh(q + k)
    return out, (v, out, statistics)


def _backwards(kept, gradient):
    v, out, statistics = kept
    return gradient * statistics * v, gradient * statistics * v, gradient * out / v


fused.defvjp(_forwards, _backwards)


@pytest.mark.parametrize(("policy", "calls"), [("none", 1), ("full", 2), ("attention", 1), ("offload", 1)])
def test_a_fused_kernel_runs_again_only_where_the_policy_says_so(policy, calls, monkeypatch):
    monkeypatch.setattr(module, "_cudnn", fused)
    q, k, v = (jnp.full((1, 4, 2, 8), x) for x in (0.1, 0.2, 0.3))
    execution = Execution("bfloat16", platform="cuda")

    def loss(x, keep):
        def body(x, _):
            return jnp.square(attention(q * x, k, v, execution, keep=keep)).sum(), None

        return jax.lax.scan(rematerialised(body, policy), x, None, length=3)[0]

    gradient = jax.grad(functools.partial(loss, keep=True))
    program = str(jax.make_jaxpr(gradient)(1.0))
    assert program.count("= sinh ") == calls
    assert ("pinned_host" in program.lower() or "<host>" in program) == (policy == "offload")
    np.testing.assert_allclose(gradient(1.0), jax.grad(functools.partial(loss, keep=False))(1.0), rtol=1e-5)


@pytest.mark.parametrize("form", ["xla", "chunked", "blocked"])
def test_only_self_attention_is_kept(form):
    """Text attention is cheap to have again and would cost 4.8 GiB a sample at full size."""
    q, k, v, _ = inputs(64, 64)
    for keep in (True, False):
        call = functools.partial(attention, execution=Execution(attention=form), keep=keep)
        gradient = jax.grad(lambda *inputs, call=call: call(*inputs).sum())
        assert (f"name={SAVED}" in str(jax.make_jaxpr(gradient)(q, k, v))) == keep


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN attention needs an NVIDIA GPU")
def test_cudnn_equals_plain():
    q, k, v, _ = (x.astype(jnp.bfloat16) for x in inputs(128, 128))
    got, want = attention(q, k, v, Execution("bfloat16", attention="cudnn")), attention(q, k, v, Execution())
    np.testing.assert_allclose(np.float32(got), np.float32(want), atol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [(128, 128, 128), (256, 384, 128), (512, 1024, 512)])
def test_splash_of_any_blocks_equals_plain(blocks, monkeypatch):
    """As the interpreter of Pallas computes it: 300 queries, 200 keys, neither of whole blocks."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel

    interpreted = functools.partial(kernel.make_splash_mha, interpret=True)
    monkeypatch.setattr(kernel, "make_splash_mha", interpreted)
    q, k, v = (jax.random.normal(jax.random.key(i), (1, length, 1, 128)) for i, length in enumerate((300, 200, 200)))

    def run(execution):
        return jax.value_and_grad(lambda *qkv: (attention(*qkv, execution) ** 2).sum(), (0, 1, 2))(q, k, v)

    got, want = run(Execution(attention="splash", splash_blocks=blocks)), run(Execution(attention="xla"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4, rtol=2e-4), got, want)


@pytest.mark.parametrize("blocks", [(100, 128, 128), (128, 256, 384), (0, 128, 128)])
def test_blocks_that_no_chip_takes(blocks):
    with pytest.raises(InputError, match="three multiples of 128"):
        Execution(splash_blocks=blocks)


@pytest.mark.skipif(jax.default_backend() != "tpu", reason="splash attention needs a TPU")
def test_splash_equals_plain():
    key = jax.random.split(jax.random.key(0), 3)
    q, k, v = (jax.random.normal(k, (1, 600, 2, 128)) for k in key)
    np.testing.assert_allclose(
        attention(q, k, v, Execution(attention="splash")), attention(q, k, v, Execution(attention="xla")), atol=2e-2
    )
