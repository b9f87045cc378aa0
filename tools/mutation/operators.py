"""Mutants of a kernel file: small changes of its text, each of which ought to make a test fail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Args:
        file: relative to the folder of the kernels.
        operator: what kind of change.
        start, end: the text's characters that are replaced.
        new: what replaces them.
        line: number of the line, from 1.
        old_line, new_line: the lines before and after, stripped.
    """

    file: str
    operator: str
    start: int
    end: int
    new: str
    line: int
    old_line: str
    new_line: str

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]


@dataclass(frozen=True)
class Token:
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def is_name(self) -> bool:
        return self.text[0].isalpha() or self.text[0] == "_"

    @property
    def is_number(self) -> bool:
        return self.text[0].isdigit()


Edit = tuple[int, int, str]  # start, end, replacement
_SKIPPED = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"|^[ \t]*#[ \t]*(?:include|pragma|error|line|ifndef|ifdef|elif|else|endif)[^\n]*",
    re.MULTILINE | re.DOTALL,
)
_TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*(?:[eE][-+]\d+)?\w*|<<=|>>=|&&|\|\||[-+*/%&|^<>=!]=|<<|>>|\+\+|--|->|::|\S")
_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, {")": "(", "]": "[", "}": "{"}
_KEYWORDS = {"return", "else", "const", "case", "template", "typename", "struct"}
_COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
_ARITHMETIC = {"+": ["-"], "-": ["+"], "*": ["+"], "/": ["*"], "%": ["/"], "+=": ["-="], "-=": ["+="], "*=": ["+="]}
_BITS = {"<<": ">>", ">>": "<<", "&": "|", "|": "&", "^": "|"}
_SHUFFLES = {
    "__shfl_down_sync": "__shfl_up_sync",
    "__shfl_up_sync": "__shfl_down_sync",
    "__shfl_xor_sync": "__shfl_down_sync",
    "__any_sync": "__all_sync",
    "__all_sync": "__any_sync",
}


class Source:
    """The tokens of a text, without comments and strings, and which bracket belongs to which."""

    def __init__(self, text: str) -> None:
        self.text = text
        blank = _SKIPPED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
        self.code = re.sub(r"\\\n", " \n", blank)
        self.tokens = [Token(found[0], found.start()) for found in _TOKEN.finditer(self.code)]
        self.partner: dict[int, int] = {}
        stack: list[int] = []
        for i, token in enumerate(self.tokens):
            if token.text in _OPEN:
                stack.append(i)
            elif token.text in _CLOSE and stack:
                start = stack.pop()
                self.partner[start], self.partner[i] = i, start

    def at(self, i: int) -> str:
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ""

    def spaced(self, i: int) -> bool:
        """Whether token i is a binary operator: written with a space on either side, after an operand."""
        token = self.tokens[i]
        around = self.code[token.start - 1 : token.start] + self.code[token.end : token.end + 1]
        before = self.tokens[i - 1]
        operand = before.is_name or before.is_number or before.text in (")", "]")
        return not around.strip() and operand and before.text not in _KEYWORDS

    def left_operand(self, i: int) -> int:
        """Index of the first token of the operand that ends before operator i."""
        i -= 1
        if self.at(i) in _CLOSE:
            i = self.partner[i]
            if not self.tokens[i - 1].is_name and self.at(i - 1) not in _CLOSE:
                return i
            i -= 1
        while self.at(i) in _CLOSE:  # calls and subscripts of calls
            i = self.partner[i] - 1
        while self.at(i - 1) in (".", "->", "::"):
            i = self.left_operand(i - 1)
        return i

    def right_operand(self, i: int) -> int:
        """Index of the last token of the operand that begins after operator i."""
        i += 1
        while self.at(i) in ("-", "!", "~", "*", "&"):
            i += 1
        if self.at(i) == "(":
            i = self.partner[i]
            if self.tokens[i + 1].is_name or self.at(i + 1) == "(":  # a cast
                return self.right_operand(i)
            return i
        while self.at(i + 1) in (".", "->", "::", "(", "["):
            i = self.partner[i + 1] if self.at(i + 1) in _OPEN else i + 2
        return i

    def statement(self, i: int) -> tuple[int, int]:
        """Indices of the first and last token of the statement that holds token i."""
        first = i
        while first > 0 and self.at(first - 1) not in (";", "{", "}"):
            first = self.partner[first - 1] if self.at(first - 1) in ")]" else first - 1
        last = i
        while self.at(last) not in (";", ""):
            last = self.partner.get(last, last) + 1 if self.at(last) in _OPEN else last + 1
        return first, last

    def slice(self, first: int, last: int) -> str:
        return self.text[self.tokens[first].start : self.tokens[last].end]

    def replace(self, first: int, last: int, new: str) -> Edit:
        return self.tokens[first].start, self.tokens[last].end, new


