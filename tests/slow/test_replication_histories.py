"""Many histories of a lake beside its copy."""

from hypothesis import given, settings

from tests.unit.test_replication import STEPS, history


@settings(max_examples=150)
@given(steps=STEPS)
def test_after_any_of_many_histories_the_copy_is_what_it_should_be(steps: list[tuple[str, object]]) -> None:
    history(steps)
