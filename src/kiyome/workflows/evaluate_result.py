"""What `evaluate` found, in words and as JSON can hold it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kiyome.estimates import Estimate
from kiyome.evaluation.audit import AuditedScore
from kiyome.evaluation.audited_difference import AuditedDifference
from kiyome.evaluation.compare import Comparison, DifferenceUnderNoise
from kiyome.evaluation.compare_many import ManyCompared
from kiyome.evaluation.metrics import Scores
from kiyome.evaluation.noisy_labels import AccuracyUnderNoise
from kiyome.workflows.audit_scores import AuditRecord


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """A run against another, row by row."""

    on_given: Comparison
    audited: AuditedDifference | None
    """In truth, by rows that people checked; None where there is no audit of these rows."""
    under_noise: DifferenceUnderNoise
    on_true: Comparison | None
    """Of the rows whose true label is known."""

    def describe(self, name: str) -> tuple[str, ...]:
        """Sentences for people."""
        noisy = self.under_noise
        low, high = 100 * noisy.bounds.low, 100 * noisy.bounds.high
        undone = noisy.estimated_true_difference
        in_truth = (
            f"In truth {100 * undone.value:+.2f} points ({100 * undone.low:+.2f} to {100 * undone.high:+.2f})"
            f" if models and labels err apart; {low:+.2f} to {high:+.2f} whatever the mistakes are like."
        )
        said = [f"Against {name}, on given labels: {self.on_given.describe()}.", in_truth]
        if self.audited is not None:
            said.insert(0, f"Against {name}, in truth, as people checked: {self.audited.describe()}.")
        if self.on_true is not None:
            said.append(f"On true labels: {self.on_true.describe()}.")
        return tuple(said)

    def findings(self) -> dict[str, Any]:
        """As JSON can hold it."""
        audited = None
        if self.audited is not None:
            audited = {**asdict(self.audited), "verdict": self.audited.verdict}
        return {
            "on_given": _compared(self.on_given),
            "audited": audited,
            "under_noise": asdict(self.under_noise),
            "on_true": None if self.on_true is None else _compared(self.on_true),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluateResult:
    """What a run's score is worth; everything here is in the folder, too."""

    folder: Path
    run: str
    scores: Scores
    audit: AuditRecord | None
    """What people said of rows drawn for these very predictions; None where nobody checked any."""
    under_noise: AccuracyUnderNoise
    against: Mapping[str, RunComparison]
    chosen: ManyCompared | None
    """The experiments of the diary on these rows without a leak mark; None where there are fewer than two."""
    leaking: Mapping[str, tuple[Estimate, tuple[str, ...]]]
    """Score and leak marks of the other experiments, none of which is called the best."""
    marks: tuple[str, ...]
    """What makes the numbers mean less than they seem."""

    def answer(self) -> str:
        """The shortest honest sentence."""
        found = self.under_noise
        if self.audit is not None:
            return (
                f"Right in {self.audit.score.accuracy_on_true.as_percent()}, as people checked; agrees with"
                f" {found.accuracy_on_given.as_percent()} of the given labels."
            )
        return (
            f"Agrees with {found.accuracy_on_given.as_percent()} of the given labels; right in"
            f" {found.plausible.as_percent()}, as far as these labels can tell."
        )

    def describe(self) -> tuple[str, ...]:
        """What people found, where they checked, then what labels and predictions leave open."""
        if self.audit is None:
            return self.under_noise.describe()
        score = self.audit.score
        seen = f"Right in {score.accuracy_on_true.as_percent()}, by the rows that people checked"
        said = [f"{seen} ({self.audit.name}); nothing is assumed of the noise."]
        if score.num_unsure:
            said.append(_unsure(score))
        return (*said, *self.under_noise.describe())

    def compared(self) -> tuple[str, ...]:
        """Verdicts against the other runs, in sentences."""
        return tuple(line for name, each in self.against.items() for line in each.describe(name))

    def luck(self) -> tuple[str, ...]:
        """What choosing among experiments is worth, in sentences."""
        best = () if self.chosen is None else self.chosen.describe()
        apart = "not among them" if best else "not compared"
        return (
            *best,
            *(
                f"{name}, {score.as_percent(2)}, is {apart} for its leak mark: {marks[0]}"
                for name, (score, marks) in self.leaking.items()
            ),
        )

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return {"folder": str(self.folder), **self.findings()}

    def findings(self) -> dict[str, Any]:
        """The answer, wherever the folder lies."""
        chosen = None
        if self.chosen is not None:
            pairs = [
                {"first": a, "second": b, **_compared(each)} for (a, b), each in self.chosen.pairs.items()
            ]
            chosen = {
                "scores": {name: asdict(each) for name, each in self.chosen.scores.items()},
                "best": self.chosen.best,
                "optimism": self.chosen.optimism,
                "best_corrected": asdict(self.chosen.best_corrected),
                "indistinguishable_from_best": list(self.chosen.indistinguishable_from_best),
                "pairs": pairs,
            }
        return {
            "run": self.run,
            "answer": self.answer(),
            "marks": list(self.marks),
            "scores": asdict(self.scores),
            "audit": None if self.audit is None else _audit_findings(self.audit),
            "told": list(self.describe()),
            "under_noise": {**asdict(self.under_noise), "in_words": list(self.under_noise.describe())},
            "against": {name: each.findings() for name, each in self.against.items()},
            "chosen": chosen,
            "with_leak_marks": {
                name: {"score": asdict(score), "leaks": list(marks)}
                for name, (score, marks) in self.leaking.items()
            },
        }


def _unsure(score: AuditedScore) -> str:
    low, high = (100 * end for end in score.accuracy_bounds)
    return (
        f"People were unsure of {score.num_unsure} of {score.num_checked} rows: right in {low:.1f} to"
        f" {high:.1f} %, whatever these are."
    )


def _audit_findings(audit: AuditRecord) -> dict[str, Any]:
    score = audit.score
    return {
        **audit.summary(),
        "accuracy_on_true": asdict(score.accuracy_on_true),
        "noise_rate": asdict(score.noise_rate),
        "if_unsure_rows_are_all_wrong_or_all_right": {
            "accuracy_on_true": score.accuracy_bounds,
            "noise_rate": score.noise_bounds,
        },
    }


def _compared(compared: Comparison) -> dict[str, Any]:
    return {**asdict(compared), "verdict": compared.verdict}
