import json
import os

import numpy as np
import pytest

from kiyome.artifacts.table_files import write_table
from kiyome.errors import InputError, KiyomeError, TableError
from kiyome.reading.read_table import read_table

GOOD_PHOTOS = ("a.jpg", "b.jpg", "c.jpg")

BAD_TABLES = {
    "empty file": (b"", "train.csv has no content. Expected a line of column names"),
    "only a header": ("image_id,label\n", ".*train.csv has no rows."),
    "no header": (
        "a,cat\nb,dog\n",
        "has no column label or .* Its columns are 'a', 'cat'. .*--label-column",
    ),
    "no id column": (
        "photo,label\na,0\n",
        "has no column image_id or .* Its columns are 'photo', 'label'.*--id-column",
    ),
    "one class": (
        "image_id,label\na.jpg,0\nb.jpg,0\n",
        "All 2 rows of train.csv have the label '0'. Expected at least two classes",
    ),
    "label nan": (
        "image_id,label\na.jpg,cat\nb.jpg,nan\nc.jpg,dog\n",
        "train.csv has rows without a label: 'nan' line 3",
    ),
    "ids twice, labels differ": (
        "image_id,label\nb.jpg,1\nb.jpg,1\na.jpg,0\na.jpg,1\n",
        "train.csv has 1 ids with different labels, such as 'a.jpg' in line 4 and line 5, labels '0' and '1'",
    ),
    "photo missing": (
        "image_id,label\na.jpg,0\nx.jpg,1\n",
        r"train.csv has photos that are not in .*train_images: 'x.jpg' \(no such file\) line 3",
    ),
    "absolute path": (
        "image_id,label\na.jpg,0\n/etc/passwd,1\n",
        "train.csv has photos outside the data folder .*: '/etc/passwd' line 3",
    ),
    "path upward": (
        "image_id,label\na.jpg,0\n../train.csv,1\n",
        "photos outside the data folder .*'../train.csv' line 3",
    ),
    "a folder for a photo": ("image_id,label\na.jpg,0\ninner,1\n", r"'inner' \(not a regular file\) line 3"),
    "class names alike": (
        "image_id,label\na.jpg,cat\nb.jpg, Cat\nc.jpg,dog\n",
        "train.csv has labels that are nearly equal: ' Cat' and 'cat'",
    ),
    "Unicode twins": (
        "image_id,label\na.jpg,cafe\u0301\nb.jpg,caf\u00e9\nc.jpg,tea\n",
        "Class names must differ in more than",
    ),
    "number twins": (
        "image_id,label\na.jpg,1\nb.jpg,1.0\nc.jpg,0\n",
        "train.csv has labels that are nearly equal: '1' and '1.0'",
    ),
    "short line": (
        "image_id,label\na.jpg,0\nb.jpg\nc.jpg,1\n",
        "Line 3 of train.csv has 1 cells, the header has 2",
    ),
    "long line": (
        "image_id,label\na.jpg,0,9\nb.jpg,1\n",
        "Line 2 of train.csv has 3 cells, the header has 2",
    ),
    "columns twice": (
        "image_id,label,label\na.jpg,0,1\n",
        "train.csv has 2 columns 'label'",
    ),
    "NUL": ("image_id,label\na.jpg,0\nb\0.jpg,1\n", "train.csv holds a NUL character in line 3"),
    "latin-1": (
        "image_id,label\na.jpg,caf\u00e9\n".encode("latin-1"),
        "train.csv is not UTF-8: byte 0xe9 in line 2. Save it as UTF-8",
    ),
    "Shift JIS": ("image_id,label\na.jpg,病気\n".encode("shift-jis"), "not UTF-8: byte"),
    "UTF-16 without a mark": (
        "image_id,label\na.jpg,0\n".encode("utf-16-le"),
        "a NUL character.*It may be UTF-16",
    ),
    "open quote": (
        'image_id,label\na.jpg,0\n"b.jpg,1\nc.jpg,1\n',
        "train.csv cannot be split into cells from line 3 on: .*Quotation marks must be closed",
    ),
    "text after a quote": (
        'image_id,label\na.jpg,0\n"b".jpg,1\n',
        "train.csv cannot be split into cells from line 3 on",
    ),
    "fold no number": (
        "image_id,label,fold\na.jpg,0,0\nb.jpg,1,x\n",
        "train.csv has folds that are not whole numbers from 0: 'x' line 3.*rename the column 'fold'",
    ),
    "fold half": (
        "image_id,label,fold\na.jpg,0,0\nb.jpg,1,0.5\n",
        "train.csv has folds that are not whole numbers from 0: '0.5' line 3",
    ),
    "true label unknown": (
        "image_id,label,true_label\na.jpg,cat,dog\nb.jpg,dog,Dog\n",
        "train.csv has labels that are nearly equal: 'Dog' and 'dog'",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_a_bad_table_is_named(csv_with_photos, tmp_path, text, message):
    path = csv_with_photos(tmp_path, text, *GOOD_PHOTOS, "inner/d.jpg", "É.jpg")
    with pytest.raises(TableError, match=message):
        read_table(path)


def test_problem_and_remedy_are_sentences(csv_with_photos, tmp_path):
    path = csv_with_photos(tmp_path, "image_id,label\na.jpg,0\nb.jpg,0\n", *GOOD_PHOTOS)
    with pytest.raises(TableError) as error:
        read_table(path)
    assert error.value.problem.endswith(".")
    assert error.value.remedy.endswith(".")


def test_line_numbers_are_those_of_an_editor(csv_with_photos, tmp_path):
    text = 'image_id,label\r\n\r\n"a\nb.jpg",0\r\n"c\nd\ne.jpg",1\r\nx.jpg,\r\n'
    table = read_table(csv_with_photos(tmp_path, text, "a\nb.jpg", "c\nd\ne.jpg", "x.jpg"))
    assert table.skipped == (("x.jpg", "row set aside: without a label (line 8)"),)


def test_five_are_shown_and_all_are_listed(csv_with_photos, tmp_path):
    rows = "".join(f"x{i}.jpg,{i % 2}\n" for i in range(9))
    path = csv_with_photos(tmp_path, "image_id,label\n" + rows, *GOOD_PHOTOS)
    with pytest.raises(
        TableError, match=r"line 6 and 4 more rows.* All are listed in .*missing.csv"
    ) as error:
        read_table(path, missing_list=tmp_path / "missing.csv")
    assert "x4.jpg" in str(error.value)
    assert "x5.jpg" not in str(error.value)
    lines = (tmp_path / "missing.csv").read_text().splitlines()
    assert lines[0] == "line,photo,reason"
    assert lines[-1] == "10,x8.jpg,no such file"
    assert len(lines) == 10


def test_kaggle_folder_with_its_map(csv_with_photos, tmp_path):
    csv_with_photos(
        tmp_path, "image_id,label\nb.jpg,4\na.jpg,0\n", "a.jpg", "b.jpg", "extra.jpg", "notes.txt"
    )
    names = {"0": "CBB", "1": "CBSD", "2": "CGM", "3": "CMD", "4": "Healthy"}
    (tmp_path / "label_num_to_disease_map.json").write_text(json.dumps(names))
    table = read_table(tmp_path)
    assert table.class_names == ("CBB", "CBSD", "CGM", "CMD", "Healthy")
    assert table.image_ids.tolist() == ["b.jpg", "a.jpg"]
    assert table.given_labels.tolist() == table.labels.tolist() == [4, 0]
    assert table.root == tmp_path / "train_images"
    assert table.photo_paths() == [str(tmp_path / "train_images" / name) for name in ("b.jpg", "a.jpg")]
    assert table.skipped == (("extra.jpg", "no row in train.csv"),)


@pytest.mark.parametrize("folder", ["labels_images", "images", "labels", "."])
def test_the_image_folder_is_found(lay, tmp_path, folder):
    lay(tmp_path / folder, "001.jpg", "002.JPG")
    (tmp_path / "labels.csv").write_text("id,label\n001,cat\n002,dog\n")
    table = read_table(tmp_path / "labels.csv")
    assert table.image_ids.tolist() == ["001", "002"]
    assert table.paths.tolist() == ["001.jpg", "002.JPG"]


def test_an_id_that_two_files_share_is_not_guessed(csv_with_photos, tmp_path):
    with pytest.raises(TableError, match=r"'a' \(2 files of that name: a.jpg, a.png\) line 2"):
        read_table(csv_with_photos(tmp_path, "id,label\na,0\nb,1\n", "a.jpg", "a.png", "b.jpg"))


def test_a_link_that_leaves_the_data_folder_is_refused(csv_with_photos, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"")
    path = csv_with_photos(tmp_path / "data", "image_id,label\na.jpg,0\nb.jpg,1\nout/secret.jpg,1\n", "a.jpg")
    (tmp_path / "data/train_images/b.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "data/train_images/out").symlink_to(tmp_path)
    with pytest.raises(
        TableError, match=r"photos outside the data folder.*'b.jpg' line 3, 'out/secret.jpg' line 4"
    ):
        read_table(path)


def test_a_link_inside_the_data_folder_and_a_linked_data_folder_are_fine(csv_with_photos, tmp_path):
    path = csv_with_photos(tmp_path / "disk", "image_id,label\na.jpg,0\nb.jpg,1\n", "a.jpg")
    (tmp_path / "disk/train_images/b.jpg").symlink_to("a.jpg")
    (tmp_path / "linked").symlink_to(tmp_path / "disk/train_images")
    assert len(read_table(path)) == 2
    assert len(read_table(path, images=tmp_path / "linked")) == 2


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: (text + "\n\n").encode(),
        lambda text: text.rstrip("\n").encode(),
        lambda text: text.replace("image_id,label", "Image_ID, Label").encode(),
    ],
)
def test_forms_of_csv_that_mean_the_same(csv_with_photos, tmp_path, encode):
    text = "image_id,label,extra\na.jpg,café,1\nb.jpg,NA,2\nc.jpg,1e5,3\n"
    table = read_table(csv_with_photos(tmp_path, encode(text), *GOOD_PHOTOS))
    assert [table.class_names[label] for label in table.labels] == ["café", "NA", "1e5"]


def test_labels_that_are_numbers_are_sorted_as_numbers(csv_with_photos, tmp_path):
    table = read_table(csv_with_photos(tmp_path, "image_id,label\na.jpg,10\nb.jpg,9\n", *GOOD_PHOTOS))
    assert table.class_names == ("9", "10")


@pytest.mark.parametrize(
    ("class_map", "names", "labels", "texts"),
    [
        ({"0": "healthy", "1": "blight"}, ("healthy", "blight"), [1, 0], ("0", "1")),
        ({"healthy": 0, "blight": 1}, ("healthy", "blight"), [1, 0], ("0", "1")),
        (["healthy", "blight", "rust"], ("healthy", "blight", "rust"), [1, 0], ("0", "1", "2")),
        ({"1": "sick", "0": "well", "2": "sick"}, ("well", "sick"), [1, 0], ("0", "1")),
        ({"2": "sick", "0": "well", "1": "sick"}, ("well", "sick"), [1, 0], ("0", "1")),
        ({"healthy": ["0"], "blight": ["1"]}, ("healthy", "blight"), [1, 0], ("0", "1")),
        ({"0": ["healthy"], "1": ["blight"]}, ("0", "1"), [1, 0], ("healthy", "blight")),
        (["0", "1"], ("0", "1"), [1, 0], ("0", "1")),
        (None, ("0", "1"), [1, 0], ("0", "1")),
    ],
)
def test_a_class_map_gives_labels_their_meaning(csv_with_photos, tmp_path, class_map, names, labels, texts):
    path = csv_with_photos(tmp_path, "image_id,label\na.jpg,1\nb.jpg,0\n", *GOOD_PHOTOS)
    table = read_table(path, class_map=class_map)
    assert (table.class_names, table.label_texts) == (names, texts)
    assert table.labels.tolist() == labels
    for copy in (tmp_path / "table.csv", tmp_path / "table.parquet"):
        write_table(table, copy)
        assert read_table(copy, images=table.root).label_texts == texts  # and on, through every run


def test_a_class_map_allows_names_that_differ_in_case(csv_with_photos, tmp_path):
    path = csv_with_photos(tmp_path, "image_id,label\na.jpg,a\nb.jpg,A\nc.jpg,nan\n", *GOOD_PHOTOS)
    assert read_table(path, class_map=["a", "A", "nan"]).labels.tolist() == [0, 1, 2]


def test_a_label_outside_the_class_map_is_named(csv_with_photos, tmp_path):
    path = csv_with_photos(tmp_path, "image_id,label\na.jpg,0\nb.jpg,1\nc.jpg,7\n", *GOOD_PHOTOS)
    (tmp_path / "label_num_to_disease_map.json").write_text('{"0": "healthy", "1": "blight"}')
    with pytest.raises(
        TableError,
        match=r"not in label_num_to_disease_map.json: '7' line 4. It names 2 classes: healthy, blight",
    ):
        read_table(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "The class map .*names.json cannot be read as JSON"),
        ('{"0": "a", "0": "b"}', "The class map .*names.json cannot be read as JSON: a key occurs twice"),
        ("[]", "names.json is no class map .* Expected a list of class names, or"),
        ("3", "names.json is no class map .* Expected a list of class names, or"),
        ('["a", "a"]', "names.json is no class map .* Expected a list of class names, or"),
        ('{"0": null}', "names.json is no class map .* Expected a list of class names, or"),
        ('{"a": 0, "b": 0}', "names.json is no class map .* Expected a list of class names, or"),
        ('{"a": ["0"], "b": ["0"]}', "names.json is no class map .* Expected a list of class names, or"),
        ('{"a": ["0"], "b": []}', "names.json is no class map .* Expected a list of class names, or"),
    ],
)
def test_a_bad_class_map_is_named(csv_with_photos, tmp_path, content, message):
    path = csv_with_photos(tmp_path, "image_id,label\na.jpg,0\nb.jpg,1\n", *GOOD_PHOTOS)
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(TableError, match=message):
        read_table(path, class_map=tmp_path / "names.json")


