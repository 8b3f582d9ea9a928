import numpy as np
import pytest

from fedbal.data import categorical
from fedbal.data.categorical import Column
from fedbal.data.dataset import Request
from fedbal.data.rows import read_rows
from fedbal.data.table import load
from fedbal.errors import UsageError

ROWS = [("30", "f", "A", "yes"), ("41.5", "m", "B", "no"), ("7", "f", "10", "yes"), ("8", "f", "A", "no")]
TEXT = "age,sex,ward,y\n" + "".join(",".join(row) + "\n" for row in ROWS * 10)


def read(tmp_path, text=TEXT, *, allow=False, **options):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    settings = {"label": "y", "features": None, "classes": None, "test": 0.2, **options}
    return load(Request(0, allow_missing=allow), path=str(tmp_path / "t.csv"), **settings)


def test_texts_become_one_feature_a_level(tmp_path):
    data = read(tmp_path)
    assert data.features == ("age", "sex=f", "sex=m", "ward=10", "ward=A", "ward=B")
    rows = {tuple(row) for row in np.concatenate([data.x, data.x_test]).tolist()}
    assert rows == {(30, 1, 0, 0, 1, 0), (41.5, 0, 1, 0, 0, 1), (7, 1, 0, 1, 0, 0), (8, 1, 0, 0, 1, 0)}
    assert data.x.dtype == np.float32


def test_numbers_can_be_named_as_a_category_and_their_levels_are_in_order(tmp_path):
    data = read(tmp_path, categorical=["age"], drop=["ward", "sex"])
    assert data.features == ("age=7", "age=8", "age=30", "age=41.5")
    assert set(data.x.sum(axis=1)) == {1.0}
    assert set(data.columns) == {"ward", "sex"}


def test_listed_levels_are_kept_in_their_order_even_without_a_row(tmp_path):
    data = read(tmp_path, categorical={"sex": ["m", "d", "f"]}, features=["sex"])
    assert data.features == ("sex=m", "sex=d", "sex=f")
    assert data.x[:, 1].max() == 0


def test_a_level_outside_the_list_is_refused_or_other(tmp_path):
    with pytest.raises(
        UsageError, match=r"column 'sex' holds 'f', which is none of its levels m, d;.*'other'"
    ):
        read(tmp_path, categorical={"sex": ["m", "d"]})
    data = read(tmp_path, categorical={"sex": ["m", "other"]}, features=["sex"])
    assert data.x.sum(axis=0)[1] > data.x.sum(axis=0)[0] > 0


def test_missing_categories_are_counted_by_column_or_a_level(tmp_path):
    text = TEXT.replace("41.5,m", "41.5,").replace("\n7,", "\n?,")
    with pytest.raises(UsageError, match=r"by column: age \(10\), sex \(10\);"):
        read(tmp_path, text)
    data = read(tmp_path, text, allow=True)
    assert data.features[:3] == ("age", "sex=f", "sex=missing")
    everything = np.concatenate([data.x, data.x_test])
    assert everything[:, 2].sum() == 10
    assert np.isnan(everything[:, 0]).sum() == 10
    assert not np.isnan(everything[:, 1:]).any()


