"""Name tables run in both directions and report everything that is wrong at once."""

import ml_dtypes
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.weights import names
from actavatar_jax.weights.names import Entry

TABLE = (
    *names.linear("in", "first"),
    *names.linear("block.0.out", "blocks/out", 0, bias=False),
    *names.linear("block.1.out", "blocks/out", 1, bias=False),
    Entry("block.0.gain", "blocks/gain", names.reshape((1,), ()), 0),
    Entry("block.1.gain", "blocks/gain", names.reshape((1,), ()), 1),
)


def values(*shape, dtype=np.float32):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


def ours():
    return {
        "first": {"kernel": values(3, 4), "bias": values(4)},
        "blocks": {"out": {"kernel": values(2, 4, 5)}, "gain": values(2)},
    }


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        (names.LINEAR, (2, 3)),
        (names.CONV1D, (2, 3, 4)),
        (names.CONV2D, (2, 3, 4, 5)),
        (names.CONV3D, (2, 3, 4, 5, 6)),
        (names.chain(names.reshape((2, 3, 1, 2, 2), (2, 12)), names.LINEAR), (2, 3, 1, 2, 2)),
    ],
)
def test_transforms_invert_and_foretell_shapes(transform, shape):
    theirs = values(*shape)
    converted = transform.to_ours(theirs)
    np.testing.assert_array_equal(transform.to_theirs(converted), theirs)
    assert names.their_shape(Entry("a", "b", transform), converted.shape) == shape
    assert names.their_shape(Entry("a", "b", transform, 1), (7, *converted.shape)) == shape


def test_export_then_import_is_the_identity():
    theirs = dict(names.export_params(TABLE, ours()))
    np.testing.assert_array_equal(theirs["block.1.out.weight"], ours()["blocks"]["out"]["kernel"][1].T)
    assert theirs["block.0.gain"].shape == (1,)
    again = names.import_params(TABLE, ours(), names.Arrays(theirs))
    for name, value in names.functional.flatten(ours()).items():
        np.testing.assert_array_equal(names.functional.flatten(again)[name], value)


def test_every_problem_is_in_one_error():
    theirs = dict(names.export_params(TABLE, ours()))
    theirs["stray"] = theirs.pop("in.bias")
    theirs["block.1.out.weight"] = values(5, 5)
    del theirs["block.0.gain"]
    with pytest.raises(InputError) as error:
        names.import_params(TABLE, ours(), names.Arrays(theirs), model="the toy")
    assert str(error.value) == (
        "4 tensors do not fit the toy: missing in.bias and 1 more; unknown stray; "
        "block.1.out.weight has shape [5, 5], expected [5, 4]."
    )


def test_weights_are_no_whole_numbers():
    theirs = dict(names.export_params(TABLE, ours()))
    theirs["in.bias"] = np.arange(4)
    with pytest.raises(InputError, match=r"1 tensors do not fit the toy: whole numbers in in\.bias\.$"):
        names.check_source(TABLE, ours(), names.Arrays(theirs), model="the toy")


def test_a_thousand_misfits_are_one_short_sentence():
    """As from a program that puts a prefix before all names; the sentence says so."""
    table = tuple(Entry(f"blocks.{i}.{'attn.' * 20}weight", f"a/{i}") for i in range(1000))
    source = names.Arrays({f"model.diffusion_model.{e.theirs}": values(2) for e in table[1:]} | {"b": values(2)})
    with pytest.raises(InputError) as error:
        names.check_source(table, {"a": {str(i): values(2) for i in range(1000)}}, source, model="the toy")
    text = str(error.value)
    assert len(text) <= 400 and "\n" not in text
    assert text.startswith("2000 tensors do not fit the toy: missing blocks.0.attn.") and " and 999 more; " in text
    assert text.endswith("(in the file some begin with 'model.diffusion_model.').")


def test_optional_leaves_take_initial_values_only_when_wholly_absent():
    theirs = dict(names.export_params(TABLE, ours()))
    del theirs["block.0.gain"], theirs["block.1.gain"]
    initial = {"blocks": {"gain": np.full(2, 7, np.float32)}}
    settings = {"initial": initial, "may_miss": "blocks/gain", "dtype": ml_dtypes.bfloat16}
    got = names.import_params(TABLE, ours(), names.Arrays(theirs), **settings)["blocks"]["gain"]
    assert got.tolist() == [7, 7] and got.dtype == ml_dtypes.bfloat16
    theirs["block.1.gain"] = values(1)
    with pytest.raises(InputError, match=r"1 tensors .* missing block\.0\.gain"):
        names.import_params(TABLE, ours(), names.Arrays(theirs), **settings)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_layers_of_different_precision_are_widened(dtype):
    theirs = dict(names.export_params(TABLE, ours()))
    theirs["block.0.out.weight"] = theirs["block.0.out.weight"].astype(dtype)
    kernel = names.import_params(TABLE, ours(), names.Arrays(theirs))["blocks"]["out"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel[1], ours()["blocks"]["out"]["kernel"][1])


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (TABLE[1:], "no entry for first/kernel"),
        ((*TABLE, Entry("x", "y")), "entry for unknown y"),
        (TABLE[:-1], "layers \\[0\\] of blocks/gain"),
        ((*TABLE[:-1], Entry("block.0.gain", "blocks/gain", layer=1)), "stands twice"),
    ],
)
def test_a_table_that_does_not_cover_the_model_is_refused(table, problem):
    for run in (lambda: names.check_coverage(table, ours()), lambda: list(names.export_params(table, ours()))):
        with pytest.raises(ValueError, match=problem):
            run()


def test_parameters_of_another_shape_are_refused():
    other = ours()
    other["first"]["bias"] = values(5)
    with pytest.raises(ValueError, match=r"first/bias \(5,\), expected \(4,\)"):
        names.check_shapes(other, ours())
