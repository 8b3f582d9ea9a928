import zipfile

import numpy as np
import pytest

from fedbal.data.dataset import Request, Scaling
from fedbal.data.federation import load_federation
from fedbal.data.params import NaturalIdParams, TableData
from fedbal.data.table import load
from fedbal.errors import RunError, UsageError

ROWS = 60
RNG = np.random.Generator(np.random.PCG64(5))
X = RNG.normal(size=(ROWS, 3))
Y = np.arange(ROWS) % 3
SITE = np.repeat([7, 3, 12], [30, 20, 10])


def read(path, client=None, seed=0, base=None, **options):
    settings = {"label": "y", "features": None, "classes": None, "test": 0.1, **options}
    return load(Request(seed, base, client), path=str(path), **settings)


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "t.npz", **{"x": X, "y": Y, **arrays})
    return tmp_path / "t.npz"


def csv(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return tmp_path / "t.csv"


def refuse(message, path, error=UsageError, **options):
    with pytest.raises(error, match=message) as caught:
        read(path, **options)
    assert path.name in str(caught.value)


def test_an_npz_with_a_test_share(tmp_path):
    data = read(npz(tmp_path, site=SITE))
    assert data.x.dtype == np.float32
    assert (len(data.y), len(data.y_test)) == (54, 6)
    assert list(np.bincount(data.y_test)) == [2, 2, 2]
    assert data.input_shape == (3,)
    assert data.classes == ("0", "1", "2")
    assert data.scaling == Scaling()
    rows = {tuple(row) for row in X.astype(np.float32)}
    assert {tuple(row) for row in data.x} | {tuple(row) for row in data.x_test} == rows
    by_value = {
        tuple(row): (label, site) for row, label, site in zip(X.astype(np.float32), Y, SITE, strict=True)
    }
    assert [by_value[tuple(row)] for row in data.x] == list(zip(data.y, data.columns["site"], strict=True))


def test_the_hold_out_represents_every_natural_client(tmp_path):
    path = npz(tmp_path, site=SITE)
    data = read(path, client="site", test=0.2)
    assert list(np.bincount(data.columns["site"])[[7, 3, 12]]) == [24, 16, 8]
    assert len(data.y_test) == 12


def test_a_test_set_of_its_own_is_used_whole(tmp_path):
    data = read(npz(tmp_path, x_test=X[:7] + 1, y_test=Y[:7], site=SITE))
    assert (len(data.y), len(data.y_test)) == (60, 7)
    np.testing.assert_array_equal(data.x_test, (X[:7] + 1).astype(np.float32))


def test_names_in_the_file_name_classes_and_features(tmp_path):
    columns, classes = np.array(["age", "pulse", "sex"]), np.array(["a", "b", "c", "d"])
    path = npz(tmp_path, columns=columns, classes=classes)
    data = read(path, features=["sex", "age"])
    assert data.classes == ("a", "b", "c", "d")
    assert data.input_shape == (2,)
    rows = {tuple(row) for row in X[:, [2, 0]].astype(np.float32)}
    assert {tuple(row) for row in data.x} <= rows
    refuse("unknown feature column 'puls' .did you mean pulse", path, features=["puls"])


def test_another_label_and_string_labels(tmp_path):
    names = np.array(["low", "mid", "top"])[Y]
    assert read(npz(tmp_path, grade=names), label="grade").classes == ("low", "mid", "top")


def test_train_and_test_arrays_of_images(tmp_path):
    images = RNG.integers(0, 256, (ROWS, 8, 6), dtype=np.uint8)
    np.savez(tmp_path / "t.npz", x_train=images, y_train=Y, x_test=images[:9], y_test=Y[:9])
    data = read(tmp_path / "t.npz")
    assert data.input_shape == (1, 8, 6)
    assert data.x.dtype == np.uint8
    assert data.scaling == Scaling(divide=255.0)
    np.testing.assert_array_equal(data.x[:, 0], images)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_colour_images_become_channels_first(tmp_path, dtype):
    images = RNG.integers(0, 256, (ROWS, 8, 6, 3)).astype(dtype)
    last = read(npz(tmp_path, x=images, x_test=images[:2], y_test=Y[:2]))
    np.testing.assert_array_equal(last.x, images.transpose(0, 3, 1, 2))
    first = images.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(read(npz(tmp_path, x=first, x_test=first[:2], y_test=Y[:2])).x, first)
    assert last.x.dtype == dtype


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"y": np.array([0, 1])}, {}, r"60 rows in x but y has shape \(2,\)"),
        ({"y": Y[:, None]}, {}, r"60 rows in x but y has shape \(60, 1\)"),
        ({"y": Y - 1}, {}, "label -1 is negative"),
        ({"y": Y + 0.5}, {}, "label 0.5 is a fraction"),
        ({"y": np.zeros(ROWS, int)}, {}, "at least two classes"),
        ({}, {"label": "why"}, "unknown label array 'why'.*available: x, y"),
        ({"x": X[:0], "y": Y[:0]}, {}, "no rows"),
        ({"x": X[:, 0]}, {}, r"x has shape \(60,\)"),
        ({"x": X[:, :0]}, {}, r"x has shape \(60, 0\)"),
        ({"x": X.astype(str)}, {}, "x has type <U"),
        ({"x": np.zeros((ROWS, 5, 5, 5), np.uint8)}, {}, "1, 3 or 4 channels"),
        ({"x": np.full((ROWS, 4, 4), np.nan)}, {}, "960 pixels are NaN"),
        ({"y": Y.astype(object)}, {}, "array 'y' holds Python objects"),
        ({"x_test": X}, {}, "x_test and y_test belong together"),
        ({"x_test": X[:, :2], "y_test": Y}, {}, r"rows of x_test are float32 \(2,\)"),
        ({"x_test": X[:4], "y_test": Y}, {}, r"x_test has shape \(4, 3\) for 60 test labels"),
        ({"site": SITE[:9]}, {"client": "site"}, r"column 'site' has shape \(9,\) for 60 rows"),
        ({"site": SITE}, {"client": "sit"}, "unknown column 'sit' .did you mean site"),
        ({}, {"client": "site"}, "no column 'site', nor any"),
        ({"x": X[:3], "y": Y[:3]}, {}, "3 rows are too few"),
        ({"x": np.zeros((ROWS, 4, 4), np.uint8)}, {"features": ["a"]}, "x holds images"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(tmp_path, arrays, options, message):
    refuse(message, npz(tmp_path, **arrays), **options)


def test_missing_and_infinite_values_are_counted_by_column(tmp_path):
    x = X.copy()
    x[:5, 1], x[7, 2], x[8, 2] = np.nan, np.inf, 1e60
    refuse(r"by column: 1 \(5\), 2 \(2\)", npz(tmp_path, x=x))
    refuse(
        r"by column: pulse \(5\), sex \(2\)", npz(tmp_path, x=x, columns=np.array(["age", "pulse", "sex"]))
    )


def test_a_damaged_npz_is_named(tmp_path):
    path = npz(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    refuse("no NPZ file, or it is cut short", path, RunError)
    at = whole.index(X.tobytes()[:64])
    path.write_bytes(whole[:at] + b"\xff" * 32 + whole[at + 32 :])
    refuse(r"damaged.*CRC", path, RunError)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"no array")
    refuse("x", path, (RunError, UsageError))


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(UsageError, match=rf"no file or folder 'gone\.npz' in {tmp_path}"):
        read("gone.npz", base=tmp_path)
    with pytest.raises(UsageError, match=r"no file or folder /gone\.npz"):
        read("/gone.npz")


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(b"")
    refuse(r"a table is a \.npz, \.csv or \.parquet file", tmp_path / "t.xlsx")


CSV = "age,marker,hospital,y\n" + "".join(
    f"{30 + i},{i / 7},{'ulm' if i % 4 else 'bonn'},{i % 2}\n" for i in range(40)
)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_with_a_client_column(tmp_path, separator):
    data = read(csv(tmp_path, CSV.replace(",", separator)), client="hospital")
    assert data.input_shape == (2,)
    assert set(data.columns["hospital"]) == {"ulm", "bonn"}
    assert len(data.y) + len(data.y_test) == 40
    assert data.classes == ("0", "1")


def test_chosen_features_leave_the_others_as_columns(tmp_path):
    data = read(csv(tmp_path, CSV), features=["marker"])
    assert data.input_shape == (1,)
    assert set(data.columns) == {"age", "hospital"}


def test_numbered_clients_of_a_csv_are_sorted_as_numbers(tmp_path):
    text = "a,site,y\n" + "".join(f"{i},{i % 11},{i % 2}\n" for i in range(44))
    path = csv(tmp_path, text)
    block = TableData(path=path.name, partition=NaturalIdParams(partition_by="site"))
    assert load_federation(block, 0, base=tmp_path).names == tuple(map(str, range(11)))


def test_client_ids_with_leading_zeros_stay_as_they_are(tmp_path):
    text = "a,site,y\n" + "".join(f"{i},{i % 3:03d},{i % 2}\n" for i in range(30))
    block = TableData(path=csv(tmp_path, text).name, partition=NaturalIdParams(partition_by="site"))
    assert load_federation(block, 0, base=tmp_path).names == ("000", "001", "002")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (CSV, {"label": "Y2"}, "unknown label column 'Y2'"),
        (CSV, {"client": "hospitl"}, "unknown column 'hospitl' .did you mean hospital"),
        (CSV, {"features": ["agee"]}, "unknown feature column 'agee' .did you mean age"),
        (CSV.replace("33,", ","), {"client": "hospital"}, r"by column: age \(1\)"),
        (CSV.replace("33,", "NA,").replace("34,", "?,"), {"client": "hospital"}, r"by column: age \(2\)"),
        (CSV.replace("ulm,1", "ulm,"), {"client": "hospital"}, "labels are missing"),
        (CSV + "1,2,ulm\n", {}, "line 42: 3 values under 4 column names"),
        ("a,b,a\n1,2,3\n", {}, "must name every column once"),
        ("", {}, "must name every column once"),
        ("a,y\n", {}, "no rows"),
        ("y\n1\n0\n", {}, "no feature column"),
    ],
)
def test_a_csv_that_cannot_be_used_says_why(tmp_path, text, options, message):
    refuse(message, csv(tmp_path, text), **options)


def test_a_csv_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,y\n\xff\xfe,1\n")
    refuse("not UTF-8", tmp_path / "t.csv")


def test_a_parquet_file_is_read_like_the_csv(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    columns = {
        "age": [float(30 + i) for i in range(40)],
        "marker": [i / 7 for i in range(40)],
        "hospital": pa.array(["ulm" if i % 4 else "bonn" for i in range(40)]).dictionary_encode(),
        "y": [i % 2 for i in range(40)],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    mine = read(tmp_path / "t.parquet", client="hospital")
    theirs = read(csv(tmp_path, CSV), client="hospital")
    assert mine.fingerprint() == theirs.fingerprint()
    columns["age"][3] = None
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    refuse(r"by column: age \(1\)", tmp_path / "t.parquet", client="hospital")


def test_a_damaged_parquet_file_is_named(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nothing PAR1")
    refuse("no Parquet file or is damaged", tmp_path / "t.parquet", RunError)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"")
    refuse(r"needs pyarrow: pip install 'fedbal\[data\]'", tmp_path / "t.parquet")
