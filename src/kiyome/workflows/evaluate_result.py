"""The result of `evaluate`: in sentences, and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kiyome.artifacts.table import TRAIN
from kiyome.estimates import Estimate, difference_of_proportions
from kiyome.evaluation.audited_difference import AuditedDifference
from kiyome.evaluation.compare import Comparison, DifferenceUnderNoise
from kiyome.evaluation.compare_many import ManyCompared
from kiyome.evaluation.leaks import ScoresWithoutLeaks
from kiyome.evaluation.metric_on_given import METRICS, MetricDifference
from kiyome.evaluation.metric_under_noise import MetricUnderNoise
from kiyome.evaluation.metrics import Scores
from kiyome.evaluation.noisy_labels import AccuracyUnderNoise
from kiyome.evaluation.public_part import PublicPart
from kiyome.evaluation.reviewed_score import ReviewedScore
from kiyome.evaluation.submission import SubmissionChoice
from kiyome.workflows.audit import describe_unsure
from kiyome.workflows.audit_scores import AuditRecord
from kiyome.workflows.unlabeled_score import UnlabeledScore


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """A run compared with another, row by row."""

    on_given: Comparison
    audited: AuditedDifference | None
    """On true labels, estimated from an audit; None where there is no audit of these rows."""
    under_noise: DifferenceUnderNoise
    on_true: Comparison | None
    """Of the rows whose true label is known."""

    def describe(self, name: str) -> tuple[str, ...]:
        """Return the comparison in sentences."""
        noisy = self.under_noise
        low, high = 100 * noisy.bounds.low, 100 * noisy.bounds.high
        true = noisy.estimated_true_difference
        in_truth = (
            f"True difference with no assumption: {low:+.2f} to {high:+.2f} points; if model and label errors"
            f" are independent: {100 * true.value:+.2f} ({100 * true.low:+.2f} to {100 * true.high:+.2f})."
        )
        sentences = [f"Against {name}, on given labels: {self.on_given.describe()}.", in_truth]
        if self.audited is not None:
            sentences.insert(0, f"Against {name}, on true labels by audit: {self.audited.describe()}.")
        if self.on_true is not None:
            sentences.append(f"On true labels: {self.on_true.describe()}.")
        return tuple(sentences)

    def findings(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        audited = None
        if self.audited is not None:
            audited = {**asdict(self.audited), "verdict": self.audited.verdict}
        return {
            "on_given": _compared(self.on_given),
            "audited": audited,
            "under_noise": asdict(self.under_noise),
            "on_true": None if self.on_true is None else _compared(self.on_true),
        }


@dataclass(frozen=True, kw_only=True)
class MetricScore:
    """A further metric of a run, and the run compared with others on it."""

    under_noise: MetricUnderNoise
    against: Mapping[str, MetricDifference]

    def findings(self) -> dict[str, Any]:
        """Return the metric as JSON values."""
        against = {name: {**asdict(each), "verdict": each.verdict} for name, each in self.against.items()}
        return {**asdict(self.under_noise), "against": against}


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluateResult:
    """Scores and comparisons of a run, which its folder holds, too."""

    folder: Path
    run: str
    scores: Scores
    audit: AuditRecord | None
    """The audit of these predictions; None where there is none."""
    under_noise: AccuracyUnderNoise
    against: Mapping[str, RunComparison]
    chosen: ManyCompared | None
    """The experiments of the diary on these rows without leaks; None where there are fewer than two."""
    leaking: Mapping[str, tuple[Estimate, tuple[str, ...]]]
    """Score and leaks of the other experiments, which are not compared."""
    caveats: tuple[str, ...]
    """Reasons why the numbers may mean less than they seem."""
    split: str = TRAIN
    """The rows that all of these numbers are of."""
    by_split: Mapping[str, Estimate] = field(default_factory=dict)
    """Accuracy on given labels of each split with labels."""
    noise_by_audit: Mapping[str, Estimate] = field(default_factory=dict)
    """Share of wrong labels of each split of which people checked a sample."""
    leak_score: ScoresWithoutLeaks | None = None
    """With and without the rows that lie in train; None without a list of these."""
    metric: MetricScore | None = None
    """None where no further metric was asked for."""
    submission: SubmissionChoice | None = None
    """None where the rows of a public leaderboard are not given."""
    public_part: PublicPart | None = None
    """What so many of these rows say about the rest; None where nobody asks, or labels are unknown."""
    review: ReviewedScore | None = None
    """By the review in the run's folder; None where nobody decided about these rows."""
    unlabeled: UnlabeledScore | None = None
    """Of the rows without a label; None without an audit of them."""

    def answer(self) -> str:
        """Return the result in one sentence."""
        found = self.under_noise
        of_split = f" of {self.split} rows" if self.splits() else ""
        given = f"accuracy on given labels{of_split} {found.accuracy_on_given.as_percent()}."
        if self.audit is not None:
            return f"True accuracy {self.audit.score.accuracy_on_true.as_percent()} by audit; {given}"
        return f"True accuracy plausibly {found.plausible.as_percent()}; {given}"

    def describe(self) -> tuple[str, ...]:
        """Return the result in sentences: that of an audit first, then what labels and predictions imply."""
        review: tuple[str, ...] = () if self.review is None else (self.review.describe(),)
        if (on_true := self.scores.accuracy_on_true) is not None:
            known = f"known for {on_true.num_rows:,} of {self.scores.accuracy_on_given.num_rows:,} rows"
            review = (*review, f"Accuracy on true labels, {known}: {on_true.as_percent()}.")
        if self.audit is None:
            return (*review, *self.under_noise.describe())
        score = self.audit.score
        true = score.accuracy_on_true.as_percent()
        sentences = [
            f"True accuracy by audit ({self.audit.name}): {true}, with no assumption about the noise."
        ]
        if score.num_unsure:
            sentences.append(describe_unsure(score))
        return (*sentences, *review, *self.under_noise.describe())

    def splits(self) -> tuple[str, ...]:
        """Return the score of each split in sentences, where there are several."""
        if set(self.by_split) <= {TRAIN}:
            return ()
        scores = ", ".join(f"{name} {each.as_percent()}" for name, each in self.by_split.items())
        noise = self.noise_by_audit
        wrong = ", ".join(f"{name} {each.as_percent()}" for name, each in noise.items())
        differences = [
            _difference_in_words(self.split, name, difference_of_proportions(noise[self.split], each))
            for name, each in noise.items()
            if self.split in noise and name != self.split
        ]
        by_audit = [f"Wrong labels by audits: {wrong}; {', '.join(differences)}."] if differences else []
        return (
            f"Accuracy on given labels by split: {scores}.",
            *by_audit,
            f"All below is of {self.split} rows.",
            *([] if self.leak_score is None else [f"Accuracy on given labels: {self.leak_score.describe()}"]),
        )

    def on_unlabeled(self) -> tuple[str, ...]:
        """Return the score on rows without a label in sentences."""
        return () if self.unlabeled is None else self.unlabeled.describe()

    def on_metric(self) -> tuple[str, ...]:
        """Return the further metric in sentences."""
        return () if self.metric is None else self.metric.under_noise.describe()

    def compared_on_metric(self) -> tuple[str, ...]:
        """Return the verdicts on the further metric in sentences."""
        if self.metric is None:
            return ()
        title = METRICS[self.metric.under_noise.metric].title
        against = self.metric.against.items()
        return tuple(f"Against {name}, {title} on given labels: {each.describe()}." for name, each in against)

    def compared(self) -> tuple[str, ...]:
        """Return the verdicts against the other runs in sentences."""
        return tuple(line for name, each in self.against.items() for line in each.describe(name))

    def selection(self) -> tuple[str, ...]:
        """Return the best of all experiments and its selection bias in sentences."""
        best = () if self.chosen is None else self.chosen.describe()
        status = "not among them" if best else "not compared"
        leaking = (
            f"{name}, {score.as_percent(2)}, is {status} because of a leak: {leaks[0]}"
            for name, (score, leaks) in self.leaking.items()
        )
        parts = () if self.public_part is None else (self.public_part.describe(),)
        return (*best, *leaking, *(() if self.submission is None else self.submission.describe()), *parts)

    def summary(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {"folder": str(self.folder), **self.findings()}

    def findings(self) -> dict[str, Any]:
        """Return the result as JSON values without its folder."""
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
            "split": self.split,
            "accuracy_on_given_by_split": {name: asdict(each) for name, each in self.by_split.items()},
            "noise_by_audit": {name: asdict(each) for name, each in self.noise_by_audit.items()},
            "leaks": None if self.leak_score is None else asdict(self.leak_score),
            "metric": None if self.metric is None else self.metric.findings(),
            "unlabeled": None if self.unlabeled is None else self.unlabeled.findings(),
            "review": None if self.review is None else asdict(self.review),
            "submission": None if self.submission is None else asdict(self.submission),
            "public_part": None if self.public_part is None else asdict(self.public_part),
            "answer": self.answer(),
            "caveats": list(self.caveats),
            "scores": asdict(self.scores),
            "audit": None if self.audit is None else _audit_findings(self.audit),
            "sentences": list(self.describe()),
            "under_noise": {**asdict(self.under_noise), "sentences": list(self.under_noise.describe())},
            "against": {name: each.findings() for name, each in self.against.items()},
            "chosen": chosen,
            "with_leaks": {
                name: {"score": asdict(score), "leaks": list(leaks)}
                for name, (score, leaks) in self.leaking.items()
            },
        }


def _difference_in_words(split: str, other: str, difference: Estimate) -> str:
    points = [100 * each for each in (difference.value, difference.low, difference.high)]
    return f"{split} less {other}" + " {:+.1f} points ({:+.1f} to {:+.1f})".format(*points)


def _audit_findings(audit: AuditRecord) -> dict[str, Any]:
    score, labels = audit.score, audit.score.labels
    return {
        **audit.summary(),
        "accuracy_on_true": asdict(score.accuracy_on_true),
        "noise_rate": None if labels is None else asdict(labels.noise_rate),
        "if_unsure_rows_are_all_wrong_or_all_right": {
            "accuracy_on_true": score.accuracy_bounds,
            "noise_rate": None if labels is None else labels.noise_bounds,
        },
    }


def _compared(compared: Comparison) -> dict[str, Any]:
    return {**asdict(compared), "verdict": compared.verdict}
