"""What names, annotations and attributes of the source mean."""

import ast
import builtins
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from tests.source.kinds import (
    NOTHING,
    OUTSIDE,
    UNKNOWN,
    Class,
    Function,
    Instance,
    Many,
    Module,
    Outside,
    Type,
    Types,
    Unknown,
    union,
)
from tests.source.modules import Definition, Sources


class Symbols:
    """What names, annotations and attributes mean."""

    def __init__(self, sources: Sources, read: "Callable[[Symbols, str, str, Definition, ast.expr], Types]") -> None:
        """`read` says what an expression in a method may be: of module, class, method, expression."""
        self.sources = sources
        self._read = read
        self.name = cache(self._name)
        self.bases = cache(self._bases)
        self.lineage = cache(self._lineage)
        self.methods = cache(self._methods)
        self.method = cache(self._method)
        self.fits = cache(self._fits)
        self._fields: dict[tuple[str, str], Types] = {}
        self._aliases: set[tuple[str, str]] = set()

    def _name(self, module: str, name: str) -> Types:
        """A name at the top of a module."""
        source = self.sources.of(module)
        if source is None:
            return frozenset({Outside(name)})
        found = frozenset({Outside(name)}) if hasattr(builtins, name) else NOTHING
        match source.names.get(name):
            case ast.ClassDef():
                found = frozenset({Class(f"{module}:{name}")})
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found = frozenset({Function(f"{module}:{name}")})
            case ast.Import() | ast.ImportFrom() as statement:
                found = self.imported(statement)[name]
            case ast.AnnAssign() as statement:
                found = self.annotation(statement.annotation, module)
            case ast.Assign() as statement:
                found = self._value(module, name, statement.value)
            case None if self.sources.of(f"{module}.{name}"):
                found = frozenset({Module(f"{module}.{name}")})
        return found

    def _value(self, module: str, name: str, value: ast.expr) -> Types:
        """What a module's constant holds, as far as types go: parts made or named there."""
        if (module, name) in self._aliases:
            return NOTHING
        self._aliases.add((module, name))
        match value:
            case ast.Call(func=function):
                return self.result(self.annotated_value(function, module))
            case ast.Name() | ast.Attribute():
                return self.annotated_value(value, module)
            case ast.Subscript() | ast.BinOp(op=ast.BitOr()):
                return self.annotation(value, module)
        return OUTSIDE

    def annotated_value(self, value: ast.expr, module: str) -> Types:
        """Names and dotted names as values."""
        match value:
            case ast.Name(id=name):
                return self.name(module, name)
            case ast.Attribute(value=base, attr=attribute):
                return union(self.attribute(one, attribute) for one in self.annotated_value(base, module))
        return OUTSIDE

    def imported(self, statement: ast.Import | ast.ImportFrom) -> Mapping[str, Types]:
        """The names that an import binds."""
        bound: dict[str, Types] = {}
        for alias in statement.names:
            if isinstance(statement, ast.Import):
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                ours = self.sources.of(name)
                bound[alias.asname or name] = frozenset({Module(name) if ours else Outside(name)})
            else:
                bound[alias.asname or alias.name] = self.name(statement.module or "", alias.name)
        return bound

    def annotation(self, node: ast.expr | None, module: str, inside: str | None = None) -> Types:
        """What values an annotation allows. `inside` is the class it stands in, for Self."""
        found = OUTSIDE  # None, or a value of Literal
        match node:
            case None:
                found = UNKNOWN
            case ast.Constant(value=str(text)):
                found = self.annotation(ast.parse(text, mode="eval").body, module, inside)
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                found = self.annotation(left, module, inside) | self.annotation(right, module, inside)
            case ast.Subscript():
                found = self._subscript(node, module, inside)
            case ast.Name(id="Self") if inside:
                found = frozenset({Instance(inside)})
            case ast.Name(id=name) if name != "object":
                found = union(map(self._instance, self.annotated_value(node, module))) or UNKNOWN
            case ast.Attribute():
                found = union(map(self._instance, self.annotated_value(node, module))) or UNKNOWN
        return found

    def _subscript(self, node: ast.Subscript, module: str, inside: str | None) -> Types:
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        match node.value:
            case ast.Name(id="Literal"):
                return OUTSIDE
            case ast.Name(id="Annotated" | "Optional" | "type" | "ClassVar" | "Final"):
                return self.annotation(inner[0], module, inside)
        places = tuple(self.annotation(one, module, inside) for one in inner if not isinstance(one, ast.List))
        is_tuple = isinstance(node.value, ast.Name) and node.value.id == "tuple"
        ours = {one for one in self.annotation(node.value, module, inside) if isinstance(one, Instance)}
        return frozenset({Many(places, is_tuple and Ellipsis not in map(_constant, inner)), *ours})

    @staticmethod
    def _instance(one: Type) -> Types:
        match one:
            case Class(name=name):
                return frozenset({Instance(name)})
            case Function() | Module():
                return NOTHING
        return frozenset({one})

    def definition(self, name: str) -> ast.AST | None:
        """The tree of `module:Name`, `module:name` or `module:Class.name`."""
        module, _, inner = name.partition(":")
        source = self.sources.of(module)
        outer, _, method = inner.partition(".")
        found = source.names.get(outer) if source else None
        if method and isinstance(found, ast.ClassDef):
            return self.methods(f"{module}:{outer}").get(method)
        return None if method else found

    def _bases(self, name: str) -> Sequence[Type]:
        tree = self.definition(name)
        module = name.partition(":")[0]
        found: list[Type] = []
        for base in tree.bases if isinstance(tree, ast.ClassDef) else ():
            inner = base.value if isinstance(base, ast.Subscript) else base
            found += self.annotated_value(inner, module) or [Outside(ast.unparse(inner))]
        return found

    def _lineage(self, name: str) -> Sequence[str]:
        """The class and its bases of the project, nearest first."""
        found = [name]
        for base in self.bases(name):
            if isinstance(base, Class):
                found += [one for one in self.lineage(base.name) if one not in found]
        return found

    def _methods(self, name: str) -> Mapping[str, Definition]:
        """The class's own methods."""
        module, _, inner = name.partition(":")
        source = self.sources.of(module)
        tree = source.names.get(inner) if source else None
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        return {one.name: one for one in body if isinstance(one, Definition)}

    def is_protocol(self, name: str) -> bool:
        return any(isinstance(base, Outside) and base.name == "Protocol" for base in self.bases(name))

    def _fits(self, made: str, wanted: str) -> bool:
        """Whether one of class `made` may stand where `wanted` is asked for."""
        if wanted in self.lineage(made):
            return True
        if not self.is_protocol(wanted):
            return False
        asked = {name: tree for one in self.lineage(wanted) for name, tree in self.methods(one).items()}
        return all(_answers(self._tree(made, name), tree) for name, tree in asked.items())

    def _tree(self, name: str, attribute: str) -> ast.AST | None:
        method = self.method(name, attribute)
        return self.definition(method.name) if method else None

    def _method(self, name: str, attribute: str) -> Function | None:
        """The method as a class has it, from itself or a base."""
        for one in self.lineage(name):
            if attribute in self.methods(one):
                return Function(f"{one}.{attribute}")
        return None

    def attribute(self, one: Type, attribute: str) -> Types:
        """What `x.attribute` is, without regard to which classes fit."""
        found = OUTSIDE
        match one:
            case Module(name=name):
                found = self.name(name, attribute)
            case Class(name=name) | Instance(name=name):
                method = self.method(name, attribute)
                found = frozenset({method}) if method else self.field(name, attribute)
                is_property = method and decorators(self.definition(method.name)) & {"property", "cached_property"}
                if is_property and isinstance(one, Instance):
                    found = self.result(found)
            case Many() | Unknown():
                found = frozenset({one})
        return found

    def field(self, name: str, attribute: str) -> Types:
        """What a class's attribute holds; nothing while that is being found out."""
        if (name, attribute) not in self._fields:
            self._fields[name, attribute] = NOTHING
            self._fields[name, attribute] = self._field(name, attribute)
        return self._fields[name, attribute]

    def _field(self, name: str, attribute: str) -> Types:
        for one in self.lineage(name):
            tree, module = self.definition(one), one.partition(":")[0]
            for statement in tree.body if isinstance(tree, ast.ClassDef) else ():
                match statement:
                    case ast.AnnAssign(target=ast.Name(id=target), annotation=kind) if target == attribute:
                        return self.annotation(kind, module, one)
                    case ast.Assign(targets=[ast.Name(id=target)]) if target == attribute:
                        return OUTSIDE
            found = [self._assigned(one, method, attribute) for method in self.methods(one).values()]
            if any(found):
                return union(found)
        outside = any(isinstance(base, Outside) for one in self.lineage(name) for base in self.bases(one))
        return OUTSIDE if outside else UNKNOWN

    def _assigned(self, name: str, method: Definition, attribute: str) -> Types:
        """What a method puts into `self.attribute`, from its annotation or the parameter that it is."""
        module = name.partition(":")[0]
        found: list[Types] = []
        for node in ast.walk(method):
            match node:
                case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=target), annotation=kind):
                    found += [self.annotation(kind, module, name)] if target == attribute else []
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=target)], value=value):
                    found += [self._read(self, module, name, method, value)] if target == attribute else []
        return union(found)

    def result(self, called: Types) -> Types:
        """What a call gives."""
        return union(map(self._result, called))

    def _result(self, one: Type) -> Types:
        found = OUTSIDE
        match one:
            case Class(name=name):
                found = frozenset({Instance(name)})
            case Function(name=name):
                tree, module, owner = self.definition(name), *owner_of(name)
                found = self.annotation(tree.returns, module, owner) if isinstance(tree, Definition) else UNKNOWN
            case Many(places=places):
                found = frozenset({one}).union(*places)
            case Instance(name=name):
                method = self.method(name, "__call__")
                found = self.result(frozenset({method})) if method else OUTSIDE
            case Unknown():
                found = UNKNOWN
        return found


