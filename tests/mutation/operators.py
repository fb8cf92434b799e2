"""
The mutants of a Python module or of the SQL of a backend: one small mistake each.

A mutant changes bytes of the source where they stand, so that every line keeps its number.

What is not mutated: annotations and `TYPE_CHECKING` blocks, which do nothing at run time; docstrings,
decorators and `__all__`, which type checkers and the tests in `tests/house` hold; and `assert`, which
states what only we ourselves could break.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from attrs import frozen

#: An operator and what stands in its place: the neighbour that is one off, and the opposite.
COMPARED = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
COMPUTED = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitOr: "&",
    ast.BitAnd: "|",
    ast.LShift: ">>",
}
#: Names that mean the opposite, of functions and of methods.
CALLED = {
    "all": "any",
    "any": "all",
    "max": "min",
    "min": "max",
    "endswith": "startswith",
    "startswith": "endswith",
    "appendleft": "append",
    "isascii": "isprintable",
    "isprintable": "isascii",
}


@frozen(kw_only=True)
class Mutant:
    """One mistake: `new` in the place of what lies between two offsets of the file."""

    #: The file, from the root of the project.
    path: str
    #: What it is called; the same as long as its own few words and their function stay as they are.
    key: str
    start: int
    end: int
    new: bytes
    #: The first and the last line of the statement that it is in.
    lines: tuple[int, int]

    def applied(self, source: bytes) -> bytes:
        """Return the source with the mistake."""
        return source[: self.start] + self.new + source[self.end :]


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Return every mutant of a file, in the order of the file."""
    found = _sql(source) if path.endswith(".sql") else _Python(source).changes()
    seen: Counter[str] = Counter()
    made: list[Mutant] = []
    for where, start, end, new, lines in found:
        old = source[start:end]
        if old == new:
            continue
        key = f"{path}::{where}: {_brief(old)} -> {_brief(new)}"
        seen[key] += 1
        if seen[key] > 1:
            key += f" #{seen[key]}"
        made.append(Mutant(path=path, key=key, start=start, end=end, new=new, lines=lines))
    return made


def _brief(code: bytes) -> str:
    words = " ".join(code.decode().split())
    return words if len(words) <= 70 else f"{words[:50]} ... {words[-15:]}"


#: Where (function or statement), start, end, replacement, lines.
Change = tuple[str, int, int, bytes, tuple[int, int]]