def test_optional_columns_are_used(csv_with_photos, tmp_path):
    text = (
        "image_id,given_label,label,true_label,fold,patient_id,weight\n"
        "a.jpg,cat,dog,dog,0,anna,0.5\nb.jpg,dog,dog,,1.0,,1\nc.jpg,cat,cat,cow,4,anna,1e-3\n"
    )
    table = read_table(csv_with_photos(tmp_path, text, *GOOD_PHOTOS))
    assert table.class_names == ("cat", "cow", "dog")
    assert table.given_labels.tolist() == [0, 2, 0]
    assert table.labels.tolist() == [2, 2, 0]
    assert table.true_labels.tolist() == [2, -1, 1]
    assert table.folds.tolist() == [0, 1, 2]
    assert table.groups.tolist() == ["anna", "", "anna"]
    assert table.weights.tolist() == np.float32([0.5, 1, 1e-3]).tolist()


def test_ids_and_paths_may_be_two_columns(csv_with_photos, tmp_path):
    text = "id,label,file_name\n7,cat,x/a.jpg\n8,dog,x/b.jpg\n"
    table = read_table(csv_with_photos(tmp_path, text, "x/a.jpg", "x/b.jpg"))
    assert table.image_ids.tolist() == ["7", "8"]
    assert table.paths.tolist() == ["x/a.jpg", "x/b.jpg"]


