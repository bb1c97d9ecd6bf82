"""The shape of the source: sizes of files and functions, import knots, files that one warm call enters.

    python benchmarks/house.py              as it is now
    python benchmarks/house.py REF          at this commit and now, side by side

Lines of a function are those after its docstring. A knot is a group of files that import each other in a
circle, late imports among them. A warm call is the second one in a process, with filled caches and a new run
folder, of the public function on 120 digits; files are those of kiyome in which a function is called.
"""

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import measured

ROOT = Path(__file__).parents[1]

WARM_CALLS = """
import sys, threading
from pathlib import Path
import kiyome
from kiyome.testing import write_digits

work = Path(sys.argv[1])
write_digits(work / "digits", num_photos=120, noise_rate=0.1)
changes = ["architecture=tiny", "pretrained=false", "image_size=32", "epochs=1", "num_folds=3"]
probs = "{0}/predictions/pred_probs.npy"

def runs(tag):
    find, trained, other = (work / tag / name for name in ("find", "train", "other"))
    kiyome.train(work / "digits", changes=[*changes, "learning_rate=0.002"], output=other)
    yield "find --pred-probs", lambda: kiyome.find(
        work / "first/find/table.parquet", pred_probs=probs.format(work / "first/find"),
        output=work / tag / "arrays")
    yield "train", lambda: kiyome.train(work / "digits", changes=changes, output=trained)
    yield "evaluate", lambda: kiyome.evaluate(trained, output=work / tag / "evaluate")
    yield "blend", lambda: kiyome.blend([trained, other], output=work / tag / "blend")

def find(tag):
    options = {"backbone": "tiny", "cache_folder": work / "cache"}
    return kiyome.find(work / "digits", output=work / tag / "find", **options)

def files_entered(call):
    entered = set()
    def note(frame, event, argument):
        code = frame.f_code
        name = code.co_filename
        if event == "call" and code.co_name != "<module>" and "/kiyome/" in name and name.endswith(".py"):
            entered.add(name)
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return len(entered)

find("first")
print("find on photos\\t", files_entered(lambda: find("second")))
for _, call in runs("first"):
    call()
for name, call in runs("second"):
    print(name, "\\t", files_entered(call), sep="")
"""


def main(ref: str | None) -> Iterator[str]:
    now = _shape(ROOT)
    if ref is None:
        yield from (f"{name:<34} {value:>8}" for name, value in now.items())
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", source, ref], cwd=ROOT, check=True)
        try:
            before = _shape(source)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", source], cwd=ROOT, check=True)
    yield f"{'':<34} {ref[:8]:>8} {'now':>8}"
    yield from (f"{name:<34} {before.get(name, '-'):>8} {value:>8}" for name, value in now.items())


def _shape(root: Path) -> dict[str, str]:
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((root / "src").rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    files = [len(text.splitlines()) for text in texts.values()]
    functions = [size for tree in trees.values() for size in _function_sizes(tree)]
    return {
        "Python files": f"{len(files):,}",
        "lines": f"{sum(files):,}",
        **_spread("file", files),
        "files over 400 lines": str(sum(size > 400 for size in files)),
        "functions": f"{len(functions):,}",
        **_spread("function", functions),
        "import knots": str(len(_knots(_imports(root / "src", trees)))),
        **_files_entered(root),
    }


def _spread(what: str, sizes: list[int]) -> dict[str, str]:
    return {
        f"{what}, median lines": f"{median(sizes):.0f}",
        f"{what}, 90th percentile": f"{quantiles(sizes, n=10)[-1]:.0f}",
        f"{what}, longest": str(max(sizes)),
    }


def _function_sizes(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            has_docstring = ast.get_docstring(node) is not None
            start = node.body[0].end_lineno if has_docstring else node.body[0].lineno - 1
            yield (node.end_lineno or 0) - (start or 0)


def _imports(source: Path, trees: dict[Path, ast.Module]) -> dict[str, set[str]]:
    """The modules of kiyome that each module imports, early or late, but not for types alone."""
    names = {path: ".".join(path.relative_to(source).with_suffix("").parts) for path in trees}
    modules = {path: name.removesuffix(".__init__") for path, name in names.items()}
    known = set(modules.values())
    return {modules[path]: set(_imported(tree, known)) - {modules[path]} for path, tree in trees.items()}


def _imported(node: ast.AST, known: set[str]) -> Iterator[str]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names if each.name in known)
    if isinstance(node, ast.ImportFrom) and node.module in known:
        inner = {f"{node.module}.{each.name}" for each in node.names}
        yield from inner & known or {node.module}
    for child in ast.iter_child_nodes(node):
        yield from _imported(child, known)


def _knots(imports: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that reach each other."""
    reached = {module: _reached(module, imports) for module in imports}
    knots = {
        frozenset(other for other in there if module in reached[other]) for module, there in reached.items()
    }
    return [set(knot) for knot in knots if len(knot) > 1]


def _reached(module: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    rest = [module]
    while rest:
        rest += (new := imports.get(rest.pop(), set()) - found)
        found |= new
    return found


def _files_entered(root: Path) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as work:
        shown = subprocess.run(
            [sys.executable, "-c", WARM_CALLS, work],
            env=os.environ | {"PYTHONPATH": str(root / "src"), "KIYOME_CACHE": f"{work}/cache"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    lines = [line.split("\t") for line in shown.splitlines() if "\t" in line]
    return {f"files entered by warm {name}": number.strip() for name, number in lines}


if __name__ == "__main__":
    measured.show(__file__, main(sys.argv[1] if len(sys.argv) > 1 else None), "numpy", "torch")