def barrier(s: Source) -> Iterator[Edit]:
    """A statement that waits for other threads is dropped."""
    for i, token in enumerate(s.tokens):
        if re.search(r"sync(threads|warp)|wait|barrier", token.text) and s.at(i + 1) == "(":
            end = s.partner[i + 1] + 1
            if s.at(end) == ";" and s.at(i - 1) in (";", "{", "}", ")"):
                yield s.replace(i, end, ";")


def comparison(s: Source) -> Iterator[Edit]:
    for i, token in enumerate(s.tokens):
        if token.text in _COMPARISONS and s.spaced(i) and s.at(i - 1) not in ("template", "operator"):
            yield s.replace(i, i, _COMPARISONS[token.text])


def constant(s: Source) -> Iterator[Edit]:
    """A number is one more or one less."""
    for i, token in enumerate(s.tokens):
        found = re.fullmatch(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)", token.text)
        if found is None:
            if token.is_number:
                yield s.replace(i, i, f"({token.text} * 2 + 1)")
            continue
        value, suffix = int(found[1], 0), found[2]
        yield s.replace(i, i, f"{value + 1}{suffix}")
        if value > 0:
            yield s.replace(i, i, f"{value - 1}{suffix}")


def arithmetic(s: Source) -> Iterator[Edit]:
    for i, token in enumerate(s.tokens):
        if token.text in _ARITHMETIC and s.spaced(i):
            for new in _ARITHMETIC[token.text]:
                yield s.replace(i, i, new)
        elif token.text == "-" and (s.tokens[i + 1].is_name or s.tokens[i + 1].is_number) and not s.spaced(i):
            yield s.replace(i, i, "")


def bits(s: Source) -> Iterator[Edit]:
    for i, token in enumerate(s.tokens):
        if token.text in _BITS and s.spaced(i):
            yield s.replace(i, i, _BITS[token.text])


def operands(s: Source) -> Iterator[Edit]:
    """a - b becomes b - a, a / b becomes b / a."""
    for i, token in enumerate(s.tokens):
        if token.text in ("-", "/", "%") and s.spaced(i):
            first, last = s.left_operand(i), s.right_operand(i)
            yield s.replace(first, last, f"{s.slice(i + 1, last)} {token.text} {s.slice(first, i - 1)}")


def arguments(s: Source) -> Iterator[Edit]:
    """Two neighbours in a list of arguments, parameters or initial values change places."""
    for i, token in enumerate(s.tokens):
        if token.text not in ("(", "{") or i not in s.partner:
            continue
        parts, first, j, end = [], i + 1, i + 1, s.partner[i]
        while j <= end:
            if s.at(j) == ";":
                break
            if j == end or s.at(j) == ",":
                parts.append((first, j - 1))
                first = j + 1
            j = s.partner[j] + 1 if s.at(j) in _OPEN else j + 1
        else:
            for (a, b), (c, d) in pairwise(parts):
                if a <= b and c <= d and s.slice(a, b) != s.slice(c, d):
                    yield s.replace(a, d, f"{s.slice(c, d)}, {s.slice(a, b)}")


def sibling(s: Source) -> Iterator[Edit]:
    """A variable becomes its neighbour in the declaration, such as another gate or dimension."""
    following: dict[str, str] = {}
    for found in re.finditer(
        r"(?:\b\w+_t|\bfloat\d?|\bint|\bPart|\bPlace|\bLine|uint\d+)(?: &|\* | )((?:[^;(){}]|\([^()]*\)|\{[^{}]*\})+);",
        s.code,
    ):
        names = re.findall(r"(?:^|,)\s*[&*]?(\w+)\s*(?==|,|$)", re.sub(r"\([^()]*\)", "", found[1]))
        if len(names) > 1:
            following.update(zip(names, names[1:] + names[:1]))
    for found in re.finditer(r"\(([^()]*)\)", s.code):
        typed = re.findall(r"(\w+)[*&]?(?: __restrict__)? (\w+)\s*(?:,|$)", found[1])
        for (kind, name), (other_kind, other) in pairwise(typed):
            if kind == other_kind:
                following.setdefault(name, other)
    for i, token in enumerate(s.tokens):
        before = s.tokens[i - 1]
        declared = before.text not in _KEYWORDS if before.is_name else before.text in ("&", "*") and not s.spaced(i - 1)
        if token.text in following and not declared and s.at(i + 1) not in ("=", "("):
            yield s.replace(i, i, following[token.text])


