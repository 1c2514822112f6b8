"""The words of a template: text outside of actions, and what stands between ``{{`` and ``}}``."""

from __future__ import annotations

from podling.values.gotext import quote

# Kinds of tokens. Keywords have their own word as their kind.
TEXT, LEFT, RIGHT, EOF, ERROR, SPACE = "text", "{{", "}}", "EOF", "error", "space"
ASSIGN, DECLARE, PIPE, OPEN, CLOSE, CHAR = "=", ":=", "|", "(", ")", "char"
STRING, RAW_STRING, CHAR_CONSTANT, NUMBER, BOOL = "string", "raw string", "char constant", "number", "bool"
FIELD, IDENTIFIER, VARIABLE, DOT = "field", "identifier", "variable", "."
KEYWORDS = ("block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with")

_BLANK = " \t\r\n"
_SINGLE = {"=": ASSIGN, "|": PIPE, "(": OPEN, ")": CLOSE}
_AFTER_WORD = _BLANK + ".,|:)("


class Token:
    """One word: its kind, its text, where it begins (in characters) and on which line."""

    __slots__ = ("kind", "line", "position", "text")

    def __init__(self, kind: str, text: str, position: int, line: int) -> None:
        self.kind = kind
        self.text = text
        self.position = position
        self.line = line

    def __str__(self) -> str:
        """The token as error messages name it."""
        if self.kind == EOF:
            return "EOF"
        if self.kind == ERROR:
            return self.text
        if self.kind in KEYWORDS or self.kind == DOT:
            return f"<{self.text}>"
        return f"{quote(self.text[:10])}..." if len(self.text) > 10 else quote(self.text)


class _Broken(Exception):
    """The text cannot be read on; the message is what the error token says."""


