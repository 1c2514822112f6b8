"""Text -> the trees of a template and of all that it defines."""

from __future__ import annotations

from podling.cli.gotemplate import lex
from podling.cli.gotemplate.errors import TemplateError
from podling.cli.gotemplate.functions import FUNCTIONS
from podling.cli.gotemplate.literals import parse_number, unquote
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
    Mark,
    Node,
    Pipe,
    Text,
    Tree,
    Variable,
)
from podling.values.gotext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_OPERANDS = (
    lex.BOOL, lex.CHAR_CONSTANT, lex.DOT, lex.FIELD, lex.IDENTIFIER, lex.NUMBER, "nil", lex.RAW_STRING, lex.STRING,
    lex.VARIABLE, lex.OPEN,
)


def parse(text: str, name: str) -> dict[str, Tree]:
    """Name -> tree of the template itself and of everything it defines; TemplateError where the text is malformed."""
    parser = _Parser(text, name)
    parser.parse_all()
    return parser.trees


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.tokens = lex.lex(text)
        self.at = 0
        self.latest = 0              # the furthest token looked at: its line is where errors are
        self.trees: dict[str, Tree] = {}
        self.variables = ["$"]
        self.ranges = 0
        self.action_line = 0

    # --- tokens

    def _next(self) -> lex.Token:
        token = self._peek()
        self.at += 1
        return token

    def _peek(self) -> lex.Token:
        at = min(self.at, len(self.tokens) - 1)
        self.latest = max(self.latest, at)
        return self.tokens[at]

    def _next_word(self) -> lex.Token:
        token = self._next()
        while token.kind == lex.SPACE:
            token = self._next()
        return token

    def _peek_word(self) -> lex.Token:
        """The next token that is no blank; the blanks before it are passed."""
        token = self._next_word()
        self.at -= 1
        return token

    def _expect(self, kind: str, context: str) -> lex.Token:
        token = self._next_word()
        if token.kind != kind:
            self._unexpected(token, context)
        return token

    def _fail(self, words: str) -> NoReturn:
        raise self._error(words)

    def _error(self, words: str) -> TemplateError:
        return TemplateError(f"template: {self.name}:{self.tokens[self.latest].line}: {words}")

    def _unexpected(self, token: lex.Token, context: str) -> NoReturn:
        if token.kind != lex.ERROR:
            self._fail(f"unexpected {token} in {context}")
        extra = ""
        if self.action_line and self.action_line != token.line:
            extra = f" started at {self.name}:{self.action_line}"
            if not token.text.endswith(" action"):
                extra = " in action" + extra
        self._fail(f"{token}{extra}")

    # --- structure

    def parse_all(self) -> None:
        """Read the whole text."""
        tree = Tree(self.name, self.name, self.text)
        while self._peek().kind != lex.EOF:
            if self._peek().kind == lex.LEFT:
                here = self.at
                self._next()
                if self._next_word().kind == "define":
                    self._definition()
                    continue
                self.at = here
            node = self._text_or_action()
            if isinstance(node, Mark):
                self._fail(f"unexpected {node}")
            tree.nodes.append(node)
        self._add(tree)

    def _definition(self) -> None:
        context = "define clause"
        token = self._next_word()
        name = self._template_name(token, context)
        self._expect(lex.RIGHT, context)
        self._named_part(name, context)

    def _named_part(self, name: str, context: str) -> None:
        """The nodes up to ``{{end}}`` as a tree of their own, which sees none of the variables around it."""
        outer, self.variables = self.variables, ["$"]
        ranges, self.ranges = self.ranges, 0
        tree = Tree(name, self.name, self.text)
        tree.nodes, end = self._list()
        if end.word != "end":
            self._fail(f"unexpected {end} in {context}")
        self.variables, self.ranges = outer, ranges
        self._add(tree)

    def _add(self, tree: Tree) -> None:
        known = self.trees.get(tree.name)
        if known is None or known.is_empty():
            self.trees[tree.name] = tree
        elif not tree.is_empty():
            self._fail(f"template: multiple definition of template {quote(tree.name)}")

    def _list(self) -> tuple[list[Node], Mark]:
        """The nodes up to ``{{end}}`` or ``{{else}}``, and that one."""
        nodes: list[Node] = []
        while self._peek_word().kind != lex.EOF:
            node = self._text_or_action()
            if isinstance(node, Mark):
                return nodes, node
            nodes.append(node)
        raise self._error("unexpected EOF")

    def _text_or_action(self) -> Node:
        token = self._next_word()
        if token.kind == lex.TEXT:
            return Text(token.position, token.text)
        if token.kind != lex.LEFT:
            self._unexpected(token, "input")
        self.action_line = token.line
        node = self._action()
        self.action_line = 0
        return node

    def _action(self) -> Node:
        token = self._next_word()
        word = token.kind
        if word in ("if", "with", "range"):
            return self._branch(word)
        if word == "end":
            return Mark(self._expect(lex.RIGHT, "end").position, "end")
        if word == "else":
            if self._peek_word().kind in ("if", "with"):   # {{else if}}: the word is left for _otherwise
                return Mark(self._peek_word().position, "else")
            return Mark(self._expect(lex.RIGHT, "else").position, "else")
        if word in ("break", "continue"):
            self._expect(lex.RIGHT, f"{{{{{word}}}}}")
            if not self.ranges:
                self._fail(f"{{{{{word}}}}} outside {{{{range}}}}")
            return Leave(token.position, word)
        if word == "template":
            return self._invocation()
        if word == "block":
            return self._block()
        self.at -= 1
        return Action(token.position, self._pipeline("command", lex.RIGHT))

    def _branch(self, word: str) -> Branch:
        variables = len(self.variables)
        pipe = self._pipeline(word, lex.RIGHT)
        self.ranges += word == "range"
        nodes, mark = self._list()
        self.ranges -= word == "range"
        otherwise = self._otherwise(word, mark) if mark.word == "else" else None
        del self.variables[variables:]
        return Branch(pipe.position, word, pipe, nodes, otherwise)

    def _otherwise(self, word: str, mark: Mark) -> list[Node]:
        """What follows ``{{else}}``. ``{{else if x}}`` is read as ``{{else}}{{if x}}`` and shares its ``{{end}}``."""
        following = self._peek().kind
        if following == word and word in ("if", "with"):
            self._next()
            return [self._branch(word)]
        if following in ("if", "with") and mark.position == self._peek().position:
            self._unexpected(self._next(), "input")
        nodes, end = self._list()
        if end.word != "end":
            self._fail(f"expected end; found {end}")
        return nodes

    def _template_name(self, token: lex.Token, context: str) -> str:
        if token.kind not in (lex.STRING, lex.RAW_STRING):
            self._unexpected(token, context)
        return self._unquoted(token)

    def _unquoted(self, token: lex.Token) -> str:
        text = unquote(token.text)
        if text is None:
            self._fail("invalid syntax")
        return text

    def _invocation(self) -> Invocation:
        context = "template clause"
        token = self._next_word()
        name = self._template_name(token, context)
        pipe = None
        if self._next_word().kind != lex.RIGHT:
            self.at -= 1
            pipe = self._pipeline(context, lex.RIGHT)
        return Invocation(token.position, name, quote(name), pipe)

    def _block(self) -> Invocation:
        context = "block clause"
        token = self._next_word()
        name = self._template_name(token, context)
        pipe = self._pipeline(context, lex.RIGHT)
        self._named_part(name, context)
        return Invocation(token.position, name, quote(name), pipe)

    # --- pipelines

    def _pipeline(self, context: str, end: str) -> Pipe:
        pipe = Pipe(self._peek_word().position)
        self._declarations(pipe, context)
        while True:
            token = self._next_word()
            if token.kind == end:
                self._check_pipeline(pipe, context)
                return pipe
            if token.kind not in _OPERANDS:
                self._unexpected(token, context)
            self.at -= 1
            pipe.commands.append(self._command())

    def _declarations(self, pipe: Pipe, context: str) -> None:
        """``$x :=``, ``$x =`` or, in a range, ``$i, $x :=``."""
        while self._peek_word().kind == lex.VARIABLE:
            here = self.at
            token = self._next()
            following = self._peek_word()
            if following.kind in (lex.ASSIGN, lex.DECLARE):
                pipe.assigns = following.kind == lex.ASSIGN
                self._next()
                self._declare(pipe, token)
                return
            if following.kind != lex.CHAR or following.text != ",":
                self.at = here
                return
            self._next()
            self._declare(pipe, token)
            if context != "range" or len(pipe.variables) > 1:
                self._fail(f"too many declarations in {context}")
            if self._peek_word().kind not in (lex.VARIABLE, lex.RIGHT, lex.CLOSE):
                self._fail("range can only initialize variables")

    def _declare(self, pipe: Pipe, token: lex.Token) -> None:
        pipe.variables.append(Variable(token.position, (token.text,)))
        self.variables.append(token.text)

    def _check_pipeline(self, pipe: Pipe, context: str) -> None:
        if not pipe.commands:
            self._fail(f"missing value for {context}")
        for stage, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.words[0], (Literal, Dot)):
                self._fail(f"non executable command in pipeline stage {stage}")

    def _command(self) -> Command:
        command = Command(self._peek_word().position)
        while True:
            self._peek_word()
            operand = self._operand()
            if operand is not None:
                command.words.append(operand)
            token = self._next()
            if token.kind == lex.SPACE:
                continue
            if token.kind in (lex.RIGHT, lex.CLOSE):
                self.at -= 1
            elif token.kind != lex.PIPE:
                self._unexpected(token, "operand")
            break
        if not command.words:
            self._fail("empty command")
        return command

    def _operand(self) -> Node | None:
        """A term with the fields that follow it."""
        term = self._term()
        if term is None or self._peek().kind != lex.FIELD:
            return term
        position = self._peek().position
        names: list[str] = []
        while self._peek().kind == lex.FIELD:
            names.append(self._next().text[1:])
        if isinstance(term, Field):
            return Field(position, (*term.names, *names))
        if isinstance(term, Variable):
            return Variable(position, (*term.names, *names))
        if isinstance(term, (Literal, Dot)):
            self._fail(f"unexpected . after term {quote(str(term))}")
        return Chain(position, term, tuple(names))

    def _term(self) -> Node | None:
        token = self._next_word()
        kind = token.kind
        if kind == lex.IDENTIFIER:
            if token.text not in FUNCTIONS:
                self._fail(f"function {quote(token.text)} not defined")
            return Identifier(token.position, token.text)
        if kind == lex.DOT:
            return Dot(token.position)
        if kind == lex.VARIABLE:
            if token.text not in self.variables:
                self._fail(f"undefined variable {quote(token.text)}")
            return Variable(token.position, (token.text,))
        if kind == lex.FIELD:
            return Field(token.position, (token.text[1:],))
        if kind == lex.OPEN:
            return self._pipeline("parenthesized pipeline", lex.CLOSE)
        if kind in ("nil", lex.BOOL):
            return Literal(token.position, kind, {"true": True, "false": False}.get(token.text), token.text)
        if kind in (lex.STRING, lex.RAW_STRING):
            return Literal(token.position, "string", self._unquoted(token), token.text)
        if kind in (lex.NUMBER, lex.CHAR_CONSTANT):
            return Literal(token.position, "number", self._number(token), token.text)
        self.at -= 1
        return None

    def _number(self, token: lex.Token) -> int | float:
        try:
            return parse_number(token.text)
        except ValueError as error:
            self._fail(str(error))
