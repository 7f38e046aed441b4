"""What may be asked of a generator, checked before anything is written."""

from collections.abc import Iterator, Sequence

from city_platform.errors import PermanentError


class InvalidSampleRequest(PermanentError):
    """The parameters make no sample; `problems` lists all of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("no sample is generated: " + "; ".join(self.problems))


def check_request(
    *,
    rows: int,
    seed: int,
    years: Sequence[int],
    known_years: range,
    threads: int | None,
    form: str,
    forms: Sequence[str],
) -> None:
    """Raises InvalidSampleRequest with every problem at once."""
    problems = list(_problems(rows, seed, years, known_years, threads))
    if form not in forms:
        problems.append(f"form {form!r} is not known, use one of {', '.join(forms)}")
    if problems:
        raise InvalidSampleRequest(problems)


def _problems(rows: int, seed: int, years: Sequence[int], known_years: range, threads: int | None) -> Iterator[str]:
    if rows < 0:
        yield f"rows is {rows}, it must be 0 or more"
    if seed < 0:
        yield f"seed is {seed}, it must be 0 or more"
    if threads is not None and threads < 1:
        yield f"threads is {threads}, it must be 1 or more"
    if not years:
        yield "years is empty, name at least one"
    if strange := sorted(set(years) - set(known_years)):
        listed = ", ".join(map(str, strange))
        yield f"years {listed} are outside {known_years.start} to {known_years.stop - 1}, which this form covers"
