"""Business names: two words and a legal form, sole proprietors in brackets, and the names that break naive readers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from city_platform.samples.csvtext import cell
from city_platform.samples.draws import Choices, Draw, choices, generator, scaled, strings, take, wheel
from city_platform.samples.words import FAMILY_NAMES, FIRST_WORDS, GIVEN_NAMES, SECOND_WORDS

# Names a cleaned table must carry unharmed, and their shares of all rows.
FORMULAS = ('=HYPERLINK("https://example.org/";"Prices")', "@home", "+1 Catering", "-Nova", "=1+1 Tutoring")
FORMULA_SHARE = 2e-4  # each
BROKEN_LINES = ("Two Lines\nHolding Ltd", "Salt Spring\r\nTextiles Inc", "Attention:\nAccounts Payable")
BROKEN_LINE_SHARE = 2e-4  # each
NON_ASCII = ("Café Été", "Boulangerie Ça Va", "Łódź Delicatessen", "北星小館", "São Jorge Importações", "Phở Sông Hồng",
             "Ærø & Sønner", "Ресторан Заря", "مطعم الزيتون", "Crêperie L'Île")  # fmt: skip
NON_ASCII_SHARE = 3e-4  # each
DELIMITERS = ("Bits; Bobs", 'The "Corner" Shop', "Needle, Thread, Co")
DELIMITER_SHARE = 3e-4  # each
PADDED = ("  Twice  Padded  Goods ", "\tTabbed Traders", "No-Break\u00a0Bakery ")
PADDED_SHARE = 3e-3  # each

_SPECIAL = (
    *((name, FORMULA_SHARE) for name in FORMULAS),
    *((name, BROKEN_LINE_SHARE) for name in BROKEN_LINES),
    *((name, NON_ASCII_SHARE) for name in NON_ASCII),
    *((name, DELIMITER_SHARE) for name in DELIMITERS),
    *((name, PADDED_SHARE) for name in PADDED),
)
_LEGAL_FORMS = ((" Ltd", 38.0), (" Inc", 24.0), (" Corp", 8.0), ("", 14.0), (" Co", 5.0), (" LLP", 3.0),
                (" Society", 4.0), (" Ltd.", 2.0), ("  Ltd ", 1.0), (" Inc. ", 1.0))  # fmt: skip
_TRADE_FORMS = (
    (" Vancouver", 12.0),
    ("", 60.0),
    (" on Main", 6.0),
    (" Kitsilano", 6.0),
    (" & Co", 10.0),
    (" Downtown", 6.0),
)
_COMPANIES = 32_768
_PERSONS = 8_192
_EMPTY, _COMPANY, _PERSON = 0, 1, 2  # kinds of name; the special ones follow


@dataclass(frozen=True, slots=True)
class Names:
    """The stems and endings that the names of all chunks are drawn from."""

    stems: Any  # pyarrow StringArray: "", companies, persons, special names
    first_stem: NDArray[np.int64]  # of each kind
    stem_count: NDArray[np.int64]
    kinds: NDArray[np.int32]  # name columns x 65,536 kinds
    endings: tuple[Choices, Choices]  # of business names, of trade names; no ending is index 0

    def business(self, kind: Draw, stem: Draw, ending: Draw) -> tuple[Any, Any]:
        """BusinessName in two fragments, stem and ending with the delimiter."""
        return self._fragments(0, kind, stem, ending)

    def trade(self, kind: Draw, stem: Draw, ending: Draw) -> tuple[Any, Any]:
        """BusinessTradeName in two fragments, stem and ending with the delimiter."""
        return self._fragments(1, kind, stem, ending)

    def _fragments(self, column: int, kind: Draw, stem: Draw, ending: Draw) -> tuple[Any, Any]:
        kinds = self.kinds[column, kind]
        stems = self.first_stem[kinds] + ((stem * self.stem_count[kinds]) >> 16)
        endings = np.where(kinds == _COMPANY, self.endings[column].indices(ending), 0)
        return take(self.stems, stems), take(self.endings[column].texts, endings)


def names(seed: int, delimiter: str) -> Names:
    """The names of one file."""
    rng = generator(seed, 1)
    companies = _paired(rng.integers(0, 65_536, (2, _COMPANIES), dtype=np.uint16), FIRST_WORDS, SECOND_WORDS, "{} {}")
    persons = _paired(rng.integers(0, 65_536, (2, _PERSONS), dtype=np.uint16), GIVEN_NAMES, FAMILY_NAMES, "({} {})")
    special = [cell(name, delimiter) for name, _ in _SPECIAL]
    counts = np.array([1, len(companies), len(persons), *(1 for _ in special)], dtype=np.int64)
    return Names(
        stems=strings(["", *companies, *persons, *special]),
        first_stem=np.cumsum(counts) - counts,
        stem_count=counts,
        kinds=np.stack([_kinds(empty=0.05, person=0.12), _kinds(empty=0.61, person=0.002)]),
        endings=(_endings(_LEGAL_FORMS, delimiter), _endings(_TRADE_FORMS, delimiter)),
    )


def _kinds(empty: float, person: float) -> NDArray[np.int32]:
    rare = [share for _, share in _SPECIAL]
    return wheel([empty, 1 - empty - person - sum(rare), person, *rare])


def _endings(forms: tuple[tuple[str, float], ...], delimiter: str) -> Choices:
    return choices([(delimiter, 0.0), *((form + delimiter, share) for form, share in forms)])


def _paired(drawn: NDArray[np.uint16], left: tuple[str, ...], right: tuple[str, ...], pattern: str) -> list[str]:
    lefts, rights = scaled(drawn[0], len(left)).tolist(), scaled(drawn[1], len(right)).tolist()
    return [pattern.format(left[one], right[other]) for one, other in zip(lefts, rights, strict=True)]