def test_infinite_values_are_refused_even_where_missing_ones_pass(tmp_path):
    with pytest.raises(UsageError, match=r"by column: age \(10\)"):
        read(tmp_path, TEXT.replace("41.5", "inf"), allow=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categorical": ["sx"]}, "unknown categorical column 'sx' .did you mean sex"),
        ({"drop": ["wrd"]}, "unknown feature column 'wrd' .did you mean ward"),
        ({"drop": ["age", "sex", "ward"]}, "no feature column"),
        ({"categorical": {"sex": ["f", "f"]}}, "lists a level of 'sex' twice"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        read(tmp_path, **options)


def test_free_text_is_no_category_unless_named(tmp_path):
    text = "age,note,y\n" + "".join(f"{i},note {i},{i % 2}\n" for i in range(100))
    with pytest.raises(UsageError, match=r"'note' holds 100 different texts, such as 'note 0'.*data\.drop"):
        read(tmp_path, text)
    assert len(read(tmp_path, text, categorical=["note"]).features) == 101
    assert read(tmp_path, text, drop=["note"]).features == ("age",)


def test_booleans_of_parquet_are_categories_like_those_of_csv(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    smoker, age = [True, False] * 20, [float(i) for i in range(40)]
    y = [i % 2 for i in range(40)]
    pq.write_table(pa.table({"smoker": smoker, "age": age, "y": y}), tmp_path / "t.parquet")
    lines = zip(smoker, age, y, strict=True)
    text = "smoker,age,y\n" + "".join(f"{s},{a},{c}\n" for s, a, c in lines)
    settings = {"label": "y", "features": None, "classes": None, "test": 0.2}
    mine = load(Request(0), path=str(tmp_path / "t.parquet"), **settings)
    assert mine.features == ("smoker=False", "smoker=True", "age")
    np.testing.assert_array_equal(mine.x, read(tmp_path, text).x)
    pq.write_table(pa.table({"smoker": [None, *smoker[1:]], "age": age, "y": y}), tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=r"by column: smoker \(1\)"):
        load(Request(0), path=str(tmp_path / "t.parquet"), **settings)


def test_codes_of_an_npz_can_be_categories_and_unseen_test_levels_are_refused(tmp_path):
    x, y = np.array([[1.0, 5], [2, 6], [1, 7], [3, 8]] * 5), np.arange(20) % 2
    names = np.array(["ward", "age"])
    options = {"label": "y", "features": None, "classes": None, "test": 0.1, "categorical": ["ward"]}

    def npz(x_test):
        np.savez(tmp_path / "t.npz", x=x, y=y, columns=names, x_test=x_test, y_test=np.arange(2))
        return load(Request(0), path=str(tmp_path / "t.npz"), **options)

    data = npz(np.array([[3.0, 1], [1, 2]]))
    assert data.features == ("ward=1", "ward=2", "ward=3", "age")
    np.testing.assert_array_equal(data.x_test, [[0, 0, 1, 1], [1, 0, 0, 2]])
    with pytest.raises(UsageError, match=r"x_test: column 'ward' holds '4'"):
        npz(np.array([[4.0, 1], [1, 2]]))
    options["categorical"] = {"ward": ["1", "2", "3", "other"]}
    np.testing.assert_array_equal(npz(np.array([[4.0, 1], [1, 2]])).x_test[0], [0, 0, 0, 1, 1])


def test_feature_names_are_enough_to_encode_rows_from_elsewhere(tmp_path):
    data = read(tmp_path)
    other = tmp_path / "new.csv"
    other.write_text("ward,extra,sex,age\nB,x,m,5\nA,x,f,6\n")
    rows = read_rows(other, data.features, data.input_shape, "float32", None)
    np.testing.assert_array_equal(rows.x, [[5, 0, 1, 0, 0, 1], [6, 1, 0, 0, 1, 0]])
    other.write_text("ward,sex,age\nC,m,5\n")
    with pytest.raises(UsageError, match=r"column 'ward' holds 'C'"):
        read_rows(other, data.features, data.input_shape, "float32", None)
    other.write_text("ward,age\nA,5\n")
    with pytest.raises(UsageError, match=r"lacks .* sex=f"):
        read_rows(other, data.features, data.input_shape, "float32", None)


def test_a_column_with_an_equals_sign_is_found_again():
    columns = {"a=b": np.array(["x", "y"]), "a": np.array(["1", "2"])}
    how = categorical.plan(columns, ["a=b", "a"], ["a"], "t")
    names, origins = categorical.features(how)
    assert names == ("a=b=x", "a=b=y", "a=1", "a=2")
    assert origins == ("a=b", "a=b", "a", "a")
    assert categorical.plan_of_features(names[2:], columns) == (Column("a", ("1", "2")),)
