"""Rows are what their labels say, and runs come in an order in which each finds what it goes on from."""

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.puppets.ablation.planning import part_of, read_part
from actavatar_jax.puppets.echomimic.rows import ROWS, Run, plan_runs, settings_of
from actavatar_jax.runs.resolve import check_names, in_steps, training_settings
from actavatar_jax.runs.sections import check_values
from configs.echomimic_puppets import get_config


def settings(name, seed=1):
    return settings_of(get_config(), Run(name, seed)).to_dict()


def differing(one, other, above=""):
    """Names of the settings in which they differ."""
    names = []
    for name, value in one.items():
        if isinstance(value, dict):
            names += differing(value, other[name], f"{above}{name}.")
        elif value != other[name]:
            names.append(above + name)
    return names


def test_each_row_of_the_supervised_leaves_out_one_thing():
    whole = settings("supervised")
    assert whole["echomimic"]["phase_dropout"] and whole["echomimic"]["windows"]
    assert all(whole["echomimic"]["tasks"].values())
    assert differing(settings("no-phase-dropout"), whole) == ["echomimic.phase_dropout"]
    assert differing(settings("no-windows"), whole) == ["echomimic.windows"]
    alone = settings("one-task")
    assert set(differing(alone, whole)) == {f"echomimic.tasks.{name}" for name in whole["echomimic"]["tasks"]}
    assert [name for name, share in alone["echomimic"]["tasks"].items() if share] == ["first_frame"]
    assert differing(settings("supervised", seed=2), whole) == ["seed"]


@pytest.mark.parametrize("steps", [10, 300, 1200, 1234])
def test_steps_of_pairs_come_on_top_of_as_many_supervised_ones(steps):
    config = get_config(f"steps={steps}")
    longer, preferred = (int(config[name].steps.split()[0]) for name in ("longer", "preferred"))
    pairs = preferred // config.preferred.preference.every
    assert pairs and preferred - pairs == longer
    assert set(differing(config.preferred.to_dict(), config.longer.to_dict())) == {
        "steps",
        "preference.batch_size",
    }


def test_without_phase_dropout_times_are_as_even_as_with_it():
    law = settings("no-phase-dropout")["time_law"]
    assert (law["shift"], law["noisy_share"]) == (1.0, 0.0)


@pytest.mark.parametrize("arg", ["", "runlocal"])
def test_all_settings_are_those_of_a_training(arg):
    config = get_config(arg)
    for name in ("backbone", *dict.fromkeys(row.stage for row in ROWS.values())):
        check_names(config[name])
        check_values(config[name])
        training_settings(in_steps(config[name], config.clips))


def test_what_a_row_goes_on_from_is_run_before_it_and_by_the_same_process():
    runs = plan_runs(get_config("rows=preferred+one-task,seeds=2"))
    assert [(one.name, one.seed) for one in runs] == [
        (name, seed) for seed in (1, 2) for name in ("supervised", "one-task", "preferred")
    ]
    parts = [part_of(runs, number, 3) for number in (1, 2, 3)]
    assert sorted(map(str, runs)) == sorted(str(one) for part in parts for one in part)
    for part in parts:
        assert {one.trained for one in part} <= set(part)


def test_wrong_input_is_one_sentence():
    with pytest.raises(InputError, match="There is no row dpo; there are: supervised, no-phase-dropout"):
        plan_runs(get_config("rows=one-task+dpo"))
    with pytest.raises(InputError, match="A comparison with 0 seeds has no runs"):
        plan_runs(get_config("seeds=0"))
    for part in ("one/2", "3/2", "0/2", "2"):
        with pytest.raises(InputError, match=f"The part is '{part}'; accepted is NUMBER/PARTS"):
            read_part(part)