def test_columns_can_be_named(csv_with_photos, tmp_path):
    path = csv_with_photos(tmp_path, "Image,Id\na.jpg,w_1\nb.jpg,w_2\n", *GOOD_PHOTOS)
    assert read_table(path, id_column="Image", label_column="Id").class_names == ("w_1", "w_2")
    with pytest.raises(TableError, match=r"has no column whale. Its columns are 'Image', 'Id'"):
        read_table(path, id_column="Image", label_column="whale")


def test_two_tables_in_one_folder_are_not_guessed(csv_with_photos, tmp_path):
    csv_with_photos(tmp_path, "image_id,label\na.jpg,0\n", *GOOD_PHOTOS)
    (tmp_path / "metadata.csv").write_text("file_name,label\n")
    with pytest.raises(TableError, match=r"has more than one table: metadata.csv and train.csv"):
        read_table(tmp_path)


def test_predictions_need_no_photos(tmp_path):
    (tmp_path / "train.csv").write_text("image_id,label\n/data/a.jpg,0\nb.jpg,1\n")
    table = read_table(tmp_path / "train.csv", allow_missing=True)
    assert table.image_ids.tolist() == ["/data/a.jpg", "b.jpg"]
    assert table.photo_paths() == ["", ""]


def test_what_is_not_there_is_named(csv_with_photos, tmp_path):
    with pytest.raises(TableError, match=r"There is no folder or table at '.*nowhere'"):
        read_table(tmp_path / "nowhere")
    path = csv_with_photos(tmp_path, "image_id,label\na.jpg,0\nb.jpg,1\n", *GOOD_PHOTOS)
    with pytest.raises(TableError, match=r"There is no folder at '.*'. Check the path of --images"):
        read_table(path, images=path)


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "train.xlsx").write_bytes(b"PK")
    with pytest.raises(
        TableError,
        match=r".*train.xlsx does not end like a table. Expected .csv, .csv.gz, .tsv, .* Save it as CSV.",
    ):
        read_table(tmp_path / "train.xlsx")


