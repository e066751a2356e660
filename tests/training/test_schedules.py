import pytest

from actavatar_jax.training.schedules import warmup_stable_decay


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_the_first_step_moves_and_the_last_of_the_warm_up_has_the_whole_rate():
    assert rates(warmup_stable_decay(2.0, 100, warmup=4), (0, 1, 2, 3, 4, 99)) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert (
        rates(warmup_stable_decay(2.0, 100), (0, 1)) == rates(warmup_stable_decay(2.0, 100, warmup=1), (0, 1)) == [2, 2]
    )


@pytest.mark.parametrize(("shape", "middle"), [("linear", (1.5, 1.0, 0.5)), ("cosine", (1.7071068, 1.0, 0.2928932))])
def test_it_holds_until_the_decay_which_ends_at_zero_with_the_run(shape, middle):
    schedule = warmup_stable_decay(2.0, 20, decay=8, shape=shape)
    assert rates(schedule, (0, 11, 12, 14, 16, 18, 20, 99)) == pytest.approx([2, 2, 2, *middle, 0, 0], abs=1e-6)


def test_where_warm_up_and_decay_overlap_both_act():
    assert rates(warmup_stable_decay(1.0, 4, warmup=2, decay=4), range(5)) == [0.5, 0.75, 0.5, 0.25, 0.0]


def test_a_decay_longer_than_the_run_has_begun_before_it():
    assert rates(warmup_stable_decay(1.0, 4, decay=8), range(5)) == [0.5, 0.375, 0.25, 0.125, 0.0]
