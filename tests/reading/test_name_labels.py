"""Labels in the names of photos: proposed where names look so, read only where an option says how."""

import re
import shlex
from collections import Counter
from uuid import UUID

import numpy as np
import pytest

from kiyome.errors import InputError, TableError
from kiyome.reading.name_labels import proposed_labels
from kiyome.reading.read_table import read_table
from kiyome.reading.test_set import with_test_set

PETS = [f"{breed}_{n}.jpg" for breed in ("Abyssinian", "great_pyrenees", "pug") for n in range(1, 8)]
CATS = [f"train/{kind}.{n}.jpg" for kind in ("cat", "dog") for n in range(6)]
NAMED = {
    "Oxford pets": (PETS, r"(.+)_\d+", ["Abyssinian", "great_pyrenees", "pug"]),
    "Dogs vs. Cats": (CATS, r"(.+)\.\d+", ["cat", "dog"]),
    "Windows": (
        [f"{k} ({n}).jpg" for k in ("healthy", "leaf rust") for n in range(5)],
        r"(.+) \(\d+\)",
        ["healthy", "leaf rust"],
    ),
    "no separator": ([f"{k}{n}.png" for k in ("ok", "nok") for n in range(5)], r"(\D+)\d+", ["nok", "ok"]),
    "number first": (
        [f"{n:05}_{k}.png" for k in ("ok", "nok") for n in range(5)],
        r"\d+_(.+)",
        ["nok", "ok"],
    ),
    "camera": (
        [f"IMG_{n:04}_{k}.jpg" for k in ("ok", "sick") for n in range(5)],
        r"[A-Za-z]+_?\d+_(.+)",
        ["ok", "sick"],
    ),
    "MNIST": ([f"{k}_{n:05}.png" for k in range(3) for n in range(5)], r"(.+)_\d+", ["0", "1", "2"]),
}
rng = np.random.default_rng(0)
OTHERS = {
    "one camera": [f"IMG_{n}.jpg" for n in range(1000, 1020)],
    "two cameras": [f"{camera}_{n:04}.jpg" for camera in ("IMG", "DSC") for n in range(20)],
    "dates": [f"IMG_202{day % 4}0101_{day}.jpg" for day in range(20)],
    "days": [f"2024-01-0{n % 4}_{n:03}.jpg" for n in range(20)],
    "UUIDs": [f"{UUID(bytes=rng.bytes(16))}.jpg" for _ in range(20)],
    "digests": [f"{rng.bytes(8).hex()}_{n}.jpg" for n in range(20)],
    "patients": [f"p{n % 5}_{n}.jpg" for n in range(20)],
    "patients and slices": [f"patient_{n % 5}_slice_{n}.jpg" for n in range(20)],
    "patients from 100": [f"{100 + n % 5}_{n}.jpg" for n in range(20)],
    "numbers": [f"{n}.jpg" for n in range(20)],
    "one name each": [f"{chr(97 + n) * 3}_{n}.jpg" for n in range(20)],
    "a name once": [*(f"cat_{n}.jpg" for n in range(9)), "dog_1.jpg"],
    "one of another form": [*PETS, "readme.jpg"],
    "words": ["sunset.jpg", "beach.jpg", "dinner.jpg", "dog.jpg", "dog 2.jpg", "cat.jpg"],
}


@pytest.mark.parametrize(("names", "pattern", "classes"), NAMED.values(), ids=NAMED)
def test_the_option_of_the_message_reads_the_classes(lay, tmp_path, names, pattern, classes):
    lay(tmp_path, *names, "test/1.jpg" if names == CATS else names[0])
    with pytest.raises(TableError) as raised:
        read_table(tmp_path)
    counts = ", ".join(f"{label!r} ({len(names) // len(classes)})" for label in classes)
    remedy = f"The names may hold {len(classes)} classes: {counts}. If so, add --label-from-name"
    assert raised.value.remedy.startswith(remedy)
    option, value = shlex.split(raised.value.remedy.removesuffix("."))[-2:]
    assert (option, value) == ("--label-from-name", pattern)
    table = read_table(tmp_path, label_from_name=value)
    assert table.class_names == tuple(classes)
    assert set(Counter(table.given_labels[table.is_labeled].tolist()).values()) == {
        len(names) // len(classes)
    }
    assert f"Labels are from the names of photos, by {value!r}: {len(classes)} classes: {counts}." in (
        table.notes
    )


@pytest.mark.parametrize("names", OTHERS.values(), ids=OTHERS)
def test_other_names_are_never_taken_for_classes(lay, tmp_path, names):
    assert proposed_labels(names) == ""
    lay(tmp_path, *names)
    with pytest.raises(TableError, match="no class folder with photos") as raised:
        read_table(tmp_path)
    assert "--label-from-name" not in str(raised.value)


def test_photos_without_labels_say_what_their_names_may_hold(lay, tmp_path):
    lay(tmp_path, *PETS)
    table = read_table(tmp_path, need_labels=False)
    assert table.class_names == ("(no label)",)
    [note] = table.notes
    assert note.startswith("The names may hold 3 classes: 'Abyssinian' (7), ")


def test_photos_of_another_form_are_unlabeled_in_test_and_skipped_in_train(lay, tmp_path):
    lay(tmp_path, *CATS, "train/cover.jpg", "test/1.jpg", "test/2.jpg")
    table = read_table(tmp_path, label_from_name=r"(.+)\.\d+")
    assert Counter(table.split_names.tolist()) == {"train": 12, "unlabeled": 2}
    assert [(entry.path, entry.reason) for entry in table.skipped] == [
        ("train/cover.jpg", "no class in its name")
    ]
    assert "Splits from folders: 12 train, 2 unlabeled." in table.notes


def test_names_in_a_table_and_in_a_test_set(lay, tmp_path):
    lay(tmp_path / "photos", *PETS)
    lay(tmp_path / "more", "pug_8.jpg", "Abyssinian_8.jpg", "x.jpg")
    (tmp_path / "list.csv").write_text("\n".join(["file_name,age", *(f"{name},3" for name in PETS)]))
    table = read_table(tmp_path / "list.csv", images=tmp_path / "photos", label_from_name=r"(.+)_\d+")
    assert Counter(table.given_names.tolist()) == {"Abyssinian": 7, "great_pyrenees": 7, "pug": 7}
    joined = with_test_set(table, tmp_path / "more", label_from_name=r"(.+)_\d+")
    assert joined.given_names.tolist()[21:] == ["Abyssinian", "pug"]
    with pytest.raises(InputError, match="--label-column and --label-from-name are given"):
        read_table(tmp_path / "list.csv", label_column="age", label_from_name=r"(.+)_\d+")


@pytest.mark.parametrize("pattern", ["(", r".+_\d+", r"(.)(.+)_\d+"])
def test_an_expression_without_one_group_is_refused(lay, tmp_path, pattern):
    lay(tmp_path, *PETS)
    with pytest.raises(InputError, match=re.escape(repr(pattern)) + ".* with one group"):
        read_table(tmp_path, label_from_name=pattern)


def test_an_expression_that_fits_no_name_is_refused_with_one_that_does(lay, tmp_path):
    lay(tmp_path, *PETS)
    with pytest.raises(
        InputError, match=r"have 0 classes by .* the first name is 'Abyssinian_1.jpg'"
    ) as raised:
        read_table(tmp_path, label_from_name=r"(.+)-\d+")
    assert raised.value.remedy.endswith(r"add --label-from-name '(.+)_\d+'.")
