import dataclasses
import hashlib
import pickle
import pickletools

import numpy as np
import pytest

from fedbal.data.cifar import load_cifar10, load_cifar100, load_release
from fedbal.data.cifar_batches import read_batch
from fedbal.data.cifar_releases import CIFAR10, CIFAR100
from fedbal.data.dataset import Request, Scaling
from fedbal.errors import RunError, UsageError
from tests.data.cifar_files import batches, python2_pickle, write_archive, write_folder


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv("FEDBAL_DATA", raising=False)
    monkeypatch.setenv("FEDBAL_CACHE", str(tmp_path / "cache"))


def stacked(content, names, key):
    return (
        np.concatenate([content[name][b"data"] for name in names]),
        np.concatenate([content[name][key] for name in names]),
    )


def test_the_test_s_batches_are_what_pickle_reads():
    content = batches(CIFAR10)["test_batch"]
    read = pickle.loads(python2_pickle(content), encoding="bytes")
    np.testing.assert_array_equal(read.pop(b"data"), content.pop(b"data"))
    assert read == content


@pytest.mark.parametrize("place", ["folder", "archive", "inside"])
def test_the_published_forms_give_the_same_data(tmp_path, place):
    content = batches(CIFAR10)
    if place == "archive":
        path = write_archive(tmp_path / "cifar-10-python.tar.gz", CIFAR10, content)
    else:
        path = write_folder(tmp_path / "mine" / CIFAR10.folder, content)
        path = path.parent if place == "inside" else path
    data = load_cifar10(Request(0, tmp_path), path=str(path))
    x, y = stacked(content, CIFAR10.train, b"labels")
    np.testing.assert_array_equal(data.x.reshape(len(x), -1), x)
    np.testing.assert_array_equal(data.y, y)
    np.testing.assert_array_equal(data.x_test.reshape(-1, 3072), content["test_batch"][b"data"])
    assert (data.x.dtype, data.input_shape, data.num_classes) == (np.uint8, (3, 32, 32), 10)
    assert data.scaling == Scaling(255.0, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    assert data.classes[9] == "truck"


def test_cifar100_has_fine_and_coarse_labels(tmp_path):
    content = batches(CIFAR100)
    path = str(write_archive(tmp_path / "c.tar.gz", CIFAR100, content))
    fine = load_cifar100(Request(0), path=path, labels="fine")
    coarse = load_cifar100(Request(0), path=path, labels="coarse")
    assert (fine.num_classes, coarse.num_classes) == (100, 20)
    assert len(set(fine.classes)) == 100
    assert (fine.classes[0], fine.classes[99], coarse.classes[14]) == ("apple", "worm", "people")
    np.testing.assert_array_equal(fine.y, content["train"][b"fine_labels"])
    np.testing.assert_array_equal(coarse.y, content["train"][b"coarse_labels"])


@pytest.mark.parametrize("column", [False, True])
def test_an_npz_of_channels_last_images(tmp_path, column):
    rng = np.random.Generator(np.random.PCG64(0))
    x, y = rng.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8), np.arange(30) % 10
    labels = y[:, None] if column else y
    np.savez(tmp_path / "c.npz", x_train=x, y_train=labels, x_test=x[:10], y_test=labels[:10])
    data = load_cifar10(Request(0), path=str(tmp_path / "c.npz"))
    np.testing.assert_array_equal(data.x, x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.y, y)


@pytest.mark.parametrize(
    "where", ["cifar10.npz", "cifar-10.npz", "CIFAR10", "cifar-10-batches-py", "archive"]
)
def test_fedbal_data_names_a_folder_that_holds_it(tmp_path, monkeypatch, where):
    if where.endswith(".npz"):
        x = np.zeros((10, 32, 32, 3), np.uint8)
        np.savez(tmp_path / where, x_train=x, y_train=np.arange(10), x_test=x, y_test=np.arange(10))
    elif where == "archive":
        write_archive(tmp_path / CIFAR10.archive, CIFAR10, batches(CIFAR10))
    else:
        write_folder(tmp_path / where, batches(CIFAR10))
    monkeypatch.setenv("FEDBAL_DATA", str(tmp_path))
    assert load_cifar10(Request(0), path=None).num_classes == 10
    offline = dataclasses.replace(CIFAR100, mirrors=("file:///nowhere/",))
    with pytest.raises(RunError, match="cifar100 is not here"):
        load_release(offline, Request(0), None, "fine")


