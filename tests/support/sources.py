"""What the source of a revision says without being run."""

import ast
from collections.abc import Iterable, Iterator


def imported_modules(module: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def built_statements(module: ast.Module) -> Iterator[str]:
    """Where a string is put together from anything but constants: f-strings anywhere, `%`, `+` and `format` in SQL."""
    constants = _constants(module)
    for node in ast.walk(module):
        built: Iterable[ast.AST] = [node] if isinstance(node, ast.JoinedStr) else _built_arguments(node)
        for each in built:
            if not _is_constant(each, constants):
                yield f"line {node.lineno}: {ast.unparse(each)}"  # type: ignore[attr-defined]


def _built_arguments(node: ast.AST) -> Iterator[ast.AST]:
    """Of `op.execute(…)` and `text(…)`."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {"execute", "text"}:
        for argument in node.args:
            for part in ast.walk(argument):
                formatted = isinstance(part, ast.Call) and ast.unparse(part.func).endswith(".format")
                if formatted or isinstance(part, ast.BinOp):
                    yield part


def _constants(module: ast.Module) -> set[str]:
    """Names that are bound to constants, or in a loop to the elements of one."""
    names: set[str] = set()
    while True:
        found = {
            name.id
            for target, value in _bindings(module)
            if _is_constant(value, names)
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
        if found <= names:
            return names
        names |= found


def _bindings(module: ast.Module) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Assign):
            yield from ((target, node.value) for target in node.targets)
        elif isinstance(node, ast.For | ast.comprehension):
            yield node.target, node.iter


def _is_constant(node: ast.AST, names: set[str]) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name):
            return name in names
        case ast.Call(func=ast.Attribute(value=receiver), args=arguments, keywords=keywords):
            parts: list[ast.AST] = [receiver, *arguments, *(keyword.value for keyword in keywords)]
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.FormattedValue(value=value):
            parts = [value]
        case ast.JoinedStr(values=elements) | ast.Tuple(elts=elements) | ast.List(elts=elements):
            parts = list(elements)
        case _:
            return False
    return all(_is_constant(part, names) for part in parts)
