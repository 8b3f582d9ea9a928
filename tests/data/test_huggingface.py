import sys

import numpy as np
import pytest

from fedbal.data.dataset import Request
from fedbal.data.federation import load_federation
from fedbal.data.huggingface import load
from fedbal.data.params import HuggingFaceData, NaturalIdParams
from fedbal.errors import RunError, UsageError
from fedbal.scenario import from_mapping

Image = pytest.importorskip("PIL.Image")
datasets = pytest.importorskip("datasets")
ROWS = 40
PIXELS = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (ROWS, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(ROWS) % 3


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def pictures(rows=slice(None), names=("9", "1", "0")):
    features = datasets.Features(
        {
            "photo": datasets.Image(),
            "kind": datasets.ClassLabel(names=list(names)),
            "writer": datasets.Value("string"),
        }
    )
    content = {
        "photo": [Image.fromarray(pixels) for pixels in PIXELS[rows]],
        "kind": LABELS[rows].tolist(),
        "writer": [f"w{number // 5}" for number in range(ROWS)][rows],
    }
    return datasets.Dataset.from_dict(content, features=features)


def parquet(folder):
    folder.mkdir()
    pictures(slice(0, 30)).to_parquet(folder / "train-00000-of-00001.parquet")
    pictures(slice(30, None)).to_parquet(folder / "test-00000-of-00001.parquet")
    return folder


def saved(folder):
    datasets.DatasetDict({"train": pictures(slice(0, 30)), "test": pictures(slice(30, None))}).save_to_disk(
        str(folder)
    )
    return folder


def block(path, **options):
    settings = {"image": "photo", "label": "kind", "test_split": "test", **options}
    return HuggingFaceData(path=str(path), **settings)


def read(path, request=None, **options):
    return load(request or Request(0), **block(path, **options).source_kwargs())


@pytest.mark.parametrize("write", [parquet, saved])
def test_a_local_folder_of_pictures(tmp_path, write):
    data = read(write(tmp_path / "d"))
    np.testing.assert_array_equal(data.x, PIXELS[:30].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.x_test, PIXELS[30:].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.y, LABELS[:30])
    assert data.classes == ("9", "1", "0")
    assert data.x.dtype == np.uint8


def test_a_single_saved_split_and_a_selection_keep_their_rows(tmp_path):
    pictures().select(range(10, 40)).save_to_disk(str(tmp_path / "d"))
    data = read(tmp_path / "d", test_split=None, test=0.2, size=[3, 4], mode="grey")
    assert data.input_shape == (1, 3, 4)
    assert (len(data.y), len(data.y_test)) == (24, 6)
    assert set(np.concatenate([data.columns["writer"]])) <= {f"w{number}" for number in range(2, 8)}


def test_a_folder_of_pictures_in_the_hub_s_form(tmp_path):
    for number in range(12):
        path = tmp_path / "d" / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[number]).save(path)
    data = read(tmp_path / "d", image="image", label="label", test_split=None, test=0.25)
    assert data.classes == ("a", "b")
    assert len(data.y) + len(data.y_test) == 12


def test_a_column_names_clients_and_groups(tmp_path):
    folder = saved(tmp_path / "d")
    natural = load_federation(block(folder, partition=NaturalIdParams(partition_by="writer")), 0)
    assert natural.names == tuple(f"w{number}" for number in range(6))
    grouped = load_federation(block(folder, group="writer"), 0)
    for shards in (grouped.train, grouped.validation, grouped.client_test):
        assert all(len(shards.of(client)) in (0, 5, 10) for client in range(10))
    with pytest.raises(UsageError, match="unknown column 'write' .did you mean writer"):  # noqa: RUF043
        load_federation(block(folder, group="write"), 0)


def table(folder, **changes):
    content = {
        "age": [float(number) for number in range(ROWS)],
        "sex": ["fm"[number % 2] for number in range(ROWS)],
        "site": (LABELS % 2).tolist(),
        "label": LABELS.tolist(),
        **changes,
    }
    rows = datasets.Dataset.from_dict(content).cast_column("site", datasets.ClassLabel(names=["ulm", "bonn"]))
    folder.mkdir()
    rows.to_parquet(folder / "data.parquet")
    return folder


def test_a_table_with_categories(tmp_path):
    data = read(table(tmp_path / "d"), image=None, label="label", test_split=None, test=0.2)
    assert data.features == ("age", "sex=f", "sex=m", "site=bonn", "site=ulm")
    by_age = {row[0]: tuple(row[1:]) for row in np.concatenate([data.x, data.x_test]).tolist()}
    assert by_age[0] == (1, 0, 0, 1)
    assert by_age[1] == (0, 1, 1, 0)


def test_missing_values_are_named(tmp_path):
    folder = table(tmp_path / "d", age=[None, *map(float, range(1, ROWS))])
    with pytest.raises(UsageError, match=r"by column: age \(1\)"):
        read(folder, image=None, label="label", test_split=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "foto"}, "unknown image column 'foto' .did you mean photo"),
        ({"label": "knd"}, "unknown label column 'knd' .did you mean kind"),
        ({"test_split": "tests"}, "unknown split 'tests' .did you mean test"),
        ({"split": "valid"}, "unknown split 'valid'"),
        ({"image": "writer"}, "no readable picture|holds no pictures"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, options, message):
    with pytest.raises((UsageError, RunError), match=message):
        read(saved(tmp_path / "d"), **options)


def test_pictures_of_several_sizes_need_a_size(tmp_path):
    rows = [Image.fromarray(PIXELS[0]), Image.fromarray(PIXELS[1][:4])] * 10
    content = {"photo": rows, "kind": [0, 1] * 10}
    features = datasets.Features({"photo": datasets.Image(), "kind": datasets.Value("int64")})
    datasets.Dataset.from_dict(content, features=features).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(UsageError, match=r"row 1 is 4x5 and row 0 is 6x5; give data\.size"):
        read(tmp_path / "d", test_split=None)
    assert read(tmp_path / "d", test_split=None, size=4).input_shape == (3, 4, 4)


def test_neither_network_nor_files_is_one_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="nobody/nothing cannot be loaded .*without a network.*save_to_disk"):  # noqa: RUF043
        read("nobody/nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="check the files in this folder"):
        read("empty", Request(0, tmp_path))


def test_a_name_on_the_hub_stays_a_name_in_a_scenario(tmp_path):
    raw = {"name": "hub", "rounds": 1, "model": "mlp", "strategy": "fedavg"}
    data = {"dataset": "huggingface", "path": "nobody/nothing", "image": "image"}
    assert from_mapping({**raw, "data": data}, base=tmp_path).data.path == "nobody/nothing"
    (tmp_path / "nobody" / "nothing").mkdir(parents=True)
    found = from_mapping({**raw, "data": data}, base=tmp_path).data.path
    assert found == str(tmp_path / "nobody" / "nothing")


def test_without_datasets_the_message_says_what_to_install(tmp_path, monkeypatch):
    folder = saved(tmp_path / "d")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'fedbal\[data\]'"):
        read(folder)
