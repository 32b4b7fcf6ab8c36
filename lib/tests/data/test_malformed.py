"""Whatever is wrong with a download: one sentence that names it and says what to do, and nothing is harmed."""

import os
import re
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from lib.data import open_dataset, read_image, read_map, read_size
from lib.data.files import is_there, list_folders, read_table

from .fixtures import params
from .layouts import shoot
from .malformed import CASES, LAYOUTS, SETTINGS

LONGEST = 400  # letters of a message, without the folder of the downloads
ADVICE = "[Gg]et |Ask |download|copy|put |let it|choose|correct|mend|remove|rename|replace|convert|write|name the"
ADVICE += "|must|need|expected|is it"  # or what was looked for
ALL = [(dataset, *case) for dataset, cases in CASES.items() for case in cases]


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """Every layout as it should be, to be copied."""
    folder = tmp_path_factory.mktemp("good")
    for name, (write, _) in LAYOUTS.items():
        (folder / name).mkdir()
        write(folder / name)
    return folder


def look(root: Path) -> dict[str, Any]:
    """What lies below a folder, to the last byte."""
    found = {}
    for folder, below, names in os.walk(root):
        for path in (Path(folder, name) for name in below + names):
            kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "file"
            content = {"link": os.readlink, "folder": lambda _: None, "file": Path.read_bytes}[kind](path)
            found[str(path.relative_to(root))] = (kind, content)
    return found


def run(root: Path, dataset: str, **more: Any) -> None:
    """What a run does with a data set: open it, and read everything of every frame."""
    settings = {**SETTINGS.get(dataset, {}), **more}
    settings |= {name: str(root / settings[name]) for name in ("path", "maps") if settings.get(name)}
    data = open_dataset(params(root, dataset, **settings))
    for frame in data.frames():
        for read in (data.image, data.labels, data.instances, data.depth, data.camera_from_world):
            read(frame)


def check_sentence(error: BaseException, root: Path, name: str, says: str) -> None:
    """One sentence, of a kind that is meant to be read, which names the file or parameter and what to do."""
    text = str(error)
    assert type(error) in (ValueError, FileNotFoundError), repr(error)
    assert "\n" not in text
    assert "Traceback" not in text
    assert len(text.replace(str(root), "")) <= LONGEST
    assert name in text
    assert re.search(says, text), text
    assert re.search(ADVICE, text), text


def fails(root: Path, dataset: str, **more: Any) -> BaseException:
    """The error that a run stops with, of any kind."""
    try:
        run(root, dataset, **more)
    except Exception as error:
        return error
    pytest.fail(f"{dataset} was read as if nothing was wrong")


@pytest.mark.parametrize("dataset", LAYOUTS)
def test_the_layouts_themselves_are_read_and_stay_as_they_are(good, dataset):
    before = look(good / dataset)
    run(good / dataset, dataset)
    assert look(good / dataset) == before


@pytest.mark.parametrize(("dataset", "title", "name", "spoil", "says"), ALL, ids=[f"{c[0]}: {c[1]}" for c in ALL])
def test_one_sentence_and_nothing_harmed(good, tmp_path, dataset, title, name, spoil, says):
    shutil.copytree(good / dataset, tmp_path, dirs_exist_ok=True)
    path = Path(os.path.normpath(tmp_path / LAYOUTS[dataset][1] / name))
    spoil(path)
    before = look(tmp_path)
    more = {"path": str(path)} if dataset == "video" else {}
    check_sentence(fails(tmp_path, dataset, **more), tmp_path, str(path), says)
    assert look(tmp_path) == before


def test_cases_are_many_and_different():
    assert len(ALL) >= 40
    assert len({case[:2] for case in ALL}) == len(ALL)
    assert all(len(cases) >= 7 for cases in CASES.values())


@pytest.mark.parametrize("dataset", [name for name in LAYOUTS if name not in SETTINGS])
def test_a_missing_download_says_where_to_get_it(tmp_path, monkeypatch, dataset):
    check_sentence(fails(tmp_path, dataset), tmp_path, str(tmp_path), "no folder")
    monkeypatch.delenv("DATA_ROOT", raising=False)
    check_sentence(fails(Path(), dataset, data_root=""), tmp_path, "data_root", "DATA_ROOT")


@pytest.mark.parametrize("dataset", [n for n in LAYOUTS if n not in ("voc", "coco_stuff")])  # these read lists
def test_a_folder_that_may_not_be_read_is_no_empty_folder(good, monkeypatch, dataset):
    scan, images = os.scandir, read_folders(good / dataset)

    def refuse(path="."):
        if Path(path) in images:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    error = fails(good / dataset, dataset)
    check_sentence(error, good, str(good / dataset), "cannot read the folder .*Permission denied; mend or replace it")


def read_folders(root: Path) -> set[Path]:
    return {p.parent for p in root.rglob("*") if p.suffix in (".png", ".jpg")}


