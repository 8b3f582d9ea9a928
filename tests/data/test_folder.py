import sys

import numpy as np
import pytest

from fedbal.data.dataset import Request, Scaling
from fedbal.data.federation import load_federation
from fedbal.data.folder import load
from fedbal.data.params import FolderData, NaturalIdParams
from fedbal.errors import RunError, UsageError

Image = pytest.importorskip("PIL.Image")
COLOURS = {"cat": (250, 0, 0), "dog": (0, 200, 0), "owl": (0, 0, 90)}


def picture(path, colour=(9, 9, 9), size=(12, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)
    return path


def fill(root, each=10, suffix="png"):
    for label, colour in COLOURS.items():
        for number in range(each):
            picture(root / label / f"p{number // 2}_{number}.{suffix}", colour)
    return root


def read(root, request=None, **options):
    settings = {"size": 4, "mode": "rgb", "test": 0.2, "clients_first": False, "pattern": None, **options}
    return load(request or Request(0), path=str(root), **settings)


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG"])
def test_classes_are_sorted_folders_and_pictures_are_resized(tmp_path, suffix):
    data = read(fill(tmp_path, suffix=suffix), size=[6, 5])
    assert (data.classes, data.input_shape, data.x.dtype) == (("cat", "dog", "owl"), (3, 6, 5), np.uint8)
    assert data.scaling == Scaling(255.0)
    assert list(np.bincount(data.y_test)) == [2, 2, 2]
    for x, y in ((data.x, data.y), (data.x_test, data.y_test)):
        wanted = np.array(list(COLOURS.values()))[y][:, :, None, None]
        assert np.abs(x.astype(int) - wanted).max() <= (0 if suffix == "png" else 3)


def test_grey_has_one_channel_and_keeps_the_high_byte_of_16_bits(tmp_path):
    fill(tmp_path)
    deep = np.full((8, 12), 0x8040, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "owl" / "deep.png")
    data = read(tmp_path, mode="grey")
    assert data.input_shape == (1, 4, 4)
    assert 0x80 in np.concatenate([data.x, data.x_test])
    assert set(np.unique(data.x[data.y == 0])) == {round(0.299 * 250)}


def test_folders_of_numbers_keep_their_names(tmp_path):
    for number in range(12):
        for copy in range(5):
            picture(tmp_path / str(number) / f"{copy}.png", (20 * number, 0, 0))
    data = read(tmp_path)
    assert data.classes == tuple(sorted(map(str, range(12))))
    for x, y in zip(data.x, data.y, strict=True):
        assert x[0, 0, 0] == 20 * int(data.classes[y])


def test_train_and_test_folders_are_used_as_they_are(tmp_path):
    fill(tmp_path / "train", 4)
    picture(tmp_path / "test" / "dog" / "x.png")
    data = read(tmp_path)
    assert (len(data.y), list(data.y_test)) == (12, [1])
    picture(tmp_path / "test" / "eel" / "x.png")
    with pytest.raises(UsageError, match="class 'eel' has no training picture"):
        read(tmp_path)


def test_folders_of_clients_are_natural_clients(tmp_path):
    for client in ("ulm", "bonn"):
        fill(tmp_path / client)
    (tmp_path / "ulm" / "cat" / "p0_0.png").unlink()
    block = FolderData(
        path=str(tmp_path), size=4, clients_first=True, partition=NaturalIdParams(partition_by="client")
    )
    federation = load_federation(block, 0)
    assert federation.names == ("bonn", "ulm")
    assert sum(len(rows) for rows in (federation.dataset.y, federation.dataset.y_test)) == 59


def test_a_pattern_names_patients_that_stay_together(tmp_path):
    block = FolderData(path=str(fill(tmp_path)), size=4, pattern="^(?P<patient>p[0-9]+)_", group="patient")
    federation = load_federation(block, 0)
    assert set(federation.dataset.columns["patient"]) < {f"p{number}" for number in range(5)}
    assert federation.grouping.groups == len(set(federation.dataset.columns["patient"]))
    assert len(federation.dataset.y) % 6 == 0
    picture(tmp_path / "cat" / "odd.png")
    with pytest.raises(UsageError, match=r"cat/odd\.png: data\.pattern .* does not match"):
        load_federation(block, 0)


def test_other_files_are_ignored_and_counted(tmp_path):
    fill(tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "cat" / "notes.csv").write_text("hello")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"\0")
    assert read(tmp_path).source == f"{tmp_path} (1 hidden files, 2 other files ignored)"


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_damaged_picture_is_named(tmp_path, content):
    fill(tmp_path)
    bad = tmp_path / "dog" / "bad.png"
    if content is None:
        noise = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(bad)
        content = bad.read_bytes()[:2000]
    bad.write_bytes(content)
    with pytest.raises(RunError, match=r"dog/bad\.png is no readable picture"):
        read(tmp_path)


def test_folders_that_do_not_fit_are_named(tmp_path):
    fill(tmp_path)
    (tmp_path / "yak").mkdir()
    with pytest.raises(UsageError, match="yak: class 'yak' has no picture"):
        read(tmp_path)
    (tmp_path / "yak").rmdir()
    with pytest.raises(UsageError, match=r"no column 'client', nor any\. data\.clients_first"):
        read(tmp_path, Request(0, client_column="client"))
    picture(tmp_path / "cat" / "more" / "x.png")
    with pytest.raises(UsageError, match=r"cat/more is a folder in the folder of class 'cat'.*clients_first"):
        read(tmp_path)
    with pytest.raises(UsageError, match="at least two classes"):
        read(tmp_path / "cat")
    with pytest.raises(UsageError, match="is no folder"):
        read(tmp_path / "dog" / "p0_0.png")


def test_a_pattern_must_name_something():
    for pattern, message in (("p[0-9]+", "names no group"), ("(", "no regular expression")):
        with pytest.raises(ValueError, match=message):
            FolderData(path="x", pattern=pattern)


def test_without_pillow_the_message_says_what_to_install(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match=r"pip install 'fedbal\[data\]'"):
        read(tmp_path)
