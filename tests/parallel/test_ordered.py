import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.parallel import ParameterGroups

NAMES = ("blocks/norm/scale", "blocks/norm/bias", "head/kernel")


def test_the_first_regex_that_is_the_whole_name_decides():
    groups = ParameterGroups([("norm/scale", 0), (".*/bias", 1), ("blocks/.*", 2)])
    assert groups.values(NAMES) == {"blocks/norm/scale": 2, "blocks/norm/bias": 1}
    assert groups.uncovered(NAMES) == ["head/kernel"]
    assert groups.idle(NAMES) == ["norm/scale"]
    assert groups.idle(NAMES[:1]) == ["norm/scale", ".*/bias"]


def test_rules_from_a_file_are_those_of_the_code():
    assert ParameterGroups([["a", 1.0], [".*", None]]) == ParameterGroups((("a", 1.0), (".*", None)))


@pytest.mark.parametrize("rules", [[("(", 1.0)], [("a",)], ["a", 1.0], [(1, 1.0)], ".*"])
def test_what_is_no_rule_is_refused(rules):
    with pytest.raises(InputError, match="is no rule over parameter names"):
        ParameterGroups(rules)