class _Python:
    """The changes of one module."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.where: list[str] = []
        self.lines = (1, 1)

    def changes(self) -> Iterator[Change]:
        yield from self.body(ast.parse(self.source).body)

    def span(self, node: ast.AST) -> tuple[int, int]:
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def text(self, node: ast.AST) -> bytes:
        start, end = self.span(node)
        return self.source[start:end]

    def change(self, start: int, end: int, new: bytes | str) -> Change:
        new = new.encode() if isinstance(new, str) else new
        # A replacement of several lines keeps their number.
        missing = self.source.count(b"\n", start, end) - new.count(b"\n")
        where = ".".join(self.where) or "module"
        return where, start, end, new + b"\\\n" * missing, self.lines

    def instead(self, node: ast.AST, new: bytes | str) -> Change:
        return self.change(*self.span(node), new)

    # Statements

    def body(self, statements: list[ast.stmt]) -> Iterator[Change]:
        for statement in statements:
            self.lines = statement.lineno, statement.end_lineno or statement.lineno
            yield from self.statement(statement)

    def statement(self, node: ast.stmt) -> Iterator[Change]:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield from self.named(node)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Assert() | ast.Import():
                return
            case ast.ImportFrom() | ast.Pass() | ast.Global() | ast.Nonlocal():
                return
            case ast.If() | ast.While():
                self.lines = node.lineno, node.test.end_lineno
                yield from self.condition(node.test)
                yield from self.body(node.body)
                yield from self.body(node.orelse)
            case ast.For() | ast.With() | ast.Try():
                yield from self.block(node)
            case ast.Match():
                raise NotImplementedError("no rule for `match` yet")
            case _:
                yield from self.simple(node)

    def named(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ) -> Iterator[Change]:
        self.where.append(node.name)
        if not isinstance(node, ast.ClassDef):
            self.lines = node.lineno, node.body[0].lineno - 1
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    yield from self.expression(default)
        yield from self.body(node.body)
        self.where.pop()

    def block(self, node: ast.For | ast.With | ast.Try) -> Iterator[Change]:
        if isinstance(node, ast.For):
            self.lines = node.lineno, node.iter.end_lineno
            yield from self.expression(node.iter)
        elif isinstance(node, ast.With):
            self.lines = node.lineno, node.body[0].lineno - 1
            for item in node.items:
                yield from self.expression(item.context_expr)
        yield from self.body(node.body)
        for handler in getattr(node, "handlers", ()):
            self.lines = handler.lineno, handler.lineno
            caught = handler.type
            if isinstance(caught, ast.Tuple):
                for one in caught.elts:
                    others = [self.text(other) for other in caught.elts if other is not one]
                    yield self.instead(caught, b"(" + b", ".join(others) + b",)")
            elif caught is not None:
                yield self.instead(caught, "()")
            yield from self.body(handler.body)
        for others in ("orelse", "finalbody"):
            yield from self.body(getattr(node, others, []))

    def simple(self, node: ast.stmt) -> Iterator[Change]:  # noqa: C901, PLR0912 -- a table
        match node:
            case ast.Expr(value=ast.Constant()):
                return  # a docstring
            case ast.Expr(value=ast.Yield(value=None)):
                return
            case ast.Raise() | ast.Delete() | ast.Expr():
                yield self.instead(node, "pass")
            case ast.Continue():
                yield self.instead(node, "break")
            case ast.Break():
                yield self.instead(node, "continue")
            case ast.Return(value=None):
                yield self.instead(node, "pass")
            case ast.Return(value=value) if not _is_none(value):
                yield self.instead(value, "None")
            case ast.AugAssign():
                start, end = self.span(node.target)[1], self.span(node.value)[0]
                yield self.change(start, end, " = ")
                yield self.change(start, end, f" {COMPUTED[type(node.op)]}= ")
            case ast.Assign(targets=[ast.Name(id="__all__" | "__slots__"), *_]):
                return
            case ast.Assign(value=value) | ast.AnnAssign(value=value):
                if value is None or _is_type_alias(node):
                    return
                if not _is_none(value) and not isinstance(value, ast.Constant):
                    yield self.instead(value, "None")
            case _:
                pass
        # A message and a class name in what is raised are mutated too.
        for part in ("exc", "value"):
            if isinstance(inner := getattr(node, part, None), ast.expr):
                yield from self.expression(inner)

    # Expressions

    def condition(self, node: ast.expr) -> Iterator[Change]:
        """A truth that decides: its opposite, unless its own operators have one."""
        if not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
            yield self.instead(node, b"(not (" + self.text(node) + b"))")
        yield from self.expression(node)

    def expression(self, node: ast.expr) -> Iterator[Change]:
        yield from self.own(node)
        if isinstance(node, ast.Lambda):
            for default in node.args.defaults:
                yield from self.expression(default)
            yield from self.expression(node.body)
            return
        if isinstance(node, ast.JoinedStr):
            return  # positions inside an f-string are exact only since Python 3.12
        for child in ast.iter_child_nodes(node):
            yield from self.child(node, child)

    def child(self, node: ast.expr, child: ast.AST) -> Iterator[Change]:
        if isinstance(child, ast.comprehension):
            yield from self.expression(child.iter)
            for test in child.ifs:
                yield from self.condition(test)
        elif isinstance(child, ast.keyword):
            yield from self.expression(child.value)
        elif isinstance(child, ast.expr):
            if isinstance(node, ast.BoolOp) or (isinstance(node, ast.IfExp) and child is node.test):
                yield from self.condition(child)
            else:
                yield from self.expression(child)

    def own(self, node: ast.expr) -> Iterator[Change]:  # noqa: C901, PLR0912 -- a table
        match node:
            case ast.Constant(value=value):
                yield from self.constant(node, value)
            case ast.JoinedStr():
                yield self.instead(node, '"mutated"')
            case ast.Compare():
                for op, (left, right) in zip(
                    node.ops, pairwise([node.left, *node.comparators]), strict=True
                ):
                    for new in COMPARED[type(op)]:
                        yield self.between(left, right, f" {new} ")
            case ast.BoolOp():
                new = "or" if isinstance(node.op, ast.And) else "and"
                for left, right in pairwise(node.values):
                    yield self.between(left, right, f" {new} ")
            case ast.BinOp():
                yield self.between(node.left, node.right, f" {COMPUTED[type(node.op)]} ")
                if isinstance(node.op, ast.BitOr):
                    yield self.instead(node, self.text(node.left))
                    yield self.instead(node, self.text(node.right))
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                yield self.instead(node, b"(" + self.text(node.operand) + b")")
            case ast.IfExp():
                yield self.instead(node, b"(" + self.text(node.body) + b")")
                yield self.instead(node, b"(" + self.text(node.orelse) + b")")
            case ast.Call():
                yield from self.call(node)
            case _:
                pass

    def between(self, left: ast.expr, right: ast.expr, new: str) -> Change:
        """The operator between two operands, with the brackets that stand around it."""
        start, end = self.span(left)[1], self.span(right)[0]
        old = self.source[start:end].decode()
        found = re.fullmatch(
            r"(?P<before>[\s)]*)(?P<op>[^\s()#]+(?: (?:not|in))?)(?P<after>.*)", old, re.DOTALL
        )
        assert found is not None, old
        space = "" if found["before"][-1:].isspace() else " "
        return self.change(
            start, end, f"{found['before']}{space}{new.strip()} {found['after'].lstrip(' ')}"
        )

    def constant(self, node: ast.Constant, value: object) -> Iterator[Change]:
        match value:
            case bool():
                yield self.instead(node, str(not value))
            case int():
                yield self.instead(node, str(value + 1))
            case float():
                yield self.instead(node, repr(value + 1.0))
            case str():
                yield self.instead(node, '"mutated"' if not value or len(value) > 1 else '"\\0"')
            case bytes():
                yield self.instead(node, 'b"mutated"')
            case _:
                pass

    def call(self, node: ast.Call) -> Iterator[Change]:
        match node.func:
            case ast.Name(id=name) if name in CALLED:
                yield self.instead(node.func, CALLED[name])
            case ast.Attribute(value=owner, attr=name) if name in CALLED:
                yield self.change(self.span(owner)[1], self.span(node.func)[1], f".{CALLED[name]}")
            case _:
                pass
        # An argument that somebody forgot to pass.
        given = sorted([*node.args, *(one.value for one in node.keywords)], key=self.span)
        for one in node.keywords:
            if one.arg is None:
                continue
            start, end = self.span(one)
            follows = re.compile(rb"\s*,\s*").match(self.source, end)
            if follows and one.value is not given[-1]:
                end = follows.end()
            yield self.change(
                start, end, b"" if end != self.span(one)[1] or len(given) == 1 else b"**{}"
            )


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_type_alias(node: ast.Assign | ast.AnnAssign) -> bool:
    """A hint with a name: no value is computed."""
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.annotation) == "TypeAlias"
    return (
        isinstance(node.value, ast.Subscript)
        and isinstance(node.value.value, ast.Name)
        and (node.value.value.id in {"Annotated", "Callable", "Literal", "tuple", "dict"})
    )


#: What may go wrong in a statement of SQL.
_SQL_RULES = [
    (re.compile(old), new)
    for old, new in (
        (rb"<=", b"<"),
        (rb"<=", b">"),
        (rb">=", b">"),
        (rb"(?<![<>=])>(?![=])", b">="),
        (rb"(?<![<>=])>(?![=])", b"<"),
        (rb"<>", b"="),
        (rb"\bIS NOT NULL\b", b"IS NULL"),
        (rb"\bIS NULL\b", b"IS NOT NULL"),
        (rb"\bNOT EXISTS\b", b"EXISTS"),
        (rb"\bAND\b(?! 1000000000)", b"OR"),
        (rb"\bOR\b(?! REPLACE)", b"AND"),
        (rb" AND [a-z_]+ (?:=|<=|>|>=|<>) (?::\w+|'')(?! AS)", b""),
        (rb" AND \(token IS NULL OR due <= :now\)", b""),
        (rb" AND id IN \(SELECT value FROM json_each\(:ids\)\)", b""),
        (rb"WHERE token = :token AND ", b"WHERE "),
        (rb"WHERE number > :after\b", b"WHERE true"),
        (rb"(?m)^LIMIT :limit", b""),
        (rb"LIMIT 1\b", b"LIMIT 2"),
        (rb"ORDER BY (\w+)", rb"ORDER BY \1 DESC"),
        (rb"ORDER BY \w+, ", b"ORDER BY "),
        (rb"(?<=ORDER BY (?:due)), number", b""),
        (rb"\bOR REPLACE\b", b"OR IGNORE"),
        (rb"\bmin\(", b"max("),
        (rb" \+ :\w+", b""),
        (rb"\+ (?=CAST|\()", b"- "),
        (rb"(?m)^(    |SET )(token|shared|parked|alone|due) = (?!CASE)[^,\n]*,\n", rb"\1\n"),
        (rb"CAST\((\w+) AS \w+\)", rb"\1"),
        (rb"\b1000000\b", b"1000001"),
        (rb"\bUNIQUE\b", b""),
        (rb"\bNOT NULL DEFAULT\b", b"DEFAULT"),
        (rb"\bDEFAULT 0\b", b"DEFAULT 1"),
        (rb"shared = 0", b"shared = 1"),
        (rb"\bDO NOTHING\b", b"DO UPDATE SET body = excluded.body"),
        (rb" FILTER \(WHERE [^)]*\)", b""),
        (rb"\bUNION\n", b"UNION ALL\n"),
    )
]
_SQL_STATEMENT = re.compile(rb"(?ms)^-- :(?P<name>\w+)\n(?P<text>.*?)(?=^-- :|\Z)")
_SQL_COMMENT = re.compile(rb"--.*")


def _sql(source: bytes) -> Iterator[Change]:
    for statement in _SQL_STATEMENT.finditer(source):
        name = statement["name"].decode()
        begin = statement.start("text")
        text = _SQL_COMMENT.sub(lambda found: b" " * len(found[0]), statement["text"])
        lines = tuple(source.count(b"\n", 0, at) + 1 for at in statement.span("text"))
        places = (
            (found.start(), found.end(), found.expand(new))
            for old, new in _SQL_RULES
            for found in old.finditer(text)
        )
        for start, end, new in sorted(places):
            yield name, begin + start, begin + end, new, lines
