"""A recipe compiled to one SELECT.

The SELECT is a stack of layers. Each step writes its column's next value as a column of its own in the first layer
where what it reads is there; so an expression may name its column several times without growing into the next
one, and the depth is that of the most worked-on column, not the recipe's length. Nearly every expression reads one
column, which lets the engine compute it once for each distinct value of a dictionary.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from city_platform.cleaning.conditions import Condition
from city_platform.cleaning.operation import Effect
from city_platform.cleaning.recipe import Recipe, Step
from city_platform.contracts.model import Contract
from city_platform.engines.dialect import Dialect, UntypedValue

_REMOVED, _ROW = "_removed", "_row"

_REASONS = {
    "TINYINT": "not a whole number from -128 to 127",
    "SMALLINT": "not a whole number from -32,768 to 32,767",
    "INTEGER": "not a whole number from -2,147,483,648 to 2,147,483,647",
    "BIGINT": "not a whole number of at most 18 digits",
    "FLOAT": "not a number",
    "DOUBLE": "not a number",
    "DECIMAL": "not a number that fits",
    "BOOLEAN": "neither true nor false",
    "DATE": "not a calendar date as YYYY-MM-DD",
    "TIMESTAMP": "not a date and time as YYYY-MM-DDTHH:MM:SS",
    "TIMESTAMP WITH TIME ZONE": "not a date and time as YYYY-MM-DDTHH:MM:SS with or without an offset",
}


def cleaning_select(
    recipe: Recipe,
    contract: Contract,
    dialect: Dialect,
    present: Mapping[str, str],
    relation: str,
    *,
    source_index: int,
    columns: Collection[str] | None = None,
    keyed: str | None = None,
) -> str:
    """The query that cleans `relation`: the rows of one source, all text under its own headers, and `_row`.

    `present` maps a contract column's source name to the header the file uses; a column the file lacks is null.
    Columns out: the contract's under their cleaned names with their types; `_source` INTEGER, always
    `source_index`; `_row` BIGINT; `_untyped`, a list of (column, value, reason) or null; `_removed`, null or the
    step that removes the row. As many rows out as in. A blank text is no value: it comes out as null.

    With `columns` only those of the contract come out, and `_untyped` does not: the engine then plans and computes
    no more than these need.

    Where `recipe.needs_secret`, `keyed` names the function of (purpose, secret, value) that
    `protection.keyed.register_keyed` made.
    """
    if keyed is None and recipe.needs_secret:
        raise ValueError(f"the recipe of {contract.name} needs a secret: register the function and name it")
    carriers = {column.source_name: present.get(column.source_name) for column in contract.columns}
    outputs = {one.name: one.sql_type for one in contract.columns if columns is None or one.name in columns}
    stack = _Stack(carriers, dialect, keyed)
    stack.add_all(recipe.steps)
    return stack.select(relation, source_index, outputs, contract.timezone, lists_untyped=columns is None)


def steps_select(
    steps: Sequence[Step],
    columns: Collection[str],
    outputs: Mapping[str, str],
    dialect: Dialect,
    relation: str,
    *,
    timezone: str,
    keyed: str | None = None,
) -> str:
    """The query that runs steps over `relation`, which holds `columns` as text and `_row`, without any contract.

    `outputs` are the columns that come out and their SQL types; beside them come what `cleaning_select` adds.
    """
    stack = _Stack({name: name for name in columns}, dialect, keyed)
    stack.add_all(steps)
    return stack.select(relation, 0, outputs, timezone, lists_untyped=True)


class _Stack:
    """The layers while they are built. A column's every value is a version, known by a name of its own: `c0`, `c1`…

    `carriers` are the columns before the first step, each with the relation's column that carries it, if any does.
    """

    def __init__(self, carriers: Mapping[str, str | None], dialect: Dialect, keyed_function: str | None) -> None:
        self.dialect, self.keyed_function = dialect, keyed_function
        self.layers: list[dict[str, str]] = [{}]  # each: the versions made there -> SQL
        self.made_in: dict[str, int] = {_ROW: 0}
        self.reads: dict[str, tuple[str, ...]] = {_ROW: ()}
        self.read_until: dict[str, int] = {}  # a version -> the last layer that reads it
        self.current: dict[str, str] = {}  # the recipe's name of a column -> its newest version
        for name, carrier in carriers.items():
            sql = dialect.name(carrier) if carrier is not None else dialect.null("VARCHAR")
            self.current[name] = self.make(sql)
        self.removed: str | None = None

    def make(self, sql: str, *reads: str) -> str:
        """A version, in the first layer that stands above everything it reads."""
        layer = max((self.made_in[read] + 1 for read in reads), default=0)
        while len(self.layers) <= layer:
            self.layers.append({})
        for read in reads:
            self._keep(read, layer)
        name = f"c{len(self.made_in)}"
        self.layers[layer][name] = sql
        self.made_in[name] = layer
        self.reads[name] = reads
        return name

    def _keep(self, version: str, layer: int) -> None:
        self.read_until[version] = max(layer, self.read_until.get(version, 0))

    def add_all(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._add(step)

    def _add(self, step: Step) -> None:
        source, target = step.parameters.get("sourceColumn", ""), step.parameters.get("targetColumn", "")
        match step.operation.effect:
            case Effect.RENAMES:
                self.current[target] = self.current.pop(source)
            case Effect.DELETES:
                for name in step.operation.subjects(step.parameters):
                    del self.current[name]
            case Effect.REWRITES | Effect.DERIVES:
                self.current |= self._computed(step) if step.operation.computes else self._rewritten(step)
            case Effect.REMOVES_ROWS:
                self._remove(step)
            case Effect.TYPES | Effect.MOVES:
                pass  # the outputs say the types and the order; the recipe's check held them equal
            case Effect.RESHAPES:
                raise ValueError(f"{step.operation.name} ends a stage: see `reshaping`")

    def _read_by(self, conditions: tuple[Condition, ...]) -> list[str]:
        return [self.current[one.column] for one in conditions]

    def _all_met(self, conditions: tuple[Condition, ...]) -> str:
        return " AND ".join(f"({one.sql(self.dialect, self.current[one.column])})" for one in conditions)

    def _rewritten(self, step: Step) -> dict[str, str]:
        """The next version of each column that the step changes from its own text alone."""
        operation, parameters = step.operation, step.parameters
        subjects = operation.subjects(parameters)
        derives = operation.effect is Effect.DERIVES
        targets = operation.created(parameters) if derives else subjects
        rewrites = operation.rewrites(self.dialect, parameters) if operation.rewrites else ()
        met, reads = (self._all_met(step.conditions), self._read_by(step.conditions)) if step.conditions else ("", [])
        if met and len(rewrites) * len(targets) > 1:
            # The conditions speak of the row as it was before the step, so they are settled before its first change.
            met = self.make(met, *reads)
            reads = [met]
        found = {}
        for subject, target in zip(subjects, targets, strict=True):
            version = self.current[subject]
            for number, rewrite in enumerate(rewrites):
                rewritten = rewrite(version)
                if met:
                    otherwise = self.dialect.null("VARCHAR") if derives and not number else version
                    rewritten = f"CASE WHEN {met} THEN {rewritten} ELSE {otherwise} END"
                version = self.make(rewritten, version, *reads)
            found[target] = version
        return found

    def _computed(self, step: Step) -> dict[str, str]:
        """The next version of each column that the step computes from several columns or rows."""
        table = _Table(self)
        values = step.operation.computes(table, step.parameters) if step.operation.computes else {}
        found = {}
        for name, sql in values.items():
            computed, reads = sql, [*table.reads]
            if step.conditions:
                otherwise = self.current.get(name, self.dialect.null("VARCHAR"))
                computed = f"CASE WHEN {self._all_met(step.conditions)} THEN {sql} ELSE {otherwise} END"
                reads += [
                    *self._read_by(step.conditions),
                    *(self.current[one] for one in (name,) if one in self.current),
                ]
            found[name] = self.make(computed, *dict.fromkeys(reads))
        return found

    def _remove(self, step: Step) -> None:
        table = _Table(self)
        tests = [step.operation.removes(table, step.parameters)] if step.operation.removes else []
        condition = " AND ".join([*tests, *([self._all_met(step.conditions)] if step.conditions else [])])
        reads = [*table.reads, *self._read_by(step.conditions)]
        removal = f"CASE WHEN {condition} THEN {self.dialect.text(step.description)} END"
        if self.removed is not None:
            removal = f"COALESCE({self.removed}, {removal})"
            reads.append(self.removed)
        self.removed = self.make(removal, *dict.fromkeys(reads))

    def select(
        self, relation: str, source_index: int, outputs: Mapping[str, str], timezone: str, *, lists_untyped: bool
    ) -> str:
        name = self.dialect.name
        selected: list[str] = []
        untyped: list[UntypedValue] = []
        kept = [_ROW] + ([self.removed] if self.removed else [])
        for column, sql_type in outputs.items():
            text = self.current[column]
            if _base(sql_type) == "VARCHAR":
                selected.append(f"NULLIF({text}, '') AS {name(column)}")
                kept.append(text)
                continue
            typed = self.make(self._typed(text, sql_type, timezone), text)
            selected.append(f"{typed} AS {name(column)}")
            kept += [text, typed]
            failed = f"({typed} IS NULL AND {text} <> '')"
            reason = f"{_REASONS[_base(sql_type)]} ({sql_type})"
            untyped.append(UntypedValue(column, failed, text, reason))
        selected += [
            f"CAST({source_index} AS INTEGER) AS _source",
            _ROW,
            *([f"{self.dialect.untyped_values(untyped)} AS _untyped"] if lists_untyped else []),
            f"{self.removed or self.dialect.null('VARCHAR')} AS {_REMOVED}",
        ]
        for version in kept:
            self._keep(version, len(self.layers))
        needed = self._needed(kept)
        inner = relation
        for depth, layer in enumerate(self.layers):
            passed = [
                version
                for version, made in self.made_in.items()
                if version in needed and made < depth < self.read_until.get(version, 0)
            ]
            made_here = [f"{sql} AS {version}" for version, sql in layer.items() if version in needed]
            inner = f"(SELECT {', '.join([*(passed if depth else [_ROW]), *made_here])} FROM {inner})"
        return f"SELECT {', '.join(selected)} FROM {inner}"

    def _needed(self, kept: Iterable[str]) -> set[str]:
        """These versions and whatever they are made from."""
        needed: set[str] = set()
        waiting = list(kept)
        while waiting:
            version = waiting.pop()
            if version not in needed:
                needed.add(version)
                waiting += self.reads[version]
        return needed

    def _typed(self, text: str, sql_type: str, timezone: str) -> str:
        match _base(sql_type):
            case "DATE":
                return self.dialect.parse_date(text, ())
            case "TIMESTAMP WITH TIME ZONE":
                return self.dialect.parse_timestamp(text, timezone)
            case "TIMESTAMP":
                return self.dialect.local_time(self.dialect.parse_timestamp(text, timezone), timezone)
            case _:
                return self.dialect.try_cast(text, sql_type)


class _Table:
    """The table as one step finds it; remembers what the step reads."""

    def __init__(self, stack: _Stack) -> None:
        self.stack, self.dialect = stack, stack.dialect
        self.reads: dict[str, None] = {}

    def _read(self, version: str) -> str:
        self.reads[version] = None
        return version

    def column(self, name: str) -> str:
        return self._read(self.stack.current[name])

    def every_column(self) -> list[str]:
        return [self._read(version) for version in self.stack.current.values()]

    @property
    def row(self) -> str:
        return self._read(_ROW)

    @property
    def kept(self) -> str:
        return f"{self._read(self.stack.removed)} IS NULL" if self.stack.removed else "TRUE"

    def keyed(self, purpose: str, secret: str, value: str) -> str:
        given = ", ".join((self.dialect.text(purpose), self.dialect.text(secret), value))
        return f"{self.stack.keyed_function}({given})"

    def value(self, sql: str) -> str:
        return self._read(self.stack.make(sql, *self.reads))


def _base(sql_type: str) -> str:
    return sql_type.upper().partition("(")[0].strip()
