"""`kiyome decisions` on a real run: what stands, files out and in, backups; and what curate makes of it."""

import csv
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.storage import writing
from kiyome.cli import app
from kiyome.decisions.consensus import open_store, review_consensus
from kiyome.decisions.items import ReviewItems, read_items
from kiyome.decisions.store import Decision
from kiyome.errors import InputError, StaleArtifact
from kiyome.testing import write_digits
from kiyome.workflows.curate import curate
from kiyome.workflows.decisions import (
    backup_decisions,
    export_decisions,
    import_decisions,
    restore_decisions,
    show_decisions,
)
from kiyome.workflows.find import find

Decide = Callable[..., None]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("decisions")
    write_digits(place / "digits", num_photos=200)
    return find(place / "digits", backbone="tiny", output=place / "run", cache_folder=place / "cache")


WORDS = ("keep", "both", "none_of_these", "drop", "unsure")


@pytest.fixture
def run(found, tmp_path: Path) -> Path:
    """A run of its own, with no review yet."""
    return Path(shutil.copytree(found.folder, tmp_path / "run"))


@pytest.fixture
def items(run: Path) -> ReviewItems:
    return read_items(run)


@pytest.fixture
def decide(run: Path, items: ReviewItems) -> Decide:
    """Write decisions into the store of the run, as the page does."""

    def write(reviewer: str, said: dict[int, str], version: int = 0, store: str | None = None) -> None:
        (run / "review").mkdir(exist_ok=True)
        acts = [
            Decision(
                image_id=items.image_ids[row],
                version=version,
                verdict=word if word in WORDS else "relabel",
                label=None if word in WORDS else word,
            )
            for row, word in said.items()
        ]
        with open_store(run, items, store) as opened:
            opened.append(
                acts,
                key=f"{reviewer}-{version}-{sorted(said)}",
                reviewer=reviewer,
                run="run",
                table_content=items.table_content,
                seen={},
                milliseconds=1500,
            )

    return write


def other_class(items: ReviewItems, row: int, step: int = 1) -> str:
    assert items.given_labels is not None
    return items.class_names[(items.given_labels[row] + step) % len(items.class_names)]


def test_what_stands_is_counted_by_reviewer_with_agreement_and_disputes(run, items, decide) -> None:
    first, second = other_class(items, 0), other_class(items, 0, 2)
    decide("Ann", {0: first, 1: "keep", 2: "drop", 3: "unsure"})
    decide("Ben", {0: second, 1: "keep", 2: "drop", 3: "keep"})
    result = show_decisions(run)
    assert result.by_reviewer() == {
        "Ann": {"drop": 1, "keep": 1, "relabel": 1, "unsure": 1},
        "Ben": {"drop": 1, "keep": 2, "relabel": 1},
    }
    assert result.disputes() == [{"image_id": items.image_ids[0], "decisions": {"Ann": first, "Ben": second}}]
    [pair] = result.pairs
    assert (pair.kappa.num_rows, pair.kappa.num_agreed) == (3, 2)
    answer = CliRunner().invoke(app, ["decisions", "show", str(run)])
    assert answer.exit_code == 0, answer.output
    assert "4 of 200 rows decided" in answer.output
    assert "1 disputed" in answer.output
    machine = json.loads(CliRunner().invoke(app, ["decisions", "show", str(run), "--json"]).stdout)
    assert machine == json.loads(json.dumps(result.summary()))


