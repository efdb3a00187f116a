"""The normal form of source: what is left of it decides, what is not does not."""

from __future__ import annotations

import ast
import time

import pytest
from tests.sources import parsed

from terapose.core.imports import path_of
from terapose.pipeline.code import _ROOT, modules_of
from terapose.pipeline.graph import GRAPH, PLAN
from terapose.pipeline.normal_form import normal_form

MODULES = sorted(modules_of(*(name for stage in (*GRAPH, PLAN) for name in stage.modules)))
"""Those that a stage depends on."""
SOURCE = '''\
"""A module."""

from some import one

# what it is for
A = """not a docstring"""  # but a string
"""An attribute."""


def f(a: int, b: str = "# no comment") -> tuple[int, ...]:
    """A function's."""
    if a:
        log.warning("%s is said", a)
        raise OddError("is odd", got=f"{a} of", kind=one.kind) from None
    return (a,), [b, A], g(b)
'''


class Silenced(ast.NodeTransformer):
    """Replaces texts."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str | bytes) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")


def says(node: ast.stmt) -> bool:
    """Whether a statement only raises, returns an error or logs."""
    call = getattr(node, "value", None)
    name = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
    if isinstance(node, ast.Return):
        return name.endswith("Error") and "." not in name
    is_log = isinstance(node, ast.Expr) and name.partition(".")[0] in ("log", "warnings")
    return isinstance(node, ast.Raise) or is_log


def stripped(tree: ast.Module) -> str:
    """A syntax tree without texts that are only said; an empty body has a ``pass``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and says(node):
            Silenced().visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [statement for statement in body if not _is_string(statement)] or [ast.Pass()]
    return ast.dump(tree)


def _is_string(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def completed(source: str) -> str:
    """Source with a ``pass`` where a body is missing."""
    lines = source.split("\n")
    done = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        depth = len(line) - len(line.lstrip())
        done.append(line)
        if line.endswith(":") and len(after) - len(after.lstrip()) <= depth:
            done.append(" " * (depth + 4) + "pass")
    return "\n".join(done)


@pytest.mark.parametrize("module", MODULES)
def test_it_has_the_syntax_tree_of_the_source(module: str) -> None:
    """So code of one form does the same."""
    path = path_of(module, _ROOT)
    form = normal_form(path.read_text(encoding="utf-8"))
    assert stripped(ast.parse(completed(form))) == stripped(parsed(path))
    assert normal_form(form) == form


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another\n\n"text" of a module: (.\n"""'),
        ('"""An attribute."""', '"""It is \\""" not."""'),
        ('    """A function\'s."""\n', ""),
        ("# what it is for\n", ""),
        ("  # but a string", ""),
        ("import one", "import one  # (noqa"),
        ("import one", "import (\n    one,\n)"),
        ("\n\n\ndef", "\ndef"),
        ("[b, A]", "[\n        b,\n        # a comment\n        A,\n    ]"),
        ("g(b)", "g(\n        b,\n    )"),
        ('"%s is said"', '"%s is "\n            "said otherwise"'),
        ('"is odd"', '"is #odd"'),
        ('f"{a} of"', '"some"'),
        (
            'f(a: int, b: str = "# no comment")',
            'f(\n    a: int,  # ]\n    b: str = "# no comment",\n)',
        ),
    ],
)
def test_what_is_said_and_how_it_is_wrapped_is_left_out(old: str, new: str) -> None:
    assert old in SOURCE
    assert normal_form(SOURCE.replace(old, new)) == normal_form(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("not a docstring", "another string"),
        ("# no comment", "# a comment"),
        ("(a,)", "(\n        a\n    )"),
        ("[b, A]", "[\n        A,\n        b,\n    ]"),
        ("import one", "import two"),
        ("    return", "    if a:\n        return"),
        ('    """A function\'s."""\n', "    pass\n"),
        ("OddError", "EvenError"),
        ("kind=one.kind", "kind=one.sort"),
        ("raise OddError", "return OddErrors"),
    ],
)
def test_what_it_does_is_kept(old: str, new: str) -> None:
    assert old in SOURCE
    assert normal_form(SOURCE.replace(old, new)) != normal_form(SOURCE)


def test_a_tuple_of_one_stays_one() -> None:
    for one in ("(\n    a,\n)", "x[\n    a,\n]"):
        source = f"b = {one}\n"
        assert ast.dump(ast.parse(normal_form(source))) == ast.dump(ast.parse(source))


def test_lines_of_a_statement_need_no_bracket() -> None:
    assert normal_form("a = 1 + \\\n2\n") == "a = 1 +  2"


def test_it_takes_a_moment() -> None:
    """Each task waits for it, with all that its stage imports: 35 ms on a small server."""
    sources = [
        path_of(m, _ROOT).read_text(encoding="utf-8") for m in modules_of("stages.gradients")
    ]
    taken = []
    for _ in range(3):
        begin = time.thread_time()
        for source in sources:
            normal_form(source)
        taken.append(time.thread_time() - begin)
    assert min(taken) < 0.5
