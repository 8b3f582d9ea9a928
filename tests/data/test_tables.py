import subprocess
import sys

import pytest

from fedbal.data import DATASETS, PARTITIONS, QUANTITIES
from fedbal.errors import UsageError

ENTRIES = [(table, name) for table in (DATASETS, PARTITIONS, QUANTITIES) for name in table]


@pytest.mark.parametrize(("table", "name"), ENTRIES, ids=[name for _, name in ENTRIES])
def test_every_entry_has_an_implementation_and_parameters_of_its_name(table, name):
    assert callable(table.load(name))
    key = "dataset" if table is DATASETS else "name"
    assert table.params_model(name).model_fields[key].default == name


@pytest.mark.parametrize(("table", "name"), ENTRIES, ids=[name for _, name in ENTRIES])
def test_every_parameter_is_described(table, name):
    fields = table.params_model(name).model_fields
    assert [
        key for key, field in fields.items() if key not in ("name", "dataset") and not field.description
    ] == []


def test_an_unknown_partition_is_answered_with_the_nearest_names():
    with pytest.raises(UsageError, match="did you mean dirichlet"):
        PARTITIONS["dirichlett"]


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        ("fedbal.data, fedbal.data.params", "torch flwr numpy pandas sklearn pyarrow datasets"),
        (
            "fedbal.data.federation, fedbal.data.mnist, fedbal.data.table, fedbal.data.heterogeneity",
            "torch flwr pandas sklearn pyarrow datasets scipy",
        ),
    ],
)
def test_importing_needs_no_heavy_package(modules, forbidden):
    code = f"import {modules}, sys; print([n for n in {forbidden.split()} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