def test_names_of_strangers_are_shown_as_they_are(run, items, decide, tmp_path: Path) -> None:
    decide("[red]Ann[/red]", {0: other_class(items, 0)})
    decide("Ben", {0: "keep"})
    journal = (run / "review" / "decisions.jsonl").read_text()  # an earlier version took such names
    (tmp_path / "earlier.jsonl").write_text(journal.replace('[red]Ann[/red]"', '[red]Ann[/red]\\u202e"'))
    shutil.rmtree(run / "review")
    assert restore_decisions(run, tmp_path / "earlier.jsonl")["about_this_run"] == 2
    shown = CliRunner().invoke(app, ["decisions", "show", str(run)]).output
    assert shown.count("[red]Ann[/red]\\u202e") == 3  # in the table, beside Ben, and beside the dispute


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.jsonl"])
def test_an_export_imported_elsewhere_stands_there_and_twice_is_once(
    name: str, run, items, decide, found, tmp_path: Path
) -> None:
    decide(
        "Ann", {0: other_class(items, 0), 1: "keep", 2: "drop", 3: "unsure", 4: "none_of_these", 5: "both"}
    )
    decide("Ben", {0: "keep"})
    out = export_decisions(run, tmp_path / name)
    assert (out.decisions, out.by_reviewer) == (7, {"Ann": 6, "Ben": 1})
    elsewhere = Path(shutil.copytree(found.folder, tmp_path / "elsewhere"))
    taken = import_decisions(elsewhere, tmp_path / name)
    assert (taken.decisions, taken.left_out) == (7, {})

    def held(folder: Path) -> list[tuple[str, str | None, str | None, str]]:
        return [(d.image_id, d.verdict, d.label, d.reviewer) for d in show_decisions(folder).decisions]

    assert held(elsewhere) == held(run)
    again = import_decisions(elsewhere, tmp_path / name)
    assert (again.decisions, again.left_out) == (0, {"answers that are current already": 7})


@pytest.mark.parametrize("format_name", ["label_studio", "cvat", "fiftyone"])
def test_other_tools_take_what_people_agree_on_and_give_it_back(
    format_name: str, run, items, decide, found, tmp_path: Path
) -> None:
    decide("Ann", {0: other_class(items, 0), 1: "keep", 5: "drop"})
    ending = "xml" if format_name == "cvat" else "json"
    arguments = [str(run), str(tmp_path / f"out.{ending}"), "--format", format_name]
    answer = CliRunner().invoke(app, ["decisions", "export", *arguments])
    assert answer.exit_code == 0, answer.output
    assert "drop" in answer.output  # what the format cannot say is said
    assert ("<Choices name=" in answer.output) == (format_name == "label_studio")
    elsewhere = Path(shutil.copytree(found.folder, tmp_path / "elsewhere"))
    arguments = [str(elsewhere), str(tmp_path / f"out.{ending}"), "--as", "studio"]
    answer = CliRunner().invoke(app, ["decisions", "import", *arguments])
    assert answer.exit_code == 0, answer.output
    reviewer = "studio/Ann" if format_name == "label_studio" else "studio"
    held = {
        items.row_of[d.image_id]: (d.verdict, d.label, d.reviewer)
        for d in show_decisions(elsewhere).decisions
    }
    expected = {0: ("relabel", other_class(items, 0), reviewer), 1: ("keep", None, reviewer)}
    skipped = {5: ("unsure", None, reviewer)} if format_name == "label_studio" else {}
    assert held == expected | skipped


def test_what_a_file_must_hold_is_said_and_nothing_is_written(run, items, tmp_path: Path) -> None:
    path = tmp_path / "said.csv"
    with pytest.raises(InputError, match=r"has not been reviewed .*sqlite\)\. Run `kiyome review .*` first"):
        show_decisions(run)
    with pytest.raises(StaleArtifact, match="There is no run at") as caught:
        show_decisions(tmp_path / "nowhere")
    assert "kiyome review" not in caught.value.remedy

    def check_refused(lines: str, message: str, name: str | None = "Ann") -> None:
        path.write_text(lines)
        with pytest.raises(InputError, match=message):
            import_decisions(run, path, name=name)

    check_refused("image_id,decision,label\nx,keep,\n", "No photo of the file is in this run: 'x'")
    check_refused(f"image_id,decision,label\n{items.image_ids[0]},relabel,zebra\n", "'zebra' line 2")
    check_refused(f"image_id,decision\n{items.image_ids[0]},keep\n", "--as NAME", name=None)
    (tmp_path / "labels.json").write_text(
        json.dumps({"labels": {items.image_ids[0].removesuffix(".png"): "zebra"}})
    )
    with pytest.raises(InputError, match="The label 'zebra' is not a class of the table"):
        import_decisions(run, tmp_path / "labels.json", name="Ann")
    assert show_decisions(run).decisions == []


