"""Tensors that do not fit a model, told in one sentence: how many, and the first of each kind by name."""

import collections
import itertools
import re
from collections.abc import Collection, Mapping, Sequence

from actavatar_jax.errors import InputError
from actavatar_jax.storage import first_of, shown

Shape = tuple[int, ...]


def refuse_misfits(
    model: str,
    missing: Sequence[str],
    unknown: Sequence[str],
    shapes: Mapping[str, tuple[Shape, Shape]],
    wholes: Sequence[str],
) -> None:
    """InputError where there are any; `shapes` are those found and expected, `wholes` are tensors of whole numbers."""
    problems = []
    if missing:
        problems.append(f"missing {first_of(missing)}")
    if unknown:
        problems.append(f"unknown {first_of(unknown)}")
    if shapes:
        name, (found, expected) = next(iter(shapes.items()))
        more = f" and {len(shapes) - 1:,} more of another shape" if len(shapes) > 1 else ""
        problems.append(f"{first_of([name])} has shape {shown(list(found))}, expected {list(expected)}{more}")
    if wholes:
        problems.append(f"whole numbers in {first_of(wholes)}")
    if problems:
        count = len(missing) + len(unknown) + len(shapes) + len(wholes)
        prefix = foreign_prefix({*missing}, unknown)
        hint = f" (in the file some begin with {shown(prefix)})" if prefix else ""
        raise InputError(f"{count} tensors do not fit {model}: {'; '.join(problems)}{hint}.")


def foreign_prefix(known: Collection[str], names: Collection[str]) -> str:
    """What most of some names have before `known` ones, such as `model.`; "" where none is like one."""
    found: collections.Counter[str] = collections.Counter()
    for name in names:
        for dot in itertools.islice(re.finditer(r"\.", name), 8):
            if name[dot.end() :] in known:
                found[name[: dot.end()]] += 1
                break
    return found.most_common(1)[0][0] if found else ""
