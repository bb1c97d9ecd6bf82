import inspect
import pkgutil
import runpy
from pathlib import Path

import kiyome
from kiyome.cli import VERBS

DOCS = Path(__file__).parents[1] / "docs"


def test_the_front_door_is_sorted_and_whole() -> None:
    assert kiyome.__all__ == sorted(kiyome.__all__)
    assert all(getattr(kiyome, name).__doc__ for name in kiyome.__all__)


def test_signatures_are_as_short_as_in_the_source() -> None:
    """A notebook shows `labels: 'ArrayLike'`, not the ten lines that numpy means by it."""
    functions = [each for name in kiyome.__all__ if inspect.isfunction(each := getattr(kiyome, name))]
    for function in functions:
        for parameter in inspect.signature(function).parameters.values():
            assert len(str(parameter.replace(default=parameter.empty))) < 90, (function, parameter)
    assert "ArrayLike" in str(inspect.signature(kiyome.find_label_issues))


def test_every_verb_has_its_function_and_no_module_hides_it() -> None:
    functions = {"_".join(reversed(name.replace("-", "_").split())) for name in VERBS}
    assert functions <= set(kiyome.__all__)
    assert not set(kiyome.__all__) & {module.name for module in pkgutil.iter_modules(kiyome.__path__)}


def test_the_reference_says_what_the_source_says() -> None:
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert page == runpy.run_path(str(DOCS / "make_reference.py"))["reference"](), (
        "python docs/make_reference.py"
    )
