"""Dice and IoU: hand-worked masks, sums that add up, replies that contradict themselves, the spread over sites."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from fedbal.measures import measures_for
from fedbal.measures.names import score_name, tasks_of_score
from fedbal.measures.segmentation import ClientOverlap, Segmentation, overlap, overlap_spread
from fedbal.seeding import stream

TWO = Segmentation(2)


def logits_of(predicted, classes=2):
    """Return logits (n, C, h, w) that call the given classes."""
    return torch.nn.functional.one_hot(torch.as_tensor(predicted), classes).movedim(-1, 1).to(torch.float32)


def random_batch(n=13, classes=3, side=6):
    draw = stream(0, "test-masks")
    logits = torch.from_numpy(draw.standard_normal((n, classes, side, side)).astype(np.float32))
    return logits, torch.from_numpy(draw.integers(0, classes, (n, side, side)))


def test_hand_worked_overlaps():
    truth = np.array(
        [[[1, 1], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 1], [1, 1]]]
    )
    called = np.array(
        [[[1, 0], [1, 0]], [[0, 0], [0, 0]], [[0, 1], [0, 0]], [[0, 0], [0, 0]], [[1, 1], [1, 0]]]
    )
    dice, iou = overlap(called, truth, 2)
    assert dice[:, 0].tolist() == [2 / 4, 1.0, 0.0, 0.0, 6 / 7]
    assert iou[:, 0].tolist() == [1 / 3, 1.0, 0.0, 0.0, 3 / 4]


def test_every_foreground_class_counts_alike_and_the_background_does_not():
    truth = np.array([[[0, 1, 1], [2, 2, 2]]])
    called = np.array([[[0, 0, 1], [2, 2, 2]]])
    dice, iou = overlap(called, truth, 4)
    assert dice[0].tolist() == [2 / 3, 1.0, 1.0]
    assert iou[0].tolist() == [1 / 2, 1.0, 1.0]
    report = Segmentation(4).report(Segmentation(4).score(logits_of(called, 4), torch.from_numpy(truth)))
    assert report["dice"] == pytest.approx((2 / 3 + 2) / 3, abs=1e-15)
    assert report["per_class_iou"] == [0.5, 1.0, 1.0]
    assert report["samples"] == 1


def test_dice_and_iou_are_tied_in_every_image():
    logits, y = random_batch()
    dice, iou = overlap(logits.argmax(1).numpy(), y.numpy(), 3)
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou), atol=1e-15)


def test_the_loss_is_the_mean_cross_entropy_of_a_pixel():
    logits, y = random_batch()
    report = Segmentation(3).report(Segmentation(3).score(logits, y))
    assert report["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, y)), abs=1e-6)


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_sums_of_parts_are_those_of_the_whole(cut):
    measures, (logits, y) = Segmentation(3), random_batch()
    whole = measures.report(measures.score(logits, y))
    parts = measures.score(logits[:cut], y[:cut]) + measures.score(logits[cut:], y[cut:])
    found = measures.report(measures.empty() + parts)
    assert found.pop("samples") == whole.pop("samples") == 13
    for key, value in whole.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-12)
    assert measures.value(parts, "auto") == measures.value(parts, "dice") == found["dice"]
    assert measures.value(parts, "iou") == found["iou"]


def test_no_image_has_no_score():
    report = TWO.report(TWO.empty())
    assert report == {
        "samples": 0,
        "dice": None,
        "iou": None,
        "per_class_dice": [None],
        "per_class_iou": [None],
        "loss": None,
    }
    with pytest.raises(ValueError, match="of no image"):
        TWO.value(TWO.empty(), "dice")
    with pytest.raises(ValueError, match="2 and 1 foreground classes"):
        Segmentation(3).empty() + TWO.empty()


def test_scores_belong_to_tasks():
    assert score_name("auto", "segmentation") == "dice"
    assert score_name("auto", "classification") == "accuracy"
    assert tasks_of_score("auto") == ("classification", "segmentation")
    assert tasks_of_score("balanced_accuracy") == ("classification",)
    with pytest.raises(ValueError, match="'accuracy' does not exist for segmentation; choose dice or iou"):
        score_name("accuracy", "segmentation")
    assert measures_for("segmentation", 2).headline == "dice"
    with pytest.raises(ValueError, match="background and at least one more"):
        Segmentation(1)


def test_a_reply_carries_both_models():
    received = TWO.score(logits_of([[[1, 0]], [[1, 1]]]), torch.tensor([[[1, 1]], [[1, 1]]]))
    own = TWO.score(logits_of([[[1, 1]], [[1, 1]]]), torch.tensor([[[1, 1]], [[1, 1]]]))
    found = TWO.read(TWO.reply(received, own))
    assert found is not None
    assert found.received.n == 2
    assert found.received.dice == found.received.value == pytest.approx((2 / 3 + 1) / 2)
    assert found.received.iou == pytest.approx((1 / 2 + 1) / 2)
    assert found.received.squares == pytest.approx((4 / 9 + 1) / 2)
    assert (found.personal.dice, found.personal.iou) == (1.0, 1.0)
    assert TWO.read(TWO.reply(received)).personal is None
    assert TWO.reply(received)["metrics"]["dice"] == found.received.dice


@pytest.mark.parametrize(
    "values", [[1.0, 2.5, 1.0], [1.0, -0.1, 1.0], [1.0, 1.0], [math.nan, 1.0, 1.0], None], ids=str
)
def test_a_reply_that_contradicts_itself_does_not_count(values):
    metrics = MetricRecord({"num-examples": 2, "loss": 0.5, "dice": 0.5})
    content = RecordDict({"metrics": metrics})
    content["extras"] = ConfigRecord({} if values is None else {"overlap": values})
    assert TWO.read(content) is None


def test_spread_over_sites():
    rows = [
        ClientOverlap(4, 0.8, 0.7, 0.66, 0.2),
        ClientOverlap(6, 0.5, 0.4, 0.30, 0.6),
        ClientOverlap(1, 1.0, 1.0, 1.00, 0.1),
        ClientOverlap(0, 0.0, 0.0, 0.00, math.nan),
    ]
    found = overlap_spread(rows, 4)
    assert (found["clients"], found["samples"], found["pooled_clients"], found["pooled_n"]) == (2, 10, 3, 11)
    assert found["mean"] == pytest.approx(0.65)
    assert found["weighted_mean"] == pytest.approx(0.62)
    assert (found["worst_10_percent"], found["best_10_percent"]) == (0.5, 0.8)
    assert found["range"] == pytest.approx(0.3)
    # Variance between 0.8 and 0.5 is 0.045; of the means within: (0.66 - 0.64) / 3 and (0.30 - 0.25) / 5.
    assert found["std"] == pytest.approx(math.sqrt(0.045 - (0.02 / 3 + 0.01) / 2))
    assert found["pooled_dice"] == pytest.approx((3.2 + 3.0 + 1.0) / 11)
    assert found["pooled_iou"] == pytest.approx((2.8 + 2.4 + 1.0) / 11)
    assert found["pooled_loss"] == pytest.approx((0.8 + 3.6 + 0.1) / 11)
    assert found["note"] is None


def test_sites_with_few_images_give_no_spread_but_a_note():
    found = overlap_spread([ClientOverlap(3, 0.5, 0.4, 0.3, 0.1)], 30)
    assert (found["mean"], found["std"], found["clients"], found["pooled_dice"]) == (None, None, 0, 0.5)
    assert "no client has 30 test samples (the largest has 3)" in found["note"]
    assert overlap_spread([], 1)["pooled_dice"] is None
