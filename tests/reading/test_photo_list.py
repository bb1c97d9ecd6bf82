"""A sample submission names its photos in its own way; they lie near it or near the training data."""

import pytest

from kiyome.errors import InputError, TableError
from kiyome.reading.photo_list import read_photo_list


def put(folder, *names):
    """Files of these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def sample(folder, text):
    """A file with this text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sample_submission.csv").write_text(text)
    return folder / "sample_submission.csv"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("image_id,label\nb.jpg,4\na.jpg,4\n", ("b.jpg", "a.jpg")),
        ("id_code,diagnosis\nb,0\na,0\n", ("b", "a")),  # no usual name, no ending
        ("label,image_id\n4,b.jpg\n4,a.jpg\n", ("b.jpg", "a.jpg")),
        ("Image,Id\nb.jpg,w_0\na.jpg,w_1\n", ("b.jpg", "a.jpg")),  # a usual name that holds labels
        ("Image,Id\nb.jpg,a\na.jpg,a\n", ("b.jpg", "a.jpg")),  # labels that are called like photos
        ("image_id , label\nb.jpg ,4\n a.jpg,4\n", ("b.jpg ", " a.jpg")),
        ("image_id,label\nb.png,4\na.JPG,4\n", ("b.png", "a.JPG")),  # another ending
        ("what,file_name,label\n1,b.jpg,4\n2,a.jpg,4\n", ("b.jpg", "a.jpg")),
    ],
)
def test_ids_are_kept_as_written_and_lead_to_photos(tmp_path, text, ids):
    photos = put(tmp_path / "test_images", "a.jpg", "b.jpg")
    listed = read_photo_list(sample(tmp_path, text))
    assert listed.image_ids == ids
    assert listed.paths == (f"{photos}/b.jpg", f"{photos}/a.jpg")


@pytest.mark.parametrize("name", ["sample_submission_images", "test_images", "test", "images", "."])
def test_photos_lie_beside_the_sample(tmp_path, name):
    photos = put(tmp_path / name, "a.jpg", "b.jpg")
    listed = read_photo_list(sample(tmp_path, "image_id,label\na.jpg,0\n"))
    assert listed.paths == (f"{photos}/a.jpg",)


@pytest.mark.parametrize("name", ["test_images", "test"])
def test_photos_lie_beside_the_training_data(tmp_path, name):
    put(tmp_path / "contest" / "images", "a.jpg")  # those of the training set: never meant
    photos = put(tmp_path / "contest" / name, "a.jpg")
    path = sample(tmp_path / "elsewhere", "image_id,label\na.jpg,0\n")
    near = [tmp_path / "contest", tmp_path / "contest" / "images"]
    assert read_photo_list(path, near=near).paths == (f"{photos}/a.jpg",)
    with pytest.raises(TableError, match="1 of 1 photos"):
        read_photo_list(path, near=near[1:])


def test_ids_without_a_photo_are_counted_and_the_option_of_the_verb_is_named(tmp_path):
    put(tmp_path / "test_images", "a.jpg")
    ids = ["a.jpg", "a.png", *(f"c{number}" for number in range(7))]
    path = sample(tmp_path, "image_id,label\n" + "".join(f"{each},0\n" for each in ids))
    for option, remedy in (
        ("--images", "Name their folder with --images, or"),
        ("--test-images", "Name their folder with --test-images, or"),
        (None, "Give the folder instead, or delete these rows."),
    ):
        with pytest.raises(
            TableError,
            match=r"8 of 9 photos in column 'image_id' of sample_submission.csv are not in .*test_images",
        ) as error:
            read_photo_list(path, images_option=option)
        assert "test_images: 'a.png' (no such file), 'c0' (no such file), " in error.value.problem
        assert error.value.problem.endswith("'c3' (no such file), ...")
        assert error.value.remedy.startswith(remedy)


def test_what_is_no_list_of_photos_is_named(tmp_path):
    put(tmp_path / "test_images", "a.jpg")
    path = sample(tmp_path, "image_id,label\na.jpg,0\na.jpg,1\n")
    with pytest.raises(TableError, match=r"has an id more than once: 'a.jpg' line 2, 'a.jpg' line 3"):
        read_photo_list(path)
    with pytest.raises(TableError, match=r"sample_submission.csv has no rows"):
        read_photo_list(sample(tmp_path, "image_id,label\n"))
    with pytest.raises(
        InputError, match=r"nowhere is not a folder. Expected the photos of sample_submission.csv"
    ):
        read_photo_list(path, images=tmp_path / "nowhere")
