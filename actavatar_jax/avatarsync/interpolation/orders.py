"""Two frames as one sequence, their tokens interleaved, and the four orders in which it is read.

P pairs, H W places of a frame, D channels. A pair of frames is [P, 2, H, W, D].
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def interleave(pairs: Float[Array, "P 2 H W D"]) -> Float[Array, "P L D"]:
    """Places row by row, at each one the first frame's token and then the second one's; L = 2 H W."""
    P, _, H, W, D = pairs.shape
    return pairs.transpose(0, 2, 3, 1, 4).reshape(P, 2 * H * W, D)


def separate(sequence: Float[Array, "P L D"], height: int, width: int) -> Float[Array, "P 2 H W D"]:
    """Inverse of `interleave`."""
    return sequence.reshape(len(sequence), height, width, 2, -1).transpose(0, 3, 1, 2, 4)


def read_in_four_orders(pairs: Float[Array, "P 2 H W D"]) -> Float[Array, "4 P L D"]:
    """By rows, by columns, and both backwards."""
    rows, columns = interleave(pairs), interleave(pairs.swapaxes(2, 3))
    return jnp.stack([rows, columns, rows[:, ::-1], columns[:, ::-1]])


def merge_orders(sequences: Float[Array, "4 P L D"], height: int, width: int, merge: str) -> Float[Array, "P 2 H W D"]:
    """The sum of what was made in the four orders, at the places where they were read (`merge`: see the config)."""
    rows, columns, rows_back, columns_back = sequences
    by_rows, by_columns = rows + rows_back[:, ::-1], columns + columns_back[:, ::-1]
    where = column_slots(height, width, merge)
    return separate(by_rows + by_columns[:, where], height, width)


def column_slots(height: int, width: int, merge: str) -> Int[np.ndarray, " L"]:
    """For every slot of the sequence by rows, the slot of the sequence by columns whose value is put there."""
    slot = np.arange(2 * height * width)
    if merge == "exact":
        place, frame = np.divmod(slot, 2)
        row, column = np.divmod(place, width)
        return 2 * (column * height + row) + frame
    # As if the sequence by columns were (frame, column, row); it is (column, row, frame).
    frame, place = np.divmod(slot, height * width)
    row, column = np.divmod(place, width)
    return frame * height * width + column * height + row