def test_a_download_is_kept_only_with_its_checksum(tmp_path):
    archive = write_archive(tmp_path / "server" / CIFAR10.archive, CIFAR10, batches(CIFAR10))
    sum_ = hashlib.md5(archive.read_bytes()).hexdigest()
    release = dataclasses.replace(CIFAR10, mirrors=(f"{archive.parent.as_uri()}/",), md5=sum_)
    first = load_release(release, Request(0), None, "fine")
    archive.unlink()
    assert load_release(release, Request(0), None, "fine").fingerprint() == first.fingerprint()
    cached = tmp_path / "cache" / "cifar10" / CIFAR10.archive
    cached.write_bytes(cached.read_bytes()[:-9])
    with pytest.raises(RunError) as caught:
        load_release(release, Request(0), None, "fine")
    for part in ("cifar10 is not here", CIFAR10.archive, str(cached.parent), "data.path", "x_train"):
        assert part in str(caught.value)


class Evil:
    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('evil').touch()",))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (pickle.dumps({1: Evil()}, 2), r"names __builtin__.eval, which no published"),
        (b"cos\nsystem\n(S'touch evil'\ntR.", "names os.system"),
        (b"cnumpy\nload\n(S'x'\ntR.", "names numpy.load"),
        (b"\x80\x02cnumpy\nndarray\n(K\x05tR.", "unknown way"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "unknown way"),
        (b"\x80\x02cnumpy\ndtype\n(U\x01OK\x00K\x01tR.", "not uint8"),
        (b"Pevil\n.", "persistent"),
        (b"\x80\x02\x82\x01.", "damaged"),
        (python2_pickle({b"data": np.zeros(3)}), "not uint8"),
        (python2_pickle([1, 2]), "dictionary"),
        (python2_pickle({1: 2}), "dictionary"),
        (b"", "damaged"),
        (b"no pickle", "damaged|invalid|unpickling"),
    ],
)
def test_nothing_but_plain_batches_is_read(tmp_path, monkeypatch, payload, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_batch(payload)
    assert not (tmp_path / "evil").exists()


def test_every_byte_of_a_batch_may_be_damaged():
    whole = python2_pickle({b"labels": [3, 1], b"data": np.arange(8, dtype=np.uint8).reshape(2, 4)})
    assert max(position for _, _, position in pickletools.genops(whole)) == len(whole) - 1
    outcomes = []
    for position in range(len(whole)):
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= change
            try:
                outcomes.append(type(read_batch(bytes(damaged))))
            except ValueError:
                outcomes.append(ValueError)
        with pytest.raises(ValueError):
            read_batch(whole[:position])
    assert set(outcomes) == {dict, ValueError}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"data": None}, "test_batch has no array 'data'"),
        ({b"data": np.zeros((4, 3071), np.uint8)}, r"test_batch has no array 'data' of shape \(n, 3072\)"),
        ({b"labels": b"abc"}, "test_batch has no list 'labels'"),
        ({b"labels": [1, None]}, "test_batch has no list 'labels'"),
        ({b"labels": [-5]}, "impossible labels"),
    ],
)
def test_a_batch_that_does_not_fit_is_named(tmp_path, change, message):
    content = batches(CIFAR10)
    content["test_batch"].update(change)
    with pytest.raises(RunError, match=message):
        load_cifar10(Request(0), path=str(write_folder(tmp_path / "c", content)))


def test_labels_and_images_must_go_together(tmp_path):
    content = batches(CIFAR10)
    content["test_batch"][b"labels"] = [1, 2]
    with pytest.raises(UsageError, match=r"test labels must be 30 whole numbers.*\(2,\)"):
        load_cifar10(Request(0), path=str(write_folder(tmp_path / "c", content)))
    content["test_batch"][b"labels"] = [10] * 30
    with pytest.raises(UsageError, match="test labels go from 10 to 10; 0 to 9"):
        load_cifar10(Request(0), path=str(write_folder(tmp_path / "d", content)))


def test_places_without_the_data_are_named(tmp_path):
    with pytest.raises(UsageError, match="does not hold the batch files data_batch_1"):
        load_cifar10(Request(0), path=str(tmp_path))
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(UsageError, match=r"is the archive cifar-10-python\.tar\.gz"):
        load_cifar10(Request(0), path=str(tmp_path / "x.zip"))
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(RunError, match="is no archive or is damaged"):
        load_cifar10(Request(0), path=str(tmp_path / "x.tar.gz"))
    write_archive(tmp_path / "y.tar.gz", CIFAR10, {})
    with pytest.raises(UsageError, match="does not hold the batch files data_batch_1"):
        load_cifar10(Request(0), path=str(tmp_path / "y.tar.gz"))
    np.savez(tmp_path / "z.npz", x_packed=np.zeros(3))
    with pytest.raises(UsageError, match="no array x_train, y_train"):
        load_cifar10(Request(0), path=str(tmp_path / "z.npz"))
