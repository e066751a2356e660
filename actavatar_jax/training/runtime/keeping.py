"""Which checkpoints of a run stay, so that one of them is sound whatever comes.

A checkpoint is taken after a step whose gradient was usable. Of the weights that the step left behind this is no proof:
an update may wreck them, which shows at the steps that follow. So a checkpoint has proven sound when the run has come
`PROVEN` steps further and had a usable gradient there, and until another one has, the newest that did stays. The oldest
on the disk is therefore always the one to trust, if only because there is no other.
"""

from collections.abc import Sequence

PROVEN = 20  # steps after a checkpoint


def newest_sound(steps: Sequence[int], reached: int) -> int:
    """The checkpoint to trust, of those after so many `steps` (ascending, at least one).

    `reached` is the last step that had a usable gradient.
    """
    return max((step for step in steps if step <= reached - PROVEN), default=steps[0])


def kept(steps: Sequence[int]) -> set[int]:
    """Those that stay when the newest of them has been written: the newest two, in case one of them is damaged, the
    newest that has proven sound, and the next, which is to take its place."""
    sound = newest_sound(steps, steps[-1])
    return {*[step for step in steps if step >= sound][:2], *steps[-2:]}