def test_one_unknown_class_in_a_file_takes_the_others(run, items, tmp_path: Path) -> None:
    names = [image_id.removesuffix(".png") for image_id in items.image_ids[:2]]
    labels = dict(zip(names, ("zebra", items.class_names[0]), strict=True))
    (tmp_path / "labels.json").write_text(json.dumps({"labels": labels}))
    result = import_decisions(run, tmp_path / "labels.json", name="Ann")
    assert result.decisions == 1
    assert result.left_out["answers with the unknown class 'zebra'"] == 1


def test_unknown_photos_and_repeated_answers_are_counted(run, items, tmp_path: Path) -> None:
    known = items.image_ids[0]
    path = tmp_path / "said.csv"
    path.write_text(f"image_id,decision\n{known},drop\ngone.png,keep\n../../etc/passwd,keep\n{known},keep\n")
    taken = import_decisions(run, path, name="Ann")
    assert taken.left_out == {
        "answers about unknown photos, or about names that several photos have": 2,
        "earlier answers by the same person about the same photo": 1,
    }
    [held] = show_decisions(run).decisions
    assert (held.verdict, held.reviewer) == ("keep", "Ann")


def test_a_backup_and_a_journal_bring_everything_back(run, decide, found, tmp_path: Path) -> None:
    decide("Ann", {0: "keep", 1: "drop"})
    for name in ("copy.sqlite", "log.jsonl"):
        assert CliRunner().invoke(app, ["decisions", "backup", str(run), str(tmp_path / name)]).exit_code == 0
    with pytest.raises(InputError, match=r"copy\.sqlite exists already"):
        backup_decisions(run, tmp_path / "copy.sqlite")
    elsewhere = Path(shutil.copytree(found.folder, tmp_path / "elsewhere"))
    answer = CliRunner().invoke(app, ["decisions", "restore", str(elsewhere), str(tmp_path / "log.jsonl")])
    assert answer.exit_code == 0, answer.output
    assert "2 events" in answer.output
    assert show_decisions(elsewhere).summary() == {**show_decisions(run).summary(), "run": "elsewhere"}
    with pytest.raises(InputError):
        restore_decisions(elsewhere, tmp_path / "log.jsonl")
    assert show_decisions(elsewhere, store=f"sqlite:///{tmp_path / 'copy.sqlite'}").by_reviewer() == {
        "Ann": {"drop": 1, "keep": 1}
    }
    journal = tmp_path / "log.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"drop"', b'"maybe"'))
    with pytest.raises(StaleArtifact):
        restore_decisions(elsewhere, journal, store=tmp_path / "new.sqlite")


def test_events_that_came_past_kiyome_are_skipped_counted_and_taken_out(run, items, decide) -> None:
    """One event with an unknown photo made every read fail, and could not be deleted."""
    decide("Ann", {0: "keep", 1: "drop"})
    store = run / "review" / "decisions.sqlite"
    with closing(sqlite3.connect(store)) as connection:
        connection.execute(
            "INSERT INTO decision_events SELECT number + 2, review, 'k', place, kind, undoes, reviewer,"
            " 'nowhere.png', sequence, verdict, label, run, table_content, seen, milliseconds, decided_at"
            " FROM decision_events WHERE number = 1"
        )
        connection.commit()
    decide("Ben", {2: "keep"})
    assert (show_decisions(run).num_skipped, len(show_decisions(run).decisions)) == (1, 3)
    told = CliRunner().invoke(app, ["decisions", "show", str(run)]).stdout
    assert "1 events skipped: photos or classes that are not in the table" in told
    repaired = CliRunner().invoke(app, ["decisions", "repair", str(run)])
    assert repaired.exit_code == 0, repaired.output
    assert (show_decisions(run).num_skipped, len(show_decisions(run).decisions)) == (0, 3)
    assert len(list(store.parent.glob("decisions-before-*.sqlite"))) == 1
    again = CliRunner().invoke(app, ["decisions", "repair", str(run)])
    assert (again.exit_code, "There is nothing to repair" in again.output) == (2, True)