def condition(s: Source) -> Iterator[Edit]:
    """The condition of an if or of a ?: is always true, or never."""
    for i, token in enumerate(s.tokens):
        if token.text == "if" and s.at(i + 1) == "(":
            for value in ("true", "false"):
                yield s.replace(i + 2, s.partner[i + 1] - 1, value)
        elif token.text == "?":
            first = i - 1
            while s.at(first) not in ("=", "(", ",", ";", "return", "{", "+=", ":", "[", "?"):
                first = s.partner[first] - 1 if s.at(first) in _CLOSE else first - 1
            for value in ("true", "false"):
                yield s.replace(first + 1, i - 1, value)


def logic(s: Source) -> Iterator[Edit]:
    for i, token in enumerate(s.tokens):
        if token.text in ("&&", "||"):
            yield s.replace(i, i, "||" if token.text == "&&" else "&&")
        elif token.text == "!":
            yield s.replace(i, i, "")


def shuffle(s: Source) -> Iterator[Edit]:
    """The mask of a shuffle or vote, its lane, its direction."""
    for i, token in enumerate(s.tokens):
        if re.fullmatch(r"__(shfl\w*|any|all|ballot)_sync", token.text) and s.at(i + 1) == "(":
            end = s.partner[i + 1]
            comma = next(j for j in range(i + 2, end) if s.at(j) == ",")
            yield s.replace(i + 2, comma - 1, f"({s.slice(i + 2, comma - 1)}) >> 1")
            if "shfl" in token.text:
                yield s.replace(end, end, " + 1)")
            if token.text in _SHUFFLES:
                yield s.replace(i, i, _SHUFFLES[token.text])


def narrow(s: Source) -> Iterator[Edit]:
    """An index has 32 bits where the build has 64; the conversion to an index is dropped."""
    for i, token in enumerate(s.tokens):
        if token.text == "index_t" and s.at(i - 1) != "int64":
            if s.at(i - 1) == "(" and s.at(i + 1) == ")":
                yield s.replace(i - 1, i + 1, "")
            yield s.replace(i, i, "int")


def initial(s: Source) -> Iterator[Edit]:
    """What begins as 0 begins as something else."""
    for i, token in enumerate(s.tokens):
        if token.text == "=" and s.at(i + 1) == "0" and s.at(i + 2) in (",", ";"):
            yield s.replace(i + 1, i + 1, "77")


def flow(s: Source) -> Iterator[Edit]:
    """A continue, break or return is dropped."""
    for i, token in enumerate(s.tokens):
        if token.text in ("continue", "break", "return") and s.at(i + 1) == ";":
            yield s.replace(i, i, "")


def accumulate(s: Source) -> Iterator[Edit]:
    """A sum forgets what it held."""
    for i, token in enumerate(s.tokens):
        if token.text in ("+=", "*=", "^=", "|="):
            yield s.replace(i, i, "=")


def store(s: Source) -> Iterator[Edit]:
    """An assignment is dropped."""
    for i, token in enumerate(s.tokens):
        if token.text in ("=", "+=") and s.at(i - 1) != "operator":
            first, last = s.statement(i)
            target = s.left_operand(i)
            if target == first and s.at(last) == ";":
                yield s.replace(first, last, ";")


OPERATORS: list[Callable[[Source], Iterator[Edit]]] = [
    barrier, comparison, constant, arithmetic, bits, operands, arguments, sibling, condition, logic, shuffle, narrow,
    initial, flow, accumulate, store,
]  # fmt: skip


def mutants(file: str, text: str) -> list[Mutant]:
    """All mutants of a file, in the order of its lines, each text once."""
    source, found = Source(text), {}
    for operator in OPERATORS:
        for start, end, new in operator(source):
            if text[start:end] == new or (start, end, new) in found:
                continue
            changed = text[:start] + new + text[end:]
            begin, stop = text.rfind("\n", 0, start) + 1, text.find("\n", end)
            old = " ".join(text[begin:stop].split())
            after = " ".join(changed[begin : stop + len(changed) - len(text)].split())
            number = text.count("\n", 0, start) + 1
            found[start, end, new] = Mutant(file, operator.__name__, start, end, new, number, old, after)
    return sorted(found.values(), key=lambda mutant: (mutant.line, mutant.start, mutant.operator, mutant.new))
