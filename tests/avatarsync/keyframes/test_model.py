"""KeyframeTransformer: the folded path is the masked sequence, and nothing leaks."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.avatarsync.keyframes import PRESETS, VISIBLE, KeyframeConfig, KeyframeTransformer, seen_units
from actavatar_jax.avatarsync.keyframes.mask import FRAME, REFERENCE, START, UNIT
from actavatar_jax.avatarsync.keyframes.rope import rope_table
from actavatar_jax.errors import InputError
from actavatar_jax.models.avatar.rope import apply_rope
from tests.avatarsync.drawn import random_params
from tests.avatarsync.keyframes import dense

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = KeyframeConfig(width=16, heads=2, layers=2, ffn=24, vocabulary=11, tokens=(2, 2), units=9)
C, T, N = 2, 3, 4
UNITS = jnp.asarray([[4, 5, 6], [7, 4, 8]])
REFERENCE_TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 11, (C, N)))
TOKENS = jnp.asarray(np.random.default_rng(1).integers(0, 11, (C, T, N)))


@functools.cache
def params():
    return random_params(KeyframeTransformer, CONFIG)


@functools.cache
def folded(visible):
    @functools.partial(jax.jit, compiler_options=functional.RUN_ONCE)
    def run(params, reference, units, tokens):
        model = functional.bind(KeyframeTransformer, CONFIG, params)
        return model(reference, seen_units(units, visible), tokens)

    return run


masked = jax.jit(functools.partial(dense.logits, CONFIG), compiler_options=functional.RUN_ONCE)


@pytest.mark.parametrize("visible", VISIBLE)
def test_folded_frames_are_the_masked_sequence(visible):
    want, _ = masked(params(), REFERENCE_TOKENS, UNITS, TOKENS, jnp.asarray(dense.mask_of(T, N, visible)))
    got = folded(visible)(params(), REFERENCE_TOKENS, UNITS, TOKENS)
    assert got.shape == (C, T, N, 11)
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


SEEN_BY = {  # frames that see the unit of frame 1
    "one_to_one": [1],
    "limited": [1, 2],
    "accumulative": [1, 2],
    "full": [0, 1, 2],
}


@pytest.mark.parametrize("visible", VISIBLE)
def test_a_unit_is_seen_by_whom_it_should_be_and_by_no_other(visible):
    before = folded(visible)(params(), REFERENCE_TOKENS, UNITS, TOKENS)
    after = folded(visible)(params(), REFERENCE_TOKENS, UNITS.at[0, 1].set(3), TOKENS)
    changed = np.abs(before - after).max((2, 3))
    assert np.flatnonzero(changed[0]).tolist() == SEEN_BY[visible] and not changed[1].any()


def test_tokens_are_seen_by_later_ones_of_their_frame_alone_and_the_reference_by_all_of_its_clip():
    before = folded("one_to_one")(params(), REFERENCE_TOKENS, UNITS, TOKENS)
    for slot in range(N):
        changed = TOKENS.at[1, 2, slot].set((TOKENS[1, 2, slot] + 1) % 11)
        difference = np.abs(before - folded("one_to_one")(params(), REFERENCE_TOKENS, UNITS, changed)).max(3)
        assert np.argwhere(difference).tolist() == [[1, 2, later] for later in range(slot + 1, N)]
    other = REFERENCE_TOKENS.at[0, N - 1].set((REFERENCE_TOKENS[0, N - 1] + 1) % 11)
    difference = np.abs(before - folded("one_to_one")(params(), other, UNITS, TOKENS)).max(3)
    assert difference[0].all() and not difference[1].any()


def test_no_unit_where_there_is_none():
    """A padded unit has no part in the frame, whatever id would stand there."""
    seen = seen_units(jnp.asarray([[4, 0, 6]]), "accumulative")
    assert seen.there[0].tolist() == [[True, False, False], [True, False, False], [True, False, True]]


def test_the_table_of_units_is_what_the_sequence_has():
    _, keys = masked(params(), REFERENCE_TOKENS, UNITS, TOKENS, jnp.asarray(dense.mask_of(T, N, "full")))
    table = functional.bind(KeyframeTransformer, CONFIG, params()).unit_table()
    assert table.keys.shape == (2, 9, 2, 8)
    np.testing.assert_allclose(table.keys[:, UNITS], keys, atol=1e-5)


@pytest.mark.parametrize("visible", VISIBLE)
def test_the_mask_by_its_definition(visible):
    mask = dense.mask_of(2, 2, visible)
    names = [(UNIT, 0, 0), (UNIT, 1, 0), (START, 0, 0), (REFERENCE, 0, 0), (REFERENCE, 0, 1)]
    names += [(FRAME, f, n) for f, n in itertools.product(range(2), range(2))]
    units = {"one_to_one": {(0, 0), (1, 1)}, "full": set(itertools.product(range(2), repeat=2))}.get(
        visible, {(0, 0), (1, 1), (1, 0)}
    )
    for (q, query), (k, key) in itertools.product(enumerate(names), enumerate(names)):
        expected = {
            UNIT: query == key,
            START: key[0] == START,
            REFERENCE: key[0] == START or (key[0] == REFERENCE and key[2] <= query[2]),
            FRAME: key[0] in (START, REFERENCE)
            or (key[0] == FRAME and key[1] == query[1] and key[2] <= query[2])
            or (key[0] == UNIT and (query[1], key[1]) in units),
        }[query[0]]
        assert mask[q, k] == expected, (query, key)


# ---- rotary places


def test_half_of_the_pairs_turn_by_the_row_and_half_by_the_column():
    table = rope_table(3, 2, 8)
    assert table.shape == (2, 6, 4)
    angle = np.arctan2(table[1], table[0])
    np.testing.assert_allclose(angle[5], [2, 2 * 0.01, 1, 0.01], atol=1e-6)  # row 2, column 1
    x = np.random.default_rng(0).standard_normal((1, 6, 1, 8)).astype(np.float32)
    turned = np.asarray(apply_rope(jnp.asarray(x), jnp.asarray(table)))
    pairs = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)[None, :, None]
    np.testing.assert_allclose(turned[..., ::2] + 1j * turned[..., 1::2], pairs, atol=1e-6)


def test_keys_of_units_are_not_turned_and_zero_if_so_asked():
    table = functional.bind(KeyframeTransformer, CONFIG, params()).unit_table()
    assert np.abs(table.keys).min() > 0
    zero = dataclasses.replace(CONFIG, zero_condition=True)
    other = functional.bind(KeyframeTransformer, zero, params()).unit_table()
    assert not np.asarray(other.keys).any()
    np.testing.assert_allclose(other.values, table.values, atol=1e-6)


# ---- sizes


def test_sizes_of_presets():
    counts = {name: functional.count(functional.abstract(KeyframeTransformer, PRESETS[name])) for name in PRESETS}
    assert counts == {"puppet_cpu": 1_993_152, "puppet_gpu": 14_606_208, "base": 110_368_512, "large": 342_217_728}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 20}, "width is 20; accepted is a multiple of 4 for each of its 2 heads"),
        ({"visible": "some"}, "visible is 'some'; accepted is one_to_one or limited"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **options)