def lex(text: str) -> list[Token]:
    """All tokens of a template; the last one is EOF or an error."""
    return _Lexer(text).run()


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.start = 0
        self.line = 1
        self.counted = 0             # up to where newlines are counted
        self.parentheses = 0
        self.tokens: list[Token] = []

    def run(self) -> list[Token]:
        try:
            while self._text_up_to_action():
                while self._inside_action():
                    pass
        except _Broken as broken:
            self.tokens.append(Token(ERROR, str(broken), self.start, self._line_at(self.start)))
        else:
            self.start = self.position
            self._emit(EOF)
        return self.tokens

    def _line_at(self, position: int) -> int:
        self.line += self.text.count("\n", self.counted, position)
        self.counted = max(self.counted, position)
        return self.line

    def _emit(self, kind: str) -> None:
        self.tokens.append(Token(kind, self.text[self.start : self.position], self.start, self._line_at(self.start)))
        self.start = self.position

    def _text_up_to_action(self) -> bool:
        """Take the text before the next action and the action's left delimiter; False where no action follows."""
        text = self.text
        while True:
            found = text.find("{{", self.position)
            end = len(text) if found < 0 else found
            trim = found >= 0 and text[found + 2 : found + 3] == "-" and text[found + 3 : found + 4] in tuple(_BLANK)
            piece_end = self.start + len(text[self.start : end].rstrip(_BLANK)) if trim else end
            if piece_end > self.start:
                self.position = piece_end
                self._emit(TEXT)
            if found < 0:
                self.position = end
                return False
            self.start = found
            after = found + 2 + 2 * trim
            if not text.startswith("/*", after):
                self.position = found + 2
                self._emit(LEFT)
                self.position = self.start = after
                self.parentheses = 0
                return True
            self.start = after
            self._comment(after)

    def _comment(self, begin: int) -> None:
        end = self.text.find("*/", begin + 2)
        if end < 0:
            raise _Broken("unclosed comment")
        self.position = end + 2
        trim = self._at_right_delimiter()
        if trim is None:
            raise _Broken("comment ends before closing delimiter")
        self._pass_right_delimiter(trim)

    def _at_right_delimiter(self) -> bool | None:
        """None: no right delimiter here; otherwise whether it trims the blanks behind it."""
        text, at = self.text, self.position
        if text.startswith("}}", at):
            return False
        if text[at : at + 1] in tuple(_BLANK) and text.startswith("-}}", at + 1):
            return True
        return None

    def _pass_right_delimiter(self, trim: bool) -> None:
        """Go behind the right delimiter and the blanks that it trims; the next text begins there."""
        self.position += 4 if trim else 2
        if trim:
            while self.position < len(self.text) and self.text[self.position] in _BLANK:
                self.position += 1
        self.start = self.position

    def _inside_action(self) -> bool:
        """Take one token of an action; False when it was the right delimiter."""
        trim = self._at_right_delimiter()
        if trim is not None:
            if self.parentheses:
                raise _Broken("unclosed left paren")
            self.start = self.position + 2 * trim
            at, self.position = self.position, self.start + 2
            self._emit(RIGHT)
            self.position = at
            self._pass_right_delimiter(trim)
            return False
        character = self.text[self.position : self.position + 1]
        if not character:
            raise _Broken("unclosed action")
        if character in _BLANK:
            self._space()
        elif character in _SINGLE:
            self._single(character)
        elif character == ":":
            if not self.text.startswith(":=", self.position):
                self.position += 1
                raise _Broken("expected :=")
            self.position += 2
            self._emit(DECLARE)
        elif character in "\"'`":
            self._quoted(character)
        elif character == "$":
            self._variable()
        elif character == "." and self._before_field():
            self._field()
        elif character in "+-." or _is_ascii_digit(character):
            self._number()
        elif is_word(character):
            self._word()
        elif character.isascii() and character.isprintable():
            self.position += 1
            self._emit(CHAR)
        else:
            raise _Broken(f"unrecognized character in action: {_named(character)}")
        return True

    def _before_field(self) -> bool:
        """Whether the point here is no part of a number (Go takes one at the very end of the text for a number)."""
        following = self.text[self.position + 1 : self.position + 2]
        return following != "" and not _is_ascii_digit(following)

    def _space(self) -> None:
        while self.text[self.position : self.position + 1] in tuple(_BLANK):
            if self.text.startswith("-}}", self.position + 1):   # this blank belongs to the delimiter
                break
            self.position += 1
        if self.position > self.start:
            self._emit(SPACE)

    def _single(self, character: str) -> None:
        self.position += 1
        self._emit(_SINGLE[character])
        if character == "(":
            self.parentheses += 1
        elif character == ")":
            self.parentheses -= 1
            if self.parentheses < 0:
                raise _Broken(f"unexpected right paren {_named(character)}")

    def _quoted(self, mark: str) -> None:
        kind, what = {'"': (STRING, "quoted string"), "`": (RAW_STRING, "raw quoted string"),
                      "'": (CHAR_CONSTANT, "character constant")}[mark]
        text, at = self.text, self.position + 1
        while at < len(text) and text[at] != mark and (mark == "`" or text[at] != "\n"):
            at += 2 if text[at] == "\\" and mark != "`" and text[at + 1 : at + 2] != "\n" else 1
        if text[at : at + 1] != mark:
            raise _Broken(f"unterminated {what}")
        self.position = at + 1
        self._emit(kind)

    def _variable(self) -> None:
        self.position += 1
        self._take_word()
        self._emit(VARIABLE)

    def _field(self) -> None:
        self.position += 1
        self._take_word()
        self._emit(DOT if self.position == self.start + 1 else FIELD)

    def _word(self) -> None:
        self._take_word()
        word = self.text[self.start : self.position]
        self._emit(word if word in KEYWORDS else BOOL if word in ("true", "false") else IDENTIFIER)

    def _take_word(self) -> None:
        text = self.text
        while self.position < len(text) and is_word(text[self.position]):
            self.position += 1
        follows = text[self.position : self.position + 1]
        if follows and follows not in _AFTER_WORD and not text.startswith("}}", self.position):
            raise _Broken(f"bad character {_named(follows)}")

    def _number(self) -> None:
        """Take a number; whether it is one, the parser finds out."""
        self._accept("+-")
        digits = "0123456789_"
        if self._accept("0"):
            for prefix, allowed in (("xX", "0123456789abcdefABCDEF_"), ("oO", "01234567_"), ("bB", "01_")):
                if self._accept(prefix):
                    digits = allowed
                    break
        self._accept_all(digits)
        if self._accept("."):
            self._accept_all(digits)
        exponent = {11: "eE", 23: "pP"}.get(len(digits), "")
        if exponent and self._accept(exponent):
            self._accept("+-")
            self._accept_all("0123456789_")
        self._accept("i")
        if is_word(self.text[self.position : self.position + 1]):
            self.position += 1
            raise _Broken(f"bad number syntax: {quote(self.text[self.start:self.position])}")
        if self.text[self.position : self.position + 1] in ("+", "-"):
            raise _Broken(f"bad number syntax: {quote(self.text[self.start:self.position + 1])}")
        self._emit(NUMBER)

    def _accept(self, characters: str) -> bool:
        found = self.text[self.position : self.position + 1] in tuple(characters)
        self.position += found
        return found

    def _accept_all(self, characters: str) -> None:
        while self._accept(characters):
            pass


def is_word(character: str) -> bool:
    """Whether a character can stand in an identifier: a letter, a decimal digit, an underscore."""
    return character == "_" or character.isalpha() or character.isdecimal()


def _is_ascii_digit(character: str) -> bool:
    return "0" <= character <= "9" if character else False


def _named(character: str) -> str:
    """A character as Go's ``%#U`` prints it: ``U+0025 '%'``."""
    shown = f" '{character}'" if character.isprintable() else ""
    return f"U+{ord(character):04X}{shown}"
