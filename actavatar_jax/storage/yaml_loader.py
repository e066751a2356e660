"""PyYAML's safe loader, with limits: aliases cannot multiply, keys stand once, dates stay the texts that they are.

What is JSON means the same here, but for a key of more than 1,024 letters, which YAML does not have.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from actavatar_jax.errors import InputError
from actavatar_jax.storage.limits import DEEPEST, too_deep
from actavatar_jax.storage.sentences import cut, shown

ODD_VALUES = (ValueError, LookupError, ArithmeticError, TypeError, AttributeError)  # of a constructor, for its text
MOST_NODES = 100_000  # of a document with its aliases written out


def load_yaml(text: str, source: str) -> Any:
    """What the first document of a YAML text holds; InputError, which names the `source`, where it is none."""
    try:
        return _Loader(text).get_single_data()
    except _TooDeep as error:
        raise too_deep(source) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = error.problem if not error.context else f"{error.problem} ({error.context})"
        raise InputError(f"{source} is not valid YAML: {cut(problem, 200)}{place}.") from error
    except (yaml.YAMLError, *ODD_VALUES) as error:  # a letter that YAML forbids, a number of 5,000 digits, `!!bool x`
        raise InputError(f"{source} is not valid YAML: {cut(str(error), 200)}.") from error


class _TooDeep(Exception):  # noqa: N818  (it becomes an InputError, which names the source)
    """More levels than a document may have."""


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str):
        super().__init__(text)
        self.depth = 0
        self.sizes: dict[int, int] = {}  # nodes below each node, by id

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        """A node, and how many it stands for with its aliases written out."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise _TooDeep
        node = super().compose_node(parent, index)
        self.depth -= 1
        if id(node) not in self.sizes:
            self.sizes[id(node)] = 1 + sum(self.sizes[id(part)] for part in _parts(node))
        if self.sizes[id(node)] > MOST_NODES:
            raise _fault(f"its aliases (*name) stand for more than {MOST_NODES:,} values", node)
        return node

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        """A text; JSON writes a letter beyond U+FFFF as two escapes, which PyYAML does not put together."""
        text = super().construct_scalar(node)
        if text.isascii():
            return text
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping of text keys, each of which stands once."""
        seen = set()
        for key in (self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE):
            if not isinstance(key, str):
                raise _fault(f"the key {shown(key)} is no text", node)
            if key in seen:
                raise _fault(f"the key {shown(key)} stands twice in one mapping", node)
            seen.add(key)
        return super().construct_mapping(node, deep)


_MERGE = "tag:yaml.org,2002:merge"
_DATE = "tag:yaml.org,2002:timestamp"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _DATE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(  # 1e-5, which is a number in JSON and in YAML 1.2
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _fault(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
