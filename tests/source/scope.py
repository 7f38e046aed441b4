"""Reads one function's, class's or module's code: what its names hold, and what it mentions."""

# ruff: noqa: N815 -- ast.NodeVisitor calls what is named after the node

import ast
from collections.abc import Iterable, Sequence

from tests.source.kinds import (
    NOTHING,
    OUTSIDE,
    UNKNOWN,
    Class,
    Function,
    Instance,
    Many,
    Outside,
    Type,
    Types,
    Unknown,
    union,
)
from tests.source.modules import Definition, is_typing_only
from tests.source.symbols import Symbols, owner_of, parameters

# What hands its arguments on, so that what they are is what comes out.
_PASSING = {"sorted", "list", "tuple", "set", "frozenset", "next", "iter", "enumerate", "zip", "reversed", "min", "max",
            "filter", "dict", "chain", "islice", "map", "partial", "cache", "lru_cache", "replace"}  # fmt: skip


# Decorators that leave it to the code's own lines to call a method.
PLAIN = {"property", "cached_property", "staticmethod", "classmethod", "contextmanager", "cache", "lru_cache",
         "override", "abstractmethod", "dataclass", "setter"}  # fmt: skip


class Scope(ast.NodeVisitor):
    """`visit` gives what an expression may be, and nothing for a statement."""

    def __init__(self, symbols: Symbols, module: str, owner: str | None, bound: dict[str, Types]) -> None:
        self._symbols = symbols
        self._module = module
        self._owner = owner
        self._bound = bound
        self.mentions: set[Type] = set()
        self.calls: set[tuple[Type, str]] = set()  # receiver and the name asked of it
        self.imports: set[str] = set()

    def run(self, body: Iterable[ast.AST]) -> None:
        """What loops is read twice, because its later lines bind names that its earlier ones use."""
        for one in body:
            for _ in range(1 + any(isinstance(node, ast.For | ast.While) for node in ast.walk(one))):
                self.visit(one)

    def generic_visit(self, node: ast.AST) -> Types:
        super().generic_visit(node)
        return OUTSIDE

    def _each(self, nodes: Iterable[ast.AST | None]) -> None:
        for one in nodes:
            if one is not None:
                self.visit(one)

    # Statements

    def visit_If(self, node: ast.If) -> None:
        if not is_typing_only(node):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.imports.update(alias.name for alias in node.names)
        self._bound.update(self._symbols.imported(node))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        inner = (f"{node.module}.{alias.name}" for alias in node.names)
        self.imports.update(name for name in inner if self._symbols.sources.of(name))
        self.imports.add(node.module or "")
        self._bound.update(self._symbols.imported(node))

    def visit_FunctionDef(self, node: Definition) -> None:
        self._each([*node.decorator_list, *node.args.defaults])
        given = self._symbols.annotation(node.returns, self._module, self._owner)
        self._bound[node.name] = frozenset({Many((given,))})
        self._within(node, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> Types:
        return frozenset({Many((self._within(node, [node.body]),))})

    def _within(self, node: Definition | ast.Lambda, body: Sequence[ast.AST]) -> Types:
        """A function within counts as run by the one around it; what its last line may be."""
        own = parameters(self._symbols, node, self._module, None)
        inner = Scope(self._symbols, self._module, self._owner, {**self._bound, **own})
        inner.run(body)
        given = inner.visit(body[-1]) or NOTHING
        self.mentions |= inner.mentions
        self.calls |= inner.calls
        self.imports |= inner.imports
        return given

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._each([*node.bases, *node.decorator_list])
        for one in node.body:
            self._each([*one.decorator_list, *one.args.defaults] if isinstance(one, Definition) else [one])

    def visit_Assign(self, node: ast.Assign) -> None:
        value = self.visit(node.value)
        for target in node.targets:
            self._bind(target, value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        value = self.visit(node.value) if node.value else NOTHING
        declared = self._symbols.annotation(node.annotation, self._module, self._owner)
        self._bind(node.target, declared if declared != OUTSIDE else value | declared)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._bind(node.target, _elements(self.visit(node.iter)))
        self._each([*node.body, *node.orelse])

    visit_AsyncFor = visit_For

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            entered = self._entered(self.visit(item.context_expr))
            if item.optional_vars is not None:
                self._bind(item.optional_vars, entered)
        self._each(node.body)

    visit_AsyncWith = visit_With

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        # The classes that it names are looked for, not made.
        if node.name:
            self._bound[node.name] = OUTSIDE
        self._each(node.body)

    def visit_match_case(self, node: ast.match_case) -> None:
        for pattern in ast.walk(node.pattern):
            name = getattr(pattern, "name", None) or getattr(pattern, "rest", None)
            if isinstance(name, str):
                self._bound.setdefault(name, OUTSIDE)
        self._each([node.guard, *node.body])

    def _bind(self, target: ast.expr, value: Types) -> None:
        match target:
            case ast.Name(id=name):
                before = self._bound.get(name, NOTHING)
                self._bound[name] = before | value if before not in (UNKNOWN, OUTSIDE) else value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for place, part in enumerate(parts):
                    self._bind(part, _place(value, place, len(parts)))
            case ast.Starred(value=inner):
                self._bind(inner, value)
            case _:
                self.visit(target)

    def _entered(self, value: Types) -> Types:
        for one in value:
            if isinstance(one, Instance) and (method := self._symbols.method(one.name, "__enter__")):
                return self._symbols.result(frozenset({method}))
        return _elements(value)

    # Expressions

    def visit_Name(self, node: ast.Name) -> Types:
        bound = self._bound.get(node.id)
        found = self._symbols.name(self._module, node.id) or OUTSIDE if bound is None else bound
        self.mentions |= {one for one in found if isinstance(one, Function | Class)}
        return found

    def visit_Attribute(self, node: ast.Attribute) -> Types:
        base = self.visit(node.value)
        self.calls |= {(one, node.attr) for one in base if isinstance(one, Instance | Unknown)}
        found = union(self._symbols.attribute(one, node.attr) for one in base)
        if not any(isinstance(one, Instance) for one in base):
            self.mentions |= {one for one in found if isinstance(one, Function | Class)}
        return found

    def visit_Call(self, node: ast.Call) -> Types:
        match node.func:
            case ast.Name(id="super"):
                bases = self._symbols.bases(self._owner) if self._owner else ()
                return frozenset({Instance(one.name) for one in bases if isinstance(one, Class)}) or OUTSIDE
            case ast.Name(id="isinstance" | "issubclass"):  # names a class without making one
                self.visit(node.args[0])
                return OUTSIDE
            case ast.Name(id="cast"):
                self.visit(node.args[1])
                return self._symbols.annotation(node.args[0], self._module, self._owner)
        called = self.visit(node.func)
        given = union([*map(self.visit, node.args), *(self.visit(one.value) for one in node.keywords)])
        self.calls |= {(one, "__call__") for one in called if isinstance(one, Instance)}
        if any(isinstance(one, Outside) and one.name in _PASSING for one in called):
            passed = frozenset(one for one in given if not isinstance(one, Outside | Unknown))
            return passed | self._symbols.result(frozenset(one for one in passed if isinstance(one, Function | Many)))
        return self._symbols.result(called)

    def visit_IfExp(self, node: ast.IfExp) -> Types:
        self.visit(node.test)
        return self.visit(node.body) | self.visit(node.orelse)

    def visit_BoolOp(self, node: ast.BoolOp) -> Types:
        return union(map(self.visit, node.values))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Types:
        held = self.visit(node.value)
        self._bind(node.target, held)
        return held

    def visit_Tuple(self, node: ast.Tuple | ast.List | ast.Set) -> Types:
        return frozenset({Many(tuple(map(self.visit, node.elts)), isinstance(node, ast.Tuple))})

    visit_List = visit_Set = visit_Tuple

    def visit_Dict(self, node: ast.Dict) -> Types:
        return frozenset({Many(tuple(self.visit(one) for one in (*node.keys, *node.values) if one))})

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Types:
        self._generators(node.generators)
        return frozenset({Many((self.visit(node.elt),))})

    visit_SetComp = visit_GeneratorExp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> Types:
        self._generators(node.generators)
        return frozenset({Many((self.visit(node.key), self.visit(node.value)))})

    def _generators(self, generators: Sequence[ast.comprehension]) -> None:
        for part in generators:
            self._bind(part.target, _elements(self.visit(part.iter)))
            self._each(part.ifs)

    def visit_Subscript(self, node: ast.Subscript) -> Types:
        self.visit(node.slice)
        found: list[Types] = []
        for one in self.visit(node.value):
            method = self._symbols.method(one.name, "__getitem__") if isinstance(one, Instance) else None
            found.append(self._symbols.result(frozenset({method})) if method else _elements(frozenset({one})))
        return union(found)

    def visit_Starred(self, node: ast.Starred | ast.Await) -> Types:
        return self.visit(node.value)

    visit_Await = visit_Starred


def read_in(symbols: Symbols, module: str, owner: str, method: Definition, value: ast.expr) -> Types:
    """What an expression of a method may be, from the method's parameters."""
    found: Types = Scope(symbols, module, owner, parameters(symbols, method, module, owner)).visit(value)
    return found


def code_of(symbols: Symbols, name: str) -> Scope | None:
    """What a function, or a module's top (`module:`), mentions; None where there is no such code."""
    module, _, inner = name.partition(":")
    source, tree = symbols.sources.of(module), symbols.definition(name) if inner else None
    if source is None or (inner and not isinstance(tree, Definition)):
        return None
    if isinstance(tree, Definition):
        owner = owner_of(name)[1]
        scope = Scope(symbols, module, owner, parameters(symbols, tree, module, owner))
        scope.run(tree.body)
        return scope
    scope = Scope(symbols, module, None, {})
    for one in source.tree.body:
        scope.run([*one.decorator_list, *one.args.defaults] if isinstance(one, Definition) else [one])
    return scope


def _elements(value: Types) -> Types:
    """What comes out where one iterates, takes one out, or enters."""
    return union(union(one.places) if isinstance(one, Many) else frozenset({one}) for one in value)


def _place(value: Types, place: int, of: int) -> Types:
    found = []
    for one in value:
        known = isinstance(one, Many) and one.by_place and len(one.places) == of
        found.append(one.places[place] if known else _elements(frozenset({one})))
    return union(found)
