"""The parts of a read template. ``str()`` of one is its source again, as errors show it (``at <.X.Y>``)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Tree:
    """A template or a named part of one: the name, the text it was read from, the name of that, and the nodes."""

    __slots__ = ("name", "nodes", "source", "text")

    def __init__(self, name: str, source: str, text: str) -> None:
        self.name = name
        self.source = source
        self.text = text
        self.nodes: list[Node] = []

    def is_empty(self) -> bool:
        """Whether it makes nothing but blanks."""
        return all(isinstance(node, Text) and not node.text.strip() for node in self.nodes)


class Node:
    """Anything that has a place (in characters) in the text."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


# --- what makes output ------------------------------------------------------------------------------------------------


class Text(Node):
    """Text outside of actions."""

    __slots__ = ("text",)

    def __init__(self, position: int, text: str) -> None:
        self.position = position
        self.text = text

    def __str__(self) -> str:
        return self.text


class Action(Node):
    """``{{pipeline}}``: its value is printed, unless it sets a variable."""

    __slots__ = ("pipe",)

    def __init__(self, position: int, pipe: Pipe) -> None:
        self.position = position
        self.pipe = pipe

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


class Branch(Node):
    """``if``, ``with`` or ``range`` (``word``) with what it does and what it does otherwise."""

    __slots__ = ("nodes", "otherwise", "pipe", "word")

    def __init__(self, position: int, word: str, pipe: Pipe, nodes: list[Node], otherwise: list[Node] | None) -> None:
        self.position = position
        self.word = word
        self.pipe = pipe
        self.nodes = nodes
        self.otherwise = otherwise

    def __str__(self) -> str:
        inside = "".join(map(str, self.nodes))
        otherwise = "" if self.otherwise is None else "{{else}}" + "".join(map(str, self.otherwise))
        return f"{{{{{self.word} {self.pipe}}}}}{inside}{otherwise}{{{{end}}}}"


class Leave(Node):
    """``{{break}}`` or ``{{continue}}``."""

    __slots__ = ("word",)

    def __init__(self, position: int, word: str) -> None:
        self.position = position
        self.word = word

    def __str__(self) -> str:
        return f"{{{{{self.word}}}}}"


class Invocation(Node):
    """``{{template "name" pipeline}}``."""

    __slots__ = ("name", "pipe", "written")

    def __init__(self, position: int, name: str, written: str, pipe: Pipe | None) -> None:
        self.position = position
        self.name = name
        self.written = written
        self.pipe = pipe

    def __str__(self) -> str:
        return f"{{{{template {self.written}{'' if self.pipe is None else f' {self.pipe}'}}}}}"


class Mark(Node):
    """``{{end}}`` or ``{{else}}`` while reading; never part of a tree."""

    __slots__ = ("word",)

    def __init__(self, position: int, word: str) -> None:
        self.position = position
        self.word = word

    def __str__(self) -> str:
        return f"{{{{{self.word}}}}}"


# --- what has a value -------------------------------------------------------------------------------------------------


class Pipe(Node):
    """``$x := command | command``."""

    __slots__ = ("assigns", "commands", "variables")

    def __init__(self, position: int) -> None:
        self.position = position
        self.variables: list[Variable] = []
        self.assigns = False
        self.commands: list[Command] = []

    def __str__(self) -> str:
        sets = ", ".join(map(str, self.variables)) + (" = " if self.assigns else " := ") if self.variables else ""
        return sets + " | ".join(map(str, self.commands))


class Command(Node):
    """Words separated by blanks: a value, or a function or method with arguments."""

    __slots__ = ("words",)

    def __init__(self, position: int) -> None:
        self.position = position
        self.words: list[Node] = []

    def __str__(self) -> str:
        return " ".join(f"({word})" if isinstance(word, Pipe) else str(word) for word in self.words)


class Field(Node):
    """``.Name.Name``."""

    __slots__ = ("names",)

    def __init__(self, position: int, names: tuple[str, ...]) -> None:
        self.position = position
        self.names = names

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(Node):
    """``$x.Name``; the first name is ``$x``."""

    __slots__ = ("names",)

    def __init__(self, position: int, names: tuple[str, ...]) -> None:
        self.position = position
        self.names = names

    def __str__(self) -> str:
        return ".".join(self.names)


class Chain(Node):
    """``(pipeline).Name.Name``, or fields of a function's result."""

    __slots__ = ("names", "node")

    def __init__(self, position: int, node: Node, names: tuple[str, ...]) -> None:
        self.position = position
        self.node = node
        self.names = names

    def __str__(self) -> str:
        start = f"({self.node})" if isinstance(self.node, Pipe) else str(self.node)
        return start + "".join(f".{name}" for name in self.names)


class Identifier(Node):
    """A function's name."""

    __slots__ = ("name",)

    def __init__(self, position: int, name: str) -> None:
        self.position = position
        self.name = name

    def __str__(self) -> str:
        return self.name


class Dot(Node):
    """``.``."""

    __slots__ = ()

    def __str__(self) -> str:
        return "."


class Literal(Node):
    """``nil``, a bool, a number or a string (``kind``), with its value and as it was written."""

    __slots__ = ("kind", "value", "written")

    def __init__(self, position: int, kind: str, value: Any, written: str) -> None:
        self.position = position
        self.kind = kind
        self.value = value
        self.written = written

    def __str__(self) -> str:
        return self.written
