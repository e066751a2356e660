"""Collectives of a compiled program: how often each runs in one execution, and the bytes that each device sends.

XLA's text has every computation once; what a loop's body holds runs as often as the loop turns. A turn count is the
`known_trip_count` that XLA notes, or else the number that the loop's counter is compared with (scans count from zero).
Of a conditional all branches are counted. Asynchronous pairs are counted where they start.

A TPU program is that of one slice; what it exchanges with others it sends through the hosts ("megascale").

Bytes are those of the algorithms that send least, with n devices in a group: (n-1)/n of the whole for all-gather,
reduce-scatter and all-to-all, twice that for all-reduce, all of it for a permutation.
"""

import logging
import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

KINDS = (
    "all-gather", "all-reduce", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute",
    "collective-broadcast",
)  # fmt: skip
MEGASCALE = {
    "ALL_GATHER": "all-gather", "ALL_REDUCE": "all-reduce", "REDUCE_SCATTER": "reduce-scatter",
    "ALL_TO_ALL": "all-to-all", "ONE_TO_ONE": "collective-permute",
}  # fmt: skip
# Other element types begin with their number of bits: f32, bf16, u8, s4, f8e4m3fn.
BYTES = {"pred": 1.0, "token": 0.0, "c64": 8.0, "c128": 16.0}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collective:
    """All collectives of a kind in one execution of a program."""

    kind: str
    across: bool  # some of their devices are in different slices
    count: int
    bytes: float  # that each device sends


@dataclass(frozen=True)
class _Instruction:
    type: str  # of the result
    opcode: str
    rest: str  # operands and attributes
    root: bool


Key = tuple[str, bool]
Totals = dict[Key, np.ndarray]  # (count, bytes) by kind and reach


def collectives(text: str, devices: int, slices: int = 1) -> list[Collective]:
    """The collectives of a program's text (`compiled.as_text()`) for these devices, equal slices in order."""
    program = _Program(text, devices, slices)
    found = program.totals(program.entry)
    return [Collective(*key, int(count), float(sent)) for key, (count, sent) in sorted(found.items())]


class _Program:
    """Computations by name, and the collectives below each of them."""

    def __init__(self, text: str, devices: int, slices: int):
        self.devices, self.slices = devices, slices
        self.computations, self.entry = _read(text)
        self._known: dict[str, Totals] = {}

    def totals(self, name: str) -> Totals:
        if name not in self._known:
            found: Totals = defaultdict(lambda: np.zeros(2))
            for instruction in self.computations[name]:
                kind = instruction.opcode.removesuffix("-start")
                if kind in KINDS:
                    # A fusion of this name is an all-reduce of which each device keeps a part (TPU).
                    if kind == "all-reduce" and name.startswith("all-reduce-scatter"):
                        kind = "reduce-scatter"
                    self._add(found, kind, instruction)
                elif kind == "send" and (transfer := re.search(r'megascale_transfer_type="(\w+)"', instruction.rest)):
                    kind = MEGASCALE[transfer[1]]
                    found[kind, True] += (1, bytes_sent(kind, shown_bytes(_elements(instruction.type)[0]), self.slices))
                for called, times in self._called(instruction).items():
                    for key, value in self.totals(called).items():
                        found[key] += times * value
            self._known[name] = dict(found)
        return self._known[name]

    def _add(self, found: Totals, kind: str, instruction: _Instruction) -> None:
        if kind == "collective-permute":
            pairs = re.search(r"source_target_pairs=\{(.*?)\}(?:,|$| )", instruction.rest)[1]
            groups = np.array(re.findall(r"\{(\d+),(\d+)\}", pairs), int).reshape(-1, 2)
        else:
            groups = device_groups(instruction.rest, self.devices)
        size = result_bytes(instruction)
        if instruction.opcode == "reduce-scatter":
            size *= groups.shape[1]  # its result is a part
        home = groups // (self.devices // self.slices)
        found[kind, bool((home != home[:, :1]).any())] += (1, bytes_sent(kind, size, groups.shape[1]))

    def _called(self, instruction: _Instruction) -> Counter:
        """Computations that an instruction runs, with how often."""
        if instruction.opcode.endswith(("-done", "-update")):
            return Counter()
        if instruction.opcode == "while":
            body = re.search(r"body=%?([\w.-]+)", instruction.rest)[1]
            return Counter({body: self._turns(instruction)})
        attributes = instruction.rest.split("metadata={")[0]
        names = re.findall(r"(?:calls|to_apply|\w+_computation)=%?([\w.-]+)", attributes)
        for several in re.findall(r"(?:calls|\w+_computations)=\{(.*?)\}", attributes):
            names += re.findall(r"%?([\w.-]+)", several)
        return Counter(name for name in names if name in self.computations)

    def _turns(self, loop: _Instruction) -> int:
        if known := re.search(r'known_trip_count"?:\{"?n"?:"?(\d+)', loop.rest):
            return int(known[1])
        condition = self.computations[re.search(r"condition=%?([\w.-]+)", loop.rest)[1]]
        root = next(instruction for instruction in condition if instruction.root)
        limits = [re.match(r"(-?\d+)\)", i.rest) for i in condition if i.opcode == "constant"]
        limits = [int(limit[1]) for limit in limits if limit]
        if len(limits) == 1 and (root.opcode == "fusion" or "direction=LT" in root.rest):
            return max(limits[0], 0)
        log.info("A loop's number of turns cannot be read; its collectives are counted once.")
        return 1


