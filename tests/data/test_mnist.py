import dataclasses
import hashlib

import numpy as np
import pytest

from fedbal.data.dataset import Request, Scaling
from fedbal.data.mnist import load_fashion_mnist, load_mnist, load_release
from fedbal.data.releases import FASHION_MNIST, MNIST
from fedbal.errors import RunError, UsageError
from tests.data.idx_files import arrays, write_folder


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv("FEDBAL_DATA", raising=False)
    monkeypatch.setenv("FEDBAL_CACHE", str(tmp_path / "cache"))


def offline(release):
    """The same release with no address to ask."""
    return dataclasses.replace(release, mirrors=("file:///nowhere/",))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_folder_of_idx_files(tmp_path, zipped):
    content = arrays()
    write_folder(tmp_path / "mine", content, zipped)
    data = load_mnist(Request(0, tmp_path), path="mine")
    np.testing.assert_array_equal(data.x[:, 0], content["x_train"])
    np.testing.assert_array_equal(data.y_test, content["y_test"])
    assert data.x.dtype == np.uint8
    assert data.input_shape == (1, 28, 28)
    assert data.scaling == Scaling(255.0, (0.1307,), (0.3081,))
    assert data.num_classes == 10


def test_an_npz(tmp_path):
    content = arrays()
    np.savez(tmp_path / "f.npz", **content)
    data = load_fashion_mnist(Request(0), path=str(tmp_path / "f.npz"))
    np.testing.assert_array_equal(data.x_test[:, 0], content["x_test"])
    assert data.classes[9] == "ankle boot"
    assert data.scaling == Scaling(255.0, (0.2860,), (0.3530,))


@pytest.mark.parametrize(
    "where", ["fashion_mnist.npz", "fashion-mnist.npz", "fashion-mnist", "FashionMNIST/raw", "fashion_mnist"]
)
def test_fedbal_data_names_a_folder_that_holds_it(tmp_path, monkeypatch, where):
    content = arrays()
    if where.endswith(".npz"):
        np.savez(tmp_path / where, **content)
    else:
        write_folder(tmp_path / where, content)
    monkeypatch.setenv("FEDBAL_DATA", str(tmp_path))
    np.testing.assert_array_equal(load_fashion_mnist(Request(0), path=None).x[:, 0], content["x_train"])
    with pytest.raises(RunError, match="mnist is not here"):
        load_release(offline(MNIST), Request(0), None)


def test_fedbal_data_may_name_the_file_itself(tmp_path, monkeypatch):
    np.savez(tmp_path / "any.npz", **arrays())
    monkeypatch.setenv("FEDBAL_DATA", str(tmp_path / "any.npz"))
    assert len(load_mnist(Request(0), path=None).y) == 40


def test_fedbal_data_that_names_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDBAL_DATA", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match=r"FEDBAL_DATA names .*gone"):
        load_mnist(Request(0), path=None)


def served(tmp_path):
    """Publish a small release at a file address, with its checksums."""
    folder = write_folder(tmp_path / "server", arrays())
    sums = {file.stem: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    return dataclasses.replace(
        FASHION_MNIST, mirrors=("file:///nowhere/", f"{folder.as_uri()}/"), checksums=sums
    )


def test_a_download_goes_to_the_cache_and_is_not_repeated(tmp_path):
    release = served(tmp_path)
    first = load_release(release, Request(0), None)
    held = sorted(path.name for path in (tmp_path / "cache" / "fashion-mnist").iterdir())
    assert held == sorted(f"{name}.gz" for name in release.checksums)
    again = load_release(offline(release), Request(0), None)
    assert first.fingerprint() == again.fingerprint()


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path):
    release = served(tmp_path)
    load_release(release, Request(0), None)
    damaged = tmp_path / "cache" / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert len(load_release(release, Request(0), None).y) == 40
    damaged.write_bytes(b"")
    with pytest.raises(RunError, match="is not here"):
        load_release(offline(release), Request(0), None)


def test_a_file_with_another_checksum_is_not_kept(tmp_path):
    release = dataclasses.replace(
        served(tmp_path), checksums=dict.fromkeys(FASHION_MNIST.checksums, "0" * 32)
    )
    with pytest.raises(RunError, match=f"instead of {'0' * 32}"):
        load_release(release, Request(0), None)
    assert list((tmp_path / "cache" / "fashion-mnist").iterdir()) == []


def test_no_network_and_no_file_says_how_to_get_it(tmp_path):
    with pytest.raises(RunError) as caught:
        load_release(offline(FASHION_MNIST), Request(0), None)
    message = str(caught.value)
    for part in (
        "fashion-mnist is not here",
        "train-images-idx3-ubyte.gz",
        "FEDBAL_DATA",
        "data.path",
        "x_train",
    ):
        assert part in message
    assert str(tmp_path / "cache" / "fashion-mnist") in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((40, 28, 27), np.uint8)}, r"x_train must be uint8 of shape \(n, 28, 28\)"),
        ({"x_test": np.zeros((20, 28, 28), np.float32)}, r"x_test must be uint8"),
        ({"y_train": np.zeros(39, np.uint8)}, "y_train must be 40 whole numbers"),
        ({"y_test": np.zeros(20, np.float32)}, "y_test must be 20 whole numbers"),
        ({"y_test": np.full(20, 10, np.uint8)}, "labels from 10 to 10; 0 to 9"),
        ({"x_train": np.zeros((0, 28, 28), np.uint8), "y_train": np.zeros(0, np.uint8)}, "y_train must be 0"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, change, message):
    np.savez(tmp_path / "f.npz", **{**arrays(), **change})
    with pytest.raises(UsageError, match=message):
        load_mnist(Request(0), path=str(tmp_path / "f.npz"))


def test_a_place_without_the_data_is_named(tmp_path):
    with pytest.raises(UsageError, match="no file or folder 'gone'"):
        load_mnist(Request(0, tmp_path), path="gone")
    with pytest.raises(UsageError, match="does not hold the four files"):
        load_mnist(Request(0), path=str(tmp_path))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(UsageError, match="no array x_train, y_train, x_test, y_test"):
        load_mnist(Request(0), path=str(tmp_path / "other.npz"))