def test_what_a_killed_export_left_beside_the_users_file_is_swept(run, decide, tmp_path: Path) -> None:
    decide("Ann", {0: "keep"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".kiyome-0123.tmp").write_bytes(b"half")
    with writing(tmp_path / "out" / "other.bin") as alive:
        export_decisions(run, tmp_path / "out" / "decisions.csv")
        assert Path(alive.name).exists()
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["decisions.csv", "other.bin"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runs/a", "show runs/a"),
        ("runs/a --json", "show runs/a --json"),
        ("runs/a --export out.csv --raw", "export runs/a out.csv --raw"),
        ("runs/a --import a.xml --as cvat", "import runs/a a.xml --as cvat"),
        ("runs/a --repair", "repair runs/a"),
    ],
)
def test_a_call_in_the_old_form_gets_the_new_one(old: str, new: str) -> None:
    answer = CliRunner().invoke(app, ["decisions", *old.split()])
    assert answer.exit_code == 2
    assert "'runs/a' is not a command of kiyome decisions. Expected one of show, export, " in answer.output
    assert f"Run: kiyome decisions {new}" in answer.output


def test_curate_reads_the_review_by_itself(run, items, decide) -> None:
    flagged = np.flatnonzero(items.is_label_issue)
    relabeled, kept, dropped, disputed = flagged[:4].tolist()
    decide("Ann", {relabeled: other_class(items, relabeled), kept: "keep", dropped: "drop", disputed: "keep"})
    decide("Ben", {disputed: "drop", dropped: "unsure"})
    result = curate(run, action="drop")
    table, names = result.table, items.class_names
    assert names[table.labels[relabeled]] == other_class(items, relabeled)
    assert table.weights is not None
    assert table.weights[[relabeled, kept, dropped, disputed]].tolist() == [1, 1, 0, 1]
    assert (table.weights[flagged[4:]] == 0).all()
    summary = result.summary()
    assert summary["decided_by_people"] == 3
    assert summary["disputed_and_left_as_they_are"] == 1
    assert summary["reviewers"] == ["Ann", "Ben"]
    with (result.folder / "changes.csv").open(newline="") as file:
        by = {line["image_id"]: line["by"] for line in csv.DictReader(file)}
    ids = items.image_ids
    assert [by[ids[row]] for row in (relabeled, disputed, flagged[4])] == ["people", "dispute", "flag"]
    with (result.folder / "corrected_labels.csv").open(newline="") as file:
        corrected = {line["image_id"]: line["label"] for line in csv.DictReader(file)}
    assert ids[dropped] not in corrected
    assert corrected[ids[relabeled]] == other_class(items, relabeled)


def test_more_decisions_are_another_run_and_the_same_are_the_same(run, items, decide) -> None:
    assert curate(run).folder.name == "run-drop"  # nobody decided: flags do
    decide("Ann", {0: "drop"})
    first = curate(run)
    assert first.folder.name == "run-keep"
    assert curate(run).folder == first.folder
    decide("Ann", {1: "drop"})
    second = curate(run)
    assert second.folder.name == "run-keep-2"
    assert [int((each.table.weights == 0).sum()) for each in (first, second)] == [1, 2]


def test_a_third_settles_what_two_dispute(run, items, decide) -> None:
    label = other_class(items, 0)
    decide("Ann", {0: label})
    decide("Ben", {0: "keep"})
    decide("Cyd", {0: label})
    unanimous, majority = (review_consensus(run, rule=rule) for rule in ("unanimous", "majority"))
    assert unanimous is not None
    assert majority is not None
    assert (unanimous.disputed, majority.disputed) == ([items.image_ids[0]], [])
    chosen = curate(run, rule="majority")
    assert items.class_names[chosen.table.labels[0]] == label
    assert curate(run).folder != chosen.folder


def test_a_file_wins_over_the_review_and_may_hold_several_reviewers(run, items, decide, tmp_path) -> None:
    decide("Ann", {0: "drop"})
    ids, label = items.image_ids, other_class(items, 1)
    path = tmp_path / "said.csv"
    path.write_text(
        "image_id,decision,label,reviewer\n"
        f"{ids[1]},relabel,{label},Ann\n{ids[1]},relabel,{label},Ben\n"
        f"{ids[2]},drop,,Ann\n{ids[2]},keep,,Ben\n"
    )
    result = curate(run, decisions=path)
    assert result.table.weights is None
    assert items.class_names[result.table.labels[1]] == label
    assert result.summary()["disputed_and_left_as_they_are"] == 1
    path.write_text(f"image_id,decision\n{ids[1]},keep\n{ids[1]},drop\n")
    with pytest.raises(InputError, match=r"two decisions about .* by one reviewer"):
        curate(run, decisions=path)


