import pytest
from pydantic import TypeAdapter, ValidationError

from fedbal.data.params import (
    DataParams,
    DigitsData,
    DirichletParams,
    FashionMnistData,
    IidParams,
    NaturalIdParams,
    SyntheticData,
    TableData,
)

BLOCK = TypeAdapter(DataParams)


def refusal(block):
    with pytest.raises(ValidationError) as caught:
        BLOCK.validate_python(block)
    return {".".join(map(str, error["loc"])): error["msg"] for error in caught.value.errors()}


def test_a_name_stands_for_the_source_with_its_defaults():
    assert BLOCK.validate_python("digits") == BLOCK.validate_python({"dataset": "digits"}) == DigitsData()
    assert BLOCK.validate_python("fashion-mnist") == FashionMnistData()


def test_a_block_without_a_dataset_means_the_digits():
    assert BLOCK.validate_python({"validation": 0.2}) == DigitsData(validation=0.2)


def test_defaults():
    block = DigitsData()
    assert block.partition == IidParams(clients=10)
    assert (block.long_tail, block.quantity, block.validation, block.client_test) == (None, None, 0.1, 0.1)
    assert SyntheticData().partition == NaturalIdParams(partition_by="client")


def test_the_blocks_of_the_contract_are_read():
    block = BLOCK.validate_python(
        {
            "dataset": "digits",
            "long_tail": {"profile": "exponential", "imbalance_factor": 10, "order": "index"},
            "partition": {"name": "dirichlet", "clients": 20, "alpha": 0.3},
            "validation": 0.1,
            "client_test": 0.1,
        }
    )
    assert block.partition == DirichletParams(clients=20, alpha=0.3)
    table = BLOCK.validate_python({"dataset": "table", "path": "x.npz", "label": "y"})
    assert isinstance(table, TableData)
    assert BLOCK.validate_python({"dataset": "synthetic", "alpha": 1, "beta": 1}) == SyntheticData()


def test_a_partition_may_be_given_by_name_alone():
    assert BLOCK.validate_python({"partition": "iid"}).partition == IidParams()


def test_shares_of_zero_are_legal():
    block = BLOCK.validate_python({"validation": 0.0, "client_test": 0.0})
    assert (block.validation, block.client_test) == (0.0, 0.0)


def test_shares_must_leave_training_rows():
    assert "below 1" in refusal({"validation": 0.5, "client_test": 0.5})["digits.client_test"]


@pytest.mark.parametrize(("given", "meant"), [(0.01, "100"), (0.1, "10"), (0.5, "2")])
def test_an_imbalance_factor_below_one_is_answered_with_its_inverse(given, meant):
    message = refusal({"long_tail": {"imbalance_factor": given}})["digits.long_tail.imbalance_factor"]
    assert f"did you mean {meant}?" in message


@pytest.mark.parametrize("given", [0.0, -3.0])
def test_an_imbalance_factor_of_zero_or_less_has_no_inverse_to_offer(given):
    message = refusal({"long_tail": {"imbalance_factor": given}})["digits.long_tail.imbalance_factor"]
    assert "at least 1" in message
    assert "did you mean" not in message


@pytest.mark.parametrize("name", ["shards", "niid2", "natural_id"])
def test_a_quantity_profile_is_refused_where_sizes_are_fixed(name):
    message = refusal({"partition": name, "quantity": "lognormal"})["digits.quantity"]
    assert name in message
    assert "iid, dirichlet, dirichlet_client, pathological" in message


@pytest.mark.parametrize(
    ("block", "where"),
    [
        ({"datset": "digits"}, "digits.datset"),
        ({"partition": {"name": "iid", "clients": 0}}, "digits.partition.iid.clients"),
        ({"partition": {"name": "iid", "clients": True}}, "digits.partition.iid.clients"),
        ({"partition": {"name": "dirichlet", "alpha": 0}}, "digits.partition.dirichlet.alpha"),
        ({"partition": {"name": "niid2", "clients": 4}}, "digits.partition.niid2.n_niid"),
        ({"partition": {"name": "niid2", "groups": 3}}, "digits.partition.niid2.groups"),
        ({"partition": None}, "digits.partition"),
        ({"validation": 1.0}, "digits.validation"),
        ({"validation": "0.1"}, "digits.validation"),
        ({"test": 0.0}, "digits.test"),
        ({"dataset": "fashion-mnist", "test": 0.1}, "fashion-mnist.test"),
        ({"dataset": "table"}, "table.path"),
        ({"dataset": "synthetic", "alpha": -1.0}, "synthetic.alpha"),
    ],
)
def test_what_is_out_of_range_is_refused_by_its_key(block, where):
    assert where in refusal(block)


def test_the_source_gets_only_its_own_keys():
    assert SyntheticData(alpha=0.5).source_kwargs() == {
        "alpha": 0.5,
        "beta": 1.0,
        "iid": False,
        "clients": 30,
    }
    assert DigitsData().source_kwargs() == {"test": 0.2}
