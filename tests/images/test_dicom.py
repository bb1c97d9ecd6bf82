"""DICOM photos as viewers show them; broken ones refused; patients kept together and never named."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from kiyome import check, find
from kiyome.errors import UnreadablePhoto
from kiyome.images.decode import decode_photo
from kiyome.images.dicom import patient_groups

NEEDS_PYDICOM = "needs the extra dicom"
COMPRESSED_AS_A_WHOLE = "1.2.840.10008.1.2.1.99"
rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (40, 50), np.uint8)
DEEP = rng.integers(0, 1 << 12, (40, 50), np.uint16)


def dicom(values: np.ndarray, *, coding: str = "1.2.840.10008.1.2.1", **tags: object) -> bytes:
    """A DICOM file with these values (H, W), (frames, H, W) or (H, W, 3)."""
    pydicom = pytest.importorskip("pydicom", reason=NEEDS_PYDICOM)
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = coding
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = pydicom.dataset.Dataset()
    file.file_meta = meta
    is_color = values.shape[-1] == 3
    file.Rows, file.Columns = values.shape[:2] if is_color else values.shape[-2:]
    if values.ndim == 3 and not is_color:
        file.NumberOfFrames = len(values)
    file.SamplesPerPixel = 3 if is_color else 1
    file.PhotometricInterpretation = "RGB" if is_color else "MONOCHROME2"
    if is_color:
        file.PlanarConfiguration = 0
    file.BitsAllocated = 8 * values.itemsize
    file.BitsStored = 8 if values.itemsize == 1 else 12
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(values.dtype.kind == "i")
    file.PixelData = values.tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    written = io.BytesIO()
    file.save_as(written, enforce_file_format=True)
    return written.getvalue()


def test_eight_bits_and_colors_come_out_as_they_are():
    photo = decode_photo(dicom(GREY))
    assert (photo.format, photo.findings) == ("DICOM", ())
    assert np.array_equal(photo.pixels, np.repeat(GREY[:, :, None], 3, axis=2))
    color = rng.integers(0, 256, (40, 50, 3), np.uint8)
    assert np.array_equal(decode_photo(dicom(color)).pixels, color)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
@pytest.mark.parametrize("inverted", [False, True])
def test_values_are_rescaled_windowed_and_inverted_as_the_standard_says(function, kind, inverted):
    values = (DEEP.astype(int) - (2048 if kind is np.int16 else 0)).astype(kind)
    data = dicom(
        values,
        RescaleSlope=2,
        RescaleIntercept=-1000,
        WindowCenter=[300, 40],
        WindowWidth=[1500, 80],
        VOILUTFunction=function,
        PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
    )
    x = values.astype(np.float64) * 2 - 1000
    expected = {
        "LINEAR": (x - 299.5) / 1499 + 0.5,
        "LINEAR_EXACT": (x - 300) / 1500 + 0.5,
        "SIGMOID": 1 / (1 + np.exp(-4 * (x - 300) / 1500)),
    }[function].clip(0, 1) * 255
    photo = decode_photo(data)
    assert np.abs(photo.pixels[:, :, 0] - (255 - expected if inverted else expected)).max() <= 0.51
    assert photo.findings == ()


def test_deep_grey_without_a_window_is_shown_from_its_smallest_to_its_largest_value():
    photo = decode_photo(dicom(DEEP // 40 + 500))
    assert (photo.pixels.min(), photo.pixels.max()) == (0, 255)
    assert photo.findings == ("no window, shown from its smallest to its largest value",)


def test_a_table_of_values_goes_before_a_window():
    pydicom = pytest.importorskip("pydicom", reason=NEEDS_PYDICOM)
    table = pydicom.dataset.Dataset()
    table.LUTDescriptor = [4096, 0, 10]
    table.LUTData = (np.arange(4095, -1, -1, np.uint16) // 4).tobytes()
    data = dicom(DEEP, VOILUTSequence=[table], WindowCenter=2048, WindowWidth=10)
    assert np.abs(decode_photo(data).pixels[:, :, 0] - (4095 - DEEP) / 4095 * 255).max() <= 1


def test_of_several_frames_the_first_is_shown_and_that_is_said():
    photo = decode_photo(dicom(np.stack([GREY, 255 - GREY])))
    assert np.array_equal(photo.pixels[:, :, 1], GREY)
    assert photo.findings == ("first of several frames",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"PixelData": None}, "a DICOM file without a photo"),
        ({"Rows": 60_000, "Columns": 60_000}, "60000 x 60000 pixels"),
        ({"BitsStored": None}, "broken DICOM data"),
        ({"coding": COMPRESSED_AS_A_WHOLE}, "a DICOM file that is compressed as a whole"),
    ],
)
def test_what_is_no_photo_or_too_large_is_refused_with_its_reason(change, reason):
    data = dicom(GREY)
    if "coding" in change:
        data = dicom(GREY, **change)
    else:
        pydicom = pytest.importorskip("pydicom")
        file = pydicom.dcmread(io.BytesIO(data))
        for name, value in change.items():
            if value is None:
                del file[name]
            else:
                setattr(file, name, value)
        written = io.BytesIO()
        file.save_as(written)
        data = written.getvalue()
    with pytest.raises(UnreadablePhoto, match=reason):
        decode_photo(data)


def test_a_photo_cut_off_is_refused():
    with pytest.raises(UnreadablePhoto, match="broken DICOM data"):
        decode_photo(dicom(GREY)[:-100])


def test_without_the_extra_the_reason_holds_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadablePhoto) as caught:
        decode_photo(bytes(128) + b"DICM" + bytes(600))
    assert caught.value.reason == "a DICOM photo; to read it, run: pip install 'kiyome[dicom]'"


def write_patients(folder: Path, num_patients: int, photos_each: int) -> None:
    """Class folders of DICOM files, some without an ending; nothing but the tags tells the patient."""
    for number in range(num_patients * photos_each):
        patient = number % num_patients
        values = np.clip(np.full((40, 50), 60 + 120 * (patient % 2)) + rng.normal(0, 30, (40, 50)), 0, 255)
        data = dicom(
            values.astype(np.uint8), PatientID=f"SECRET-{patient}", PatientName="SECRET^NAME", PatientSex="F"
        )
        path = folder / "ab"[patient % 2] / f"IM{number:03d}{'' if number % 3 else '.dcm'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_photos_of_a_patient_stay_in_one_fold_and_no_file_names_them(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("KIYOME_CACHE", str(tmp_path / "cache"))
    write_patients(tmp_path / "scans", num_patients=12, photos_each=3)
    result = find(tmp_path / "scans", backbone="tiny", num_folds=3, output=tmp_path / "run", progress=False)
    table = result.table
    assert "Photos of one patient stay in one fold: 12 patients, named in DICOM files." in result.table.notes
    assert table.groups is not None
    folds_of = {group: set(table.folds[table.groups == group].tolist()) for group in set(table.groups)}
    assert [len(folds) for folds in folds_of.values()] == 12 * [1]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "scans" not in path.parts]
    assert len(written) > 10
    assert not [path for path in written if b"SECRET" in path.read_bytes()]


def test_few_patients_make_no_groups(tmp_path: Path):
    write_patients(tmp_path / "scans", num_patients=2, photos_each=6)
    result = check(tmp_path / "scans", output=tmp_path / "run", progress=False)
    assert result.table.groups is None
    assert result.table.notes == (
        "The 2 patients named in DICOM files were not used to make folds: they are few.",
    )
    assert result.photos.set_aside == {}


def test_photos_without_a_patient_are_groups_of_their_own(tmp_path: Path):
    names = ["a.dcm", "b.dcm", "c.dcm", "d.jpg"]
    for name, patient in zip(names, ["1 ", "1", None, "1"], strict=True):
        (tmp_path / name).write_bytes(dicom(GREY, **({"PatientID": patient} if patient else {})))
    groups = patient_groups([tmp_path / name for name in names])
    assert groups is not None
    assert groups.tolist() == ["patient 1", "patient 1", "", ""]


JPEG_LOSSLESS, JPEG_LS, HTJ2K = (f"1.2.840.10008.1.2.4.{number}" for number in (70, 80, 201))


def jpeg_lossless(values: np.ndarray, bits: int) -> bytes:
    """Grey values (H, W) as JPEG Lossless: each by its difference to the one before, in a Huffman code."""
    before = np.empty_like(values, int)
    before[:, 1:], before[1:, 0], before[0, 0] = values[:, :-1], values[:-1, 0], 1 << (bits - 1)
    text = ""
    for difference in (values - before).ravel().tolist():
        size = abs(difference).bit_length()
        number = difference if difference > 0 else difference + (1 << size) - 1
        text += f"{size:04b}" + (f"{number:0{size}b}" if size else "")
    text += "1" * (-len(text) % 8)
    scan = bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8))
    frame = bytes([bits, *(byte for side in values.shape for byte in divmod(side, 256)), 1, 1, 0x11, 0])
    table = bytes([0, 0, 0, 0, 13, *12 * [0], *range(13)])
    parts = {0xC3: frame, 0xC4: table, 0xDA: bytes([1, 1, 0, 1, 0, 0])}
    head = b"".join(bytes([0xFF, kind, 0, len(part) + 2]) + part for kind, part in parts.items())
    return b"\xff\xd8" + head + scan.replace(b"\xff", b"\xff\x00") + b"\xff\xd9"


def encapsulated(content: bytes, coding: str) -> bytes:
    """A DICOM file of deep grey with this content."""
    pydicom = pytest.importorskip("pydicom", reason=NEEDS_PYDICOM)
    file = pydicom.dcmread(io.BytesIO(dicom(DEEP, WindowCenter=2048, WindowWidth=4096)))
    file.file_meta.TransferSyntaxUID = coding
    file.PixelData = pydicom.encaps.encapsulate([content])
    file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
    written = io.BytesIO()
    file.save_as(written, enforce_file_format=True)
    return written.getvalue()


def has_decoder(coding: str) -> bool:
    return pytest.importorskip("pydicom.pixels", reason=NEEDS_PYDICOM).get_decoder(coding).is_available


@pytest.mark.parametrize(
    ("coding", "packages"),
    [
        (JPEG_LOSSLESS, "python-gdcm"),
        (JPEG_LS, "python-gdcm"),
        (HTJ2K, "pylibjpeg pylibjpeg-openjpeg"),
    ],
)
def test_a_coding_without_its_decoder_names_the_package(coding, packages):
    if has_decoder(coding):
        pytest.skip("the decoder is installed")
    with pytest.raises(UnreadablePhoto, match=r"a DICOM photo coded as .*JPEG") as raised:
        decode_photo(encapsulated(b"...", coding))
    assert raised.value.reason.endswith(f"; to read it, run: pip install {packages}")


def test_jpeg_lossless_is_read_with_its_decoder():
    if not has_decoder(JPEG_LOSSLESS):
        pytest.skip("needs python-gdcm or pylibjpeg")
    data = encapsulated(jpeg_lossless(DEEP, 12), JPEG_LOSSLESS)
    plain = decode_photo(dicom(DEEP, WindowCenter=2048, WindowWidth=4096))
    assert np.array_equal(decode_photo(data).pixels, plain.pixels)
    with pytest.raises(UnreadablePhoto, match="coded as JPEG Lossless") as raised:
        decode_photo(encapsulated(b"...", JPEG_LOSSLESS))
    assert "pip install" not in str(raised.value)