def test_what_people_keep_has_its_given_label_again(run, items, decide, tmp_path: Path) -> None:
    decide("Ann", {0: other_class(items, 0)})
    first = curate(run)
    again = find(
        first.folder / "table.parquet",
        images=first.table.root,
        backbone="tiny",
        output=tmp_path / "second",
        cache_folder=tmp_path / "cache",
    )
    (tmp_path / "said.csv").write_text(f"image_id,decision\n{items.image_ids[0]},keep\n")
    second = curate(again.folder, decisions=tmp_path / "said.csv")
    assert first.table.labels[0] != first.table.given_labels[0]
    assert second.table.labels[0] == second.table.given_labels[0]


def test_a_store_elsewhere_is_read_where_it_is_named(run, decide, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'team.sqlite'}"
    decide("Ann", {0: "drop"}, store=store)
    assert curate(run, store=store).summary()["changed"] == {"drop": 1}
    answer = CliRunner().invoke(app, ["decisions", "show", str(run), "--json"], env={"KIYOME_STORE": store})
    assert json.loads(answer.stdout)["by_reviewer"] == {"Ann": {"drop": 1}}


def test_a_team_on_postgresql_does_the_same(
    run, items, decide, tmp_path: Path, new_postgres_database: Callable[[], str]
) -> None:
    store = new_postgres_database()
    decide("Ann", {0: other_class(items, 0), 1: "drop"}, store=store)
    export_decisions(run, tmp_path / "out.csv", store=store)
    taken = import_decisions(run, tmp_path / "out.csv", name="copy", store=store)
    assert taken.by_reviewer == {"copy/Ann": 2}
    assert show_decisions(run, store=store).summary()["decisions"] == 4
    assert curate(run, store=store).summary()["changed"] == {"drop": 1, "relabel": 1}
    with pytest.raises(InputError, match=r"kiyome decisions backup RUN FILE\.jsonl"):
        backup_decisions(run, tmp_path / "copy.sqlite", store=store)
    backup_decisions(run, tmp_path / "log.jsonl", store=store)
    assert restore_decisions(run, tmp_path / "log.jsonl") == {"events": 4, "about_this_run": 4}


def test_decisions_are_carried_to_the_next_round(run, items, decide, tmp_path: Path) -> None:
    label = other_class(items, 0)
    decide("Ann", {0: label, 1: "keep"})
    export_decisions(run, tmp_path / "said.jsonl")
    curated = curate(run)
    again = find(
        curated.folder / "table.parquet",
        images=curated.table.root,
        backbone="tiny",
        output=tmp_path / "second",
        cache_folder=tmp_path / "cache",
    )
    import_decisions(again.folder, tmp_path / "said.jsonl")
    second = curate(again.folder)
    assert second.table.labels.tolist() == curated.table.labels.tolist()
    assert second.summary()["decided_by_people"] == 2


def test_names_that_look_alike_are_told(
    run: Path, decide: Decide, capsys: pytest.CaptureFixture[str]
) -> None:
    from kiyome.cli import render

    for name in ("Ann", "\u0410nn", "Ben"):
        decide(name, {0: "keep"})
    result = show_decisions(run)
    assert result.look_alikes() == result.summary()["look_alikes"] == [("Ann", "\u0410nn")]
    render.show_decisions(result)
    assert "look alike: one person under both names counts twice" in capsys.readouterr().out


def test_a_name_in_a_file_that_cannot_be_seen_is_refused_and_nothing_is_written(
    run: Path, items: ReviewItems
) -> None:
    lines = [f"{items.image_ids[row]},keep,{name}" for row, name in enumerate(("Ben", "Ann\u200b"))]
    file = run.parent / "decisions.csv"
    file.write_text("\n".join(["image_id,decision,reviewer", *lines]), "utf-8")
    with pytest.raises(InputError, match="contains an invisible character"):
        import_decisions(run, file)
    assert not (run / "review" / "decisions.jsonl").read_bytes()
    file.write_text("\n".join(["image_id,decision,reviewer", lines[0].replace("Ben", "Rene\u0301")]), "utf-8")
    assert import_decisions(run, file).by_reviewer == {"Ren\u00e9": 1}
    assert show_decisions(run).reviewers == ["Ren\u00e9"]
