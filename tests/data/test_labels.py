import numpy as np
import pytest

from fedbal.data.labels import encode
from fedbal.errors import UsageError


def code(y, y_test=None, classes=None):
    rest = None if y_test is None else np.array(y_test)
    first, second, names = encode(np.array(y), rest, classes, "t.npz: y")
    return list(first), None if second is None else list(second), names


def test_whole_numbers_from_zero_stay():
    assert code([0, 2, 1, 1]) == ([0, 2, 1, 1], None, ("0", "1", "2"))
    assert code(np.array([0, 1], np.uint8)) == ([0, 1], None, ("0", "1"))
    assert code([0.0, 1.0]) == ([0, 1], None, ("0", "1"))
    assert code([True, False]) == ([1, 0], None, ("0", "1"))


def test_names_become_sorted_classes():
    assert code([" ill", "fit", "ill"]) == ([1, 0, 1], None, ("fit", "ill"))
    assert code(np.array([b"b", b"a"])) == ([1, 0], None, ("a", "b"))


def test_numbers_with_gaps_are_names():
    assert code([3, 1, 3]) == ([1, 0, 1], None, ("1", "3"))
    assert code(["10", "9", "10"]) == ([1, 0, 1], None, ("9", "10"))


def test_test_labels_count_too():
    assert code([0, 1], [2, 0]) == ([0, 1], [2, 0], ("0", "1", "2"))
    assert code(["b"], ["a"]) == ([1], [0], ("a", "b"))


def test_given_classes_fix_order_and_number():
    assert code(["ill", "fit"], classes=["ill", "fit"]) == ([0, 1], None, ("ill", "fit"))
    assert code([0, 2], classes=["a", "b", "c"]) == ([0, 2], None, ("a", "b", "c"))
    assert code([5, 7], classes=["7", "5"]) == ([1, 0], None, ("7", "5"))


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        ([0, -1], None, "label -1 is negative"),
        ([0.0, 1.5], None, "label 1.5 is a fraction"),
        (["0", "1.5"], None, "label 1.5 is a fraction"),
        ([0.0, np.nan], None, "1 labels are missing"),
        (["a", "", " "], None, "2 labels are missing"),
        ([1, 1], None, "all labels are '1'"),
        ([0, 3], ["a", "b"], "label 3 is out of range; 2 classes have labels 0 to 1"),
        (["a", "x"], ["a", "b"], "label 'x' is none of the classes a, b"),
        ([0, 1], ["a", "a"], "not distinct"),
        ([0j, 1j], None, "type complex128"),
    ],
)
def test_what_is_no_label_is_refused(y, classes, message):
    with pytest.raises(UsageError, match=f"t.npz: y.*{message}"):
        code(y, classes=classes)