def test_options_of_tables_are_refused_for_class_folders(lay, tmp_path):
    lay(tmp_path, "cat/1.jpg", "dog/1.jpg")
    with pytest.raises(InputError, match=r"has no table: .* --images and options that name columns need one"):
        read_table(tmp_path, label_column="label")


def test_no_source_file_is_changed(csv_with_photos, tmp_path):
    path = csv_with_photos(tmp_path, "image_id,label\na.jpg,0\nb.jpg,1\n", *GOOD_PHOTOS)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}
    read_table(path)
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_table_that_may_not_be_read_is_named(csv_with_photos, tmp_path):
    path = csv_with_photos(tmp_path, "image_id,label\na.jpg,0\nb.jpg,1\n", *GOOD_PHOTOS)
    path.chmod(0)
    with pytest.raises(TableError, match=r"cannot be opened: Permission denied"):
        read_table(path)


def test_random_bytes_never_end_in_another_error(csv_with_photos, tmp_path):
    rng = np.random.default_rng(0)
    good, outcomes = b'image_id,label,fold\na.jpg,0,1\n"b.jpg",1,2\n', []
    for turn in range(300):
        raw = bytearray(good)
        for _ in range(rng.integers(1, 6)):
            raw[rng.integers(len(raw))] = rng.integers(256)
        path = csv_with_photos(
            tmp_path, bytes(raw), *GOOD_PHOTOS, name=f"t{turn % 3}.{('csv', 'jsonl', 'tsv')[turn % 3]}"
        )
        try:
            outcomes.append(len(read_table(path, images=tmp_path / "train_images")))
        except KiyomeError as error:
            outcomes.append(type(error).__name__)
    assert outcomes.count(2) > 5  # damage that leaves a table
    assert outcomes.count("TableError") > 150


def test_cassava_table_is_read_as_it_is(shared_data):
    table = read_table(shared_data / "cassava" / "train.csv", allow_missing=True)
    assert len(table) == 21_397
    assert np.bincount(table.labels).tolist() == [1087, 2189, 2386, 13158, 2577]