@pytest.mark.parametrize("dataset", LAYOUTS)
def test_a_file_that_may_not_be_read_is_named(good, monkeypatch, dataset):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    check_sentence(fails(good / dataset, dataset), good, str(good / dataset), "cannot read .*Permission denied")


def test_parameters_that_fit_no_data_set(good, tmp_path):
    check_sentence(fails(good / "camvid", "camvid", fold=4), good, "fold", "must be 0 to 3 for CamVid, not 4")
    check_sentence(fails(good / "images", "images", path=""), good, "path", "is empty: let it name your images")
    more = {"scored_dataset": "images", "path": "../images/images", "maps": ""}
    check_sentence(fails(good / "camvid", "camvid", **more), good, "scored_dataset", "images has no labelled frames")
    more = {"path": "images", "maps": str(tmp_path)}
    check_sentence(fails(good / "images", "images", **more), good, str(tmp_path), "has no map of 4 of 4 frames")


def png(width: int, height: int, bits: int, rows: bytes) -> bytes:
    """A grey PNG with what its header should say."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encode(ending: str, array: np.ndarray) -> bytes:
    return cv2.imencode(ending, array)[1].tobytes()


PICTURE = shoot(0, 0).image[..., ::-1]
FILES = {  # name -> content, the functions that must refuse it, what they say
    "huge.png": (png(100_000, 100_000, 8, b"0"), (read_image, read_map, read_size), "is not a readable image"),
    "flat.png": (png(0, 10, 8, b""), (read_image, read_map, read_size), "is not a readable image"),
    "grey4.png": (png(4, 2, 4, b"\0\x12\x34\0\x56\x78"), (read_map,), "has 4 bits, expected 8 or 16"),
    "grey1.png": (png(8, 1, 1, b"\0\x55"), (read_map,), "has 1 bits, expected 8 or 16"),
    "half.jpg": (encode(".jpg", PICTURE)[:900], (read_image, read_map), "is cut short"),
    "half.bmp": (encode(".bmp", PICTURE)[:900], (read_image, read_map), "is not a readable image"),
    "half.tif": (encode(".tif", PICTURE)[:900], (read_image, read_map), "is not a readable image"),
    "half.webp": (encode(".webp", PICTURE)[:900], (read_image, read_map), "is not a readable image"),
    "deep.tif": (encode(".tif", PICTURE.astype(np.uint16) * 257), (read_image,), "has 16 bits a channel"),
    "floats.tif": (encode(".tif", PICTURE[..., 0].astype(np.float32)), (read_map,), "holds float32 values, expected"),
    "alpha.png": (encode(".png", np.dstack([PICTURE, PICTURE[..., 0]])), (read_map,), "has 4 channels"),
    "page.png": (b"<!DOCTYPE html>", (read_image, read_map, read_size), "is not a readable image"),
    "words.txt": (b"1 2 three 4", (lambda path: read_table(path, 4),), "holds no rows of 4 numbers"),
    "five.txt": (b"1 2 3 4 5", (lambda path: read_table(path, 4),), "holds no rows of 4 numbers"),
}


@pytest.mark.parametrize("name", FILES)
def test_single_files_are_refused_in_one_sentence(tmp_path, name):
    content, functions, says = FILES[name]
    (tmp_path / name).write_bytes(content)
    for function in functions:
        with pytest.raises(ValueError) as error:
            function(tmp_path / name)
        check_sentence(error.value, tmp_path, name, says)
    assert look(tmp_path) == {name: ("file", content)}


def test_a_palette_with_wrong_checksums_is_refused(tmp_path):
    """PIL would give other ids without a word."""
    path = tmp_path / "ids.png"
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    image.putpalette(bytes(768))
    image.save(path, compress_level=0)
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes(range(8)), bytes(range(1, 9))))
    with pytest.raises(ValueError, match=r"ids\.png is not a readable image"):
        read_map(path)
    path.write_bytes(content)
    assert read_map(path)[0].tolist() == list(range(8))


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_what_follows_the_end_of_an_image_does_no_harm(tmp_path, ending):
    """Some phones write there."""
    path, content = tmp_path / f"a{ending}", encode(ending, PICTURE)
    path.write_bytes(content)
    plain = read_image(path)
    path.write_bytes(content + bytes(500))
    np.testing.assert_array_equal(read_image(path), plain)
    path.write_bytes(content[:-200] + bytes(64))
    with pytest.raises(ValueError, match="is cut short"):
        read_image(path)


def test_links_that_lead_nowhere_are_no_missing_files(tmp_path):
    for name, target in (("gone", "elsewhere"), ("loop", "loop")):
        (tmp_path / name).symlink_to(tmp_path / target)
        for folder in (False, True):
            with pytest.raises(ValueError, match=rf"{name} is no (file|folder), or a link that leads nowhere: mend"):
                is_there(tmp_path / name, folder)
    with pytest.raises(ValueError, match="leads nowhere"):
        list_folders(tmp_path)
    assert not is_there(tmp_path / "nothing")
    with pytest.raises(ValueError, match=f"{tmp_path} is no file"):
        is_there(tmp_path)
