"""What is accepted of the sizes in the configs of networks.

Whatever was published lies far within; beyond are sizes of which shapes, tables and loops would have no end.
"""

from actavatar_jax.checks import Limit, each, whole

SIZE = whole(1, 2**17)  # widths, heads, channels
EVEN_SIZE = Limit(f"an even number from 2 to {2**17}", lambda x: x % 2 == 0 and SIZE.holds(x))
VOCABULARY = whole(1, 2**22)
DEPTH = whole(1, 1024)
SIDE = whole(1, 1024)  # of patches, kernels and strides
SIDES = each(SIDE, 16)
EPSILON = Limit("a number above 0 and below 1", lambda x: 0 < x < 1)
FINITE = Limit("a finite number", lambda x: abs(x) < float("inf"))
