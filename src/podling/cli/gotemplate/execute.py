"""A template's trees and a value -> text."""

from __future__ import annotations

from podling.cli.gotemplate.errors import TemplateError
from podling.cli.gotemplate.functions import FUNCTIONS, LONGEST, Function, FunctionError, check_arity
from podling.cli.gotemplate.nodes import (
    Action,
    Branch,
    Chain,
    Command,
    Dot,
    Field,
    Identifier,
    Invocation,
    Leave,
    Literal,
    Node,
    Pipe,
    Text,
    Tree,
    Variable,
)
from podling.cli.gotemplate.values import (
    NIL,
    NO_VALUE,
    concrete,
    is_nil,
    is_struct,
    kind,
    members,
    printed,
    sorted_keys,
    truth,
    type_name,
)
from podling.values.gotext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn

_ABSENT = object()
"""No value comes from the command before in a pipeline."""


class _Left(Exception):
    """``break`` or ``continue`` on its way to its range."""

    def __init__(self, word: str) -> None:
        self.word = word


class Execution:
    """One run of a template: its variables, what it has written, and the node it is at."""

    def __init__(self, trees: dict[str, Tree], steps: int, top: tuple[Any, str]) -> None:
        self.trees = trees
        self.steps = steps
        self.top = top               # the value given, and the name of its type or ""
        self.parts: list[str] = []
        self.written = 0
        self.variables: list[tuple[str, Any]] = []
        self.node: Node | None = None
        self.tree = next(iter(trees.values()))

    def run(self, name: str, value: Any) -> str:
        """The whole text; TemplateError where the value does not fit."""
        self.tree = self.trees[name]
        self.variables = [("$", value)]
        self._walk_all(self.tree.nodes, value)
        return "".join(self.parts)

    def _fail(self, words: str) -> NoReturn:
        raise self._error(words)

    def _error(self, words: str) -> TemplateError:
        """The error at the current node, with its place and source."""
        if self.node is None:
            return TemplateError(f"template: {self.tree.name}: {words}")
        before = self.tree.text[: self.node.position]
        start = before.rfind("\n") + 1
        column = len(before[start:].encode("utf-8", "surrogateescape"))
        place = f"{self.tree.source}:{before.count(chr(10)) + 1}:{column}"
        return TemplateError(f"template: {place}: executing {quote(self.tree.name)} at <{self.node}>: {words}")

    def _write(self, text: str) -> None:
        self.written += len(text)
        if self.written > LONGEST:
            self._fail("result is too long")
        self.parts.append(text)

    def _step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            self._fail("takes too long")

    # --- nodes

    def _walk_all(self, nodes: Iterable[Node], dot: Any) -> None:
        for node in nodes:
            self._walk(node, dot)

    def _walk(self, node: Node, dot: Any) -> None:
        self.node = node
        self._step()
        if isinstance(node, Text):
            self._write(node.text)
        elif isinstance(node, Action):
            value = self._pipeline(node.pipe, dot)
            if not node.pipe.variables:
                self.node = node
                if kind(value) == "func":
                    self._fail(f"can't print {node} of type {type_name(value)}")
                self._write(printed(value))
        elif isinstance(node, Branch):
            mark = len(self.variables)
            if node.word == "range":
                self._range(node, dot)
            else:
                self._choose(node, dot)
            del self.variables[mark:]
        elif isinstance(node, Leave):
            raise _Left(node.word)
        elif isinstance(node, Invocation):
            self._invoke(node, dot)

    def _choose(self, node: Branch, dot: Any) -> None:
        value = self._pipeline(node.pipe, dot)
        if truth(value):
            self._walk_all(node.nodes, value if node.word == "with" else dot)
        elif node.otherwise is not None:
            self._walk_all(node.otherwise, dot)

    def _range(self, node: Branch, dot: Any) -> None:
        value = self._pipeline(node.pipe, dot)
        items = self._items(value)
        if not items:
            if node.otherwise is not None:
                self._walk_all(node.otherwise, dot)
            return
        mark = len(self.variables)
        for index, item in items:
            self._step()
            if node.pipe.variables:
                self._set_range_variables(node.pipe, mark, index, item)
            try:
                self._walk_all(node.nodes, item)
            except _Left as left:
                if left.word == "break":
                    return
            finally:
                del self.variables[mark:]

    def _set_range_variables(self, pipe: Pipe, mark: int, index: Any, item: Any) -> None:
        values = (item,) if len(pipe.variables) == 1 else (index, item)
        for place, (variable, value) in enumerate(zip(pipe.variables, values, strict=True)):
            if pipe.assigns:
                self._assign(variable.names[0], value)
            else:
                self.variables[mark - len(values) + place] = (variable.names[0], value)

    def _items(self, value: Any) -> Sequence[tuple[Any, Any]] | _Numbers:
        """(index or key, item) of what can be ranged over."""
        if is_nil(value):
            return ()
        shape = kind(value)
        if shape == "slice":
            return [(index, NIL if item is None else item) for index, item in enumerate(value)]
        if shape == "map":
            keys = list(value) if is_struct(value) else sorted_keys(value)
            return [(key, NIL if value[key] is None else value[key]) for key in keys]
        if shape == "int":
            return _Numbers(value)
        raise self._error(f"range can't iterate over {printed(value)}")

    def _invoke(self, node: Invocation, dot: Any) -> None:
        tree = self.trees.get(node.name)
        if tree is None:
            self._fail(f"template {quote(node.name)} not defined")
        value = NO_VALUE if node.pipe is None else self._pipeline(node.pipe, dot)
        around, variables = self.tree, self.variables
        self.tree, self.variables = tree, [("$", value)]
        self._walk_all(tree.nodes, value)
        self.tree, self.variables = around, variables

    # --- pipelines

    def _pipeline(self, pipe: Pipe, dot: Any) -> Any:
        self.node = pipe
        value: Any = _ABSENT
        for command in pipe.commands:
            value = self._command(command, dot, value)
            if value is NIL:             # a pipeline looks into interfaces, and there is nothing in this one
                value = NO_VALUE
        for variable in pipe.variables:
            if pipe.assigns:
                self._assign(variable.names[0], value)
            else:
                self.variables.append((variable.names[0], value))
        return value

    def _assign(self, name: str, value: Any) -> None:
        for place in range(len(self.variables) - 1, -1, -1):
            if self.variables[place][0] == name:
                self.variables[place] = (name, value)
                return
        self._fail(f"undefined variable: {name}")

    def _variable(self, name: str) -> Any:
        for known, value in reversed(self.variables):
            if known == name:
                return value
        raise self._error(f"undefined variable: {name}")

    def _command(self, command: Command, dot: Any, final: Any) -> Any:
        first, arguments = command.words[0], command.words[1:]
        if not isinstance(first, Pipe):
            self.node = first
        if isinstance(first, Identifier):
            return self._function(first, command, arguments, dot, final)
        if isinstance(first, (Field, Chain)) or (isinstance(first, Variable) and len(first.names) > 1):
            return self._fields(first, arguments, dot, final)
        if arguments or final is not _ABSENT:
            self._fail(f"can't give argument to non-function {first}")
        if isinstance(first, Literal) and first.kind == "nil":
            self._fail("nil is not a command")
        return self._value(first, dot)

    def _value(self, node: Node, dot: Any) -> Any:
        """The value of a word that stands alone."""
        self.node = node
        if isinstance(node, Dot):
            return dot
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Pipe):
            return self._pipeline(node, dot)
        if isinstance(node, Identifier):
            return self._function(node, node, [], dot, _ABSENT)
        if isinstance(node, Variable) and len(node.names) == 1:
            return self._variable(node.names[0])
        assert isinstance(node, (Field, Chain, Variable))
        return self._fields(node, [], dot, _ABSENT)

    def _fields(self, node: Field | Chain | Variable, arguments: Sequence[Node], dot: Any, final: Any) -> Any:
        """The value at the end of ``.A.B.C``; the last name gets the arguments if it is a method."""
        receiver, names = dot, node.names
        if isinstance(node, Variable):
            receiver, names = self._variable(names[0]), names[1:]
        elif isinstance(node, Chain):
            if isinstance(node.node, Literal) and node.node.kind == "nil":
                self._fail(f"indirection through explicit nil in {node}")
            receiver = self._value(node.node, dot)
        for name in names[:-1]:
            receiver = self._field(receiver, name, node, [], dot, _ABSENT)
        return self._field(receiver, names[-1], node, arguments, dot, final)

    def _field(self, receiver: Any, name: str, node: Node, arguments: Sequence[Node], dot: Any, final: Any) -> Any:
        if receiver is NO_VALUE:
            return NO_VALUE
        if is_nil(receiver):
            self._fail(f"nil pointer evaluating {getattr(receiver, 'go_type', 'interface {}')}.{name}")
        given = bool(arguments) or final is not _ABSENT
        if isinstance(receiver, dict):
            return self._key(receiver, name, given)
        value = _attribute(receiver, name)
        if value is _ABSENT:
            self._fail(f"can't evaluate field {name} in type {self._type_name(receiver)}")
        if callable(value):
            return self._method(value, name, node, arguments, dot, final)
        if given:
            self._fail(f"{name} has arguments but cannot be invoked as function")
        return value

    def _key(self, mapping: dict[Any, Any], name: str, given: bool) -> Any:
        structured = is_struct(mapping)
        if structured and name not in mapping:
            self._fail(f"can't evaluate field {name} in type {self._type_name(mapping)}")
        if given:
            self._fail(f"{name} has arguments but cannot be invoked as function" if structured
                       else f"{name} is not a method but has arguments")
        value = mapping.get(name, NO_VALUE)
        return NIL if value is None and not structured else value

    def _type_name(self, value: Any) -> str:
        return self.top[1] if self.top[1] and value is self.top[0] else type_name(value)

    # --- calls

    def _method(self, method: Any, name: str, node: Node, arguments: Sequence[Node], dot: Any, final: Any) -> Any:
        try:
            check_arity(method, len(arguments) + (final is not _ABSENT), name)
        except FunctionError as error:
            self._fail(str(error))
        values = [concrete(self._value(argument, dot)) for argument in arguments]
        if final is not _ABSENT:
            values.append(concrete(final))
        try:
            return method(*values)
        except (TypeError, ValueError) as error:   # an argument of a kind that the method does not take
            self.node = node
            raise self._error(f"error calling {name}: {error}") from error

    def _function(self, node: Identifier, whole: Node, arguments: Sequence[Node], dot: Any, final: Any) -> Any:
        self.node = node
        name, function = node.name, FUNCTIONS[node.name]
        count = len(arguments) + (final is not _ABSENT)
        self._check_count(name, function, count, len(arguments))
        if name in ("and", "or"):
            return self._and_or(name, arguments, dot, final)
        values = [self._argument(argument, _parameter(function, place), dot) for place, argument in enumerate(arguments)]
        if final is not _ABSENT:
            values.append(self._checked(final, _parameter(function, count - 1)))
        try:
            result = function.call(*values)
        except FunctionError as error:
            self.node = whole
            self._fail(f"error calling {name}: {error}")
        if type(result) is str and len(result) > LONGEST:
            self._fail(f"error calling {name}: result is too long")
        return result

    def _check_count(self, name: str, function: Function, count: int, written: int) -> None:
        wanted = len(function.parameters)
        if function.further:
            if count < wanted:
                self._fail(f"wrong number of args for {name}: want at least {wanted} got {written}")
        elif count != wanted:
            self._fail(f"wrong number of args for {name}: want {wanted} got {count}")

    def _and_or(self, name: str, arguments: Sequence[Node], dot: Any, final: Any) -> Any:
        """The first argument that decides, or the last one; what follows it is not evaluated."""
        value: Any = NO_VALUE
        for argument in arguments:
            value = self._argument(argument, "any", dot)
            if truth(value) == (name == "or"):
                return value
        return value if final is _ABSENT else final

    def _argument(self, node: Node, wanted: str, dot: Any) -> Any:
        """An argument's value, checked against the Go type of its parameter."""
        if not isinstance(node, Literal):
            return self._checked(self._value(node, dot), wanted)
        self.node = node
        if node.kind == "nil":
            if wanted in ("string", "int"):
                self._fail(f"cannot assign nil to {wanted}")
            return [] if wanted == "[]string" else NIL
        if wanted == "string" and node.kind != "string":
            self._fail(f"expected string; found {node}")
        if wanted == "int":
            if node.kind != "number" or node.value != int(node.value):
                self._fail(f"expected integer; found {node}")
            return int(node.value)
        if wanted == "[]string":
            self._fail(f"can't handle {node} for arg of type []string")
        return node.value

    def _checked(self, value: Any, wanted: str) -> Any:
        if wanted == "any":
            return value
        if is_nil(value):
            if wanted == "[]string":
                return []
            self._fail(f"invalid value; expected {wanted}")
        shape = kind(value)
        fits = shape == wanted or (wanted == "[]string" and shape == "slice" and all(type(item) is str for item in value))
        if not fits:
            self._fail(f"wrong type for value; expected {wanted}; got {type_name(value)}")
        return value


class _Numbers:
    """The numbers up to a bound, as (number, number), made as they are needed."""

    def __init__(self, bound: int) -> None:
        self.bound = max(bound, 0)

    def __len__(self) -> int:
        return min(self.bound, 1)

    def __iter__(self) -> Any:
        return ((number, number) for number in range(self.bound))


def _parameter(function: Function, place: int) -> str:
    return function.parameters[place] if place < len(function.parameters) else function.further


def _attribute(receiver: Any, name: str) -> Any:
    """A field or method of an object, or _ABSENT; lists, strings and numbers have none."""
    if name.startswith("_") or kind(receiver) not in ("struct", "func"):
        return _ABSENT
    shown = members(receiver)
    if shown is not None:
        return shown.get(name, _ABSENT)
    value = getattr(receiver, name, _ABSENT)
    return _ABSENT if callable(value) and not name[:1].isupper() else value