def owner_of(function: str) -> tuple[str, str | None]:
    """A function's module, and the class that it is a method of."""
    module, _, inner = function.partition(":")
    return module, f"{module}:{inner.rpartition('.')[0]}" if "." in inner else None


def _answers(made: ast.AST | None, asked: Definition) -> bool:
    """Whether a method takes the arguments that a protocol's method is called with, by their names."""
    if not isinstance(made, Definition):
        return False
    takes = {one.arg for one in (*made.args.args, *made.args.kwonlyargs)}
    return made.args.kwarg is not None or {one.arg for one in (*asked.args.args, *asked.args.kwonlyargs)} <= takes


def _constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def decorators(tree: ast.AST | None) -> set[str]:
    """The last names of a definition's decorators."""
    found = set()
    for one in getattr(tree, "decorator_list", ()):
        bare = one.func if isinstance(one, ast.Call) else one
        found.add(bare.attr if isinstance(bare, ast.Attribute) else getattr(bare, "id", ""))
    return found


def parameters(symbols: Symbols, tree: Definition | ast.Lambda, module: str, owner: str | None) -> dict[str, Types]:
    """What a function's parameters may be."""
    given = [*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs]
    bound = {one.arg: symbols.annotation(one.annotation, module, owner) for one in given}
    for one in (tree.args.vararg, tree.args.kwarg):
        if one is not None:
            bound[one.arg] = frozenset({Many((symbols.annotation(one.annotation, module, owner),))})
    if owner and isinstance(tree, Definition) and given and "staticmethod" not in decorators(tree):
        of_class = "classmethod" in decorators(tree)
        bound[given[0].arg] = frozenset({Class(owner) if of_class else Instance(owner)})
    return bound
