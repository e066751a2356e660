"""The full-size system has the published sizes, counted without allocating it."""

from actavatar_jax.models import presets


def test_published_parameter_counts():
    assert presets.parameter_counts("wan22_ti2v_5b") == {
        "backbone": 4_999_787_712,
        "adapter": 782_556_160,  # 30 x 23.6 M in the blocks, 74 M in the projection
        "phases": 9 * 4096,
        "vae": 704_688_668,
        "umt5": 5_680_910_336,
        "wav2vec2": 94_371_712,
    }


def test_small_presets_are_small():
    for name in ("tiny", "demo", "small"):
        counts = presets.parameter_counts(name)
        assert counts["backbone"] + counts["adapter"] < 15e6