def bytes_sent(kind: str, size: float, n: int) -> float:
    """Bytes that one of n devices sends; `size` is the whole: what is gathered, reduced or exchanged."""
    if kind in ("collective-permute", "collective-broadcast"):
        return size
    return size * (n - 1) / n * (2 if kind == "all-reduce" else 1)


def result_bytes(instruction: _Instruction) -> float:
    """Bytes of what a collective gives; of a start that shows its operands as well, without them."""
    if instruction.opcode.endswith("-start") and instruction.opcode != "all-reduce-start":
        return shown_bytes(_elements(instruction.type)[1])
    return shown_bytes(instruction.type)


def shown_bytes(type_text: str) -> float:
    """Bytes of all arrays in a type."""
    sizes = re.findall(r"([a-z]\w*)\[([\d,]*)\]", type_text)
    return sum((_item_bytes(dtype) * math.prod(int(d) for d in dims.split(",") if d) for dtype, dims in sizes), 0.0)


def device_groups(attributes: str, devices: int) -> Int[np.ndarray, "groups n"]:
    """Who takes part together, in any form that XLA writes."""
    if listed := re.search(r"replica_groups=\{(\{.*?\})?\}", attributes):
        groups = [[int(i) for i in group.split(",")] for group in re.findall(r"\{([\d,]+)\}", listed[1] or "")]
        return np.array(groups or [range(devices)])
    if counted := re.search(r"replica_groups=(\[\d+,\d+\])<=(\[[\d,]+\](?:T\([\d,]+\))?)", attributes):
        return _iota(counted[2]).reshape(_numbers(counted[1]))
    if meshed := re.search(r"replica_groups=mesh\[(.*?)\](?:, device_ids=\((.*?\)?)\))? \{(.*?)\}", attributes):
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", meshed[1])}
        order = _iota(meshed[2]) if meshed[2] else np.arange(math.prod(sizes.values()))
        return _along(order, sizes, re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", meshed[3]))
    raise ValueError(f"No groups of devices in: {attributes[:300]}")


def _along(order: np.ndarray, sizes: dict[str, int], axes: list[tuple[str, str, str]]) -> np.ndarray:
    """Groups along mesh axes, or along parts of them: (name, size before the part, size of the part)."""
    parts = {name: (int(before or 1), int(size or sizes[name])) for name, before, size in axes}
    shape, grouped = [], []
    for name, size in sizes.items():
        before, part = parts.get(name, (size, 1))
        grouped.append(len(shape) + 1)
        shape += [before, part, size // before // part]
    others = [i for i in range(len(shape)) if i not in grouped]
    return order.reshape(shape).transpose(*others, *grouped).reshape(-1, math.prod(shape[i] for i in grouped))


def _iota(text: str) -> np.ndarray:
    """`[2,4]T(1,0)`: 0, 1, 2, ... in this shape, transposed, flat."""
    shape, _, axes = text.partition("T")
    numbers = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
    return (numbers.transpose(_numbers(axes)) if axes else numbers).reshape(-1)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _item_bytes(dtype: str) -> float:
    bits = re.match(r"[a-z]+(\d+)", dtype)
    return BYTES[dtype] if dtype in BYTES else int(bits[1]) / 8


# ---- reading


def _read(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    """Computations by name, and the name of the entry."""
    computations: dict[str, list[_Instruction]] = {}
    entry, current = "", []
    for line in text.splitlines():
        if header := re.match(r"(ENTRY )?%?([\w.-]+) \(.*\{$", line):
            current = computations[header[2]] = []
            entry = header[2] if header[1] else entry
        elif (found := re.match(r"\s+(ROOT )?%?[\w.-]+ = ", line)) and (parts := _split(line[found.end() :])):
            current.append(_Instruction(*parts, root=bool(found[1])))
    return computations, entry


def _split(definition: str) -> tuple[str, str, str] | None:
    """(type, opcode, operands and attributes) of `f32[8]{0} negate(%x), ...`."""
    end = _closing(definition) + 1 if definition.startswith("(") else definition.find(" ")
    found = re.match(r" ?([a-z][\w-]*)\(", definition[end:])
    return (definition[:end], found[1], definition[end + found.end() :]) if found else None


def _closing(text: str) -> int:
    """Where the bracket that opens a text closes."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i
    raise ValueError(f"Unclosed bracket: {text[:100]}")


def _elements(tuple_type: str) -> list[str]:
    """The element types of a tuple type."""
    elements, depth, start = [], 0, 1
    for i, character in enumerate(tuple_type):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 or (depth == 1 and character == ","):
            elements.append(tuple_type[start:i])
            start = i + 1
    return elements
