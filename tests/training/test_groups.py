import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.training.groups import merge, multipliers, partition

PARAMS = {"audio": {"out": {"kernel": np.ones(2), "bias": np.ones(1)}}, "head": {"kernel": np.ones(3)}}


def test_first_match_decides():
    rules = ParameterGroups([("audio/out/bias", None), ("audio/.*", 2.0), (".*", 0.5)])
    assert multipliers(PARAMS, rules) == {"audio/out/kernel": 2.0, "audio/out/bias": None, "head/kernel": 0.5}


def test_partition_and_merge_are_inverse():
    trained, frozen = partition(PARAMS, ParameterGroups([("audio/.*", 1.0), (".*", None)]))
    assert trained == {"audio": PARAMS["audio"]}
    assert frozen == {"head": PARAMS["head"]}
    assert merge(trained, frozen) == PARAMS


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([("audio/.*", 1.0)], "no rule covers head/kernel"),
        ([("audio", 1.0), (".*", 1.0)], '"audio" decides about no parameter'),  # a rule is about whole names
        ([(".*", 1.0), ("head/.*", None)], '"head/.*" decides about no parameter'),
        ([("head/.*", 0.0), (".*", 1.0)], "must be positive"),
        ([("head/.*", "fast"), (".*", 1.0)], "must be positive"),
        ([(".*", None)], "freeze every parameter"),
    ],
)
def test_rules_that_do_not_fit_are_refused(rules, message):
    with pytest.raises(InputError, match=message.replace(".*", r"\.\*")):
        partition(PARAMS, ParameterGroups(rules))


def test_all_problems_are_told_at_once():
    with pytest.raises(InputError) as error:
        multipliers(PARAMS, ParameterGroups([("audio/out/kernel", -1.0), ("nothing", 1.0)]))
    for part in ("audio/out/bias", "head/kernel", '"nothing"', "-1.0"):
        assert part in str(error.value)
