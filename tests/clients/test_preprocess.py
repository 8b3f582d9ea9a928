"""Statistics of a client's own rows: mergeable, blind to missing values, exact for constants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import RecordDict

from clients.data import ByClient, ClientData, Pool, Split
from clients.preprocess import BINS, Moments, Preprocess, Transform, histogram, medians, prepared
from fedbal.protocol import PREPROCESS, to_record
from fedbal.seeding import stream


def table(n=200, missing=0.2):
    generator = stream(0, "test-table")
    x = generator.standard_normal((n, 4)) * [1.0, 50.0, 1e-3, 1.0] + [0.0, 1e4, 5.0, 0.0]
    x[:, 3] = 7.25
    x = x.astype(np.float32)
    x[generator.random((n, 4)) < missing] = np.nan
    return x


def split(x, rows=None):
    return Split(Pool(x, np.zeros(len(x), np.int64)), np.arange(len(x)) if rows is None else rows)


def test_merged_moments_are_those_of_all_rows_together():
    x = table().astype(np.float64)
    parts = [Moments.of(part) for part in np.split(x, [3, 4, 90])]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    np.testing.assert_array_equal(merged.count, (~np.isnan(x)).sum(axis=0))
    np.testing.assert_allclose(merged.mean, np.nanmean(x, axis=0), rtol=1e-9)
    np.testing.assert_allclose(merged.std[:3], np.nanstd(x, axis=0)[:3], rtol=1e-9)
    np.testing.assert_array_equal(merged.lowest, np.nanmin(x, axis=0))
    np.testing.assert_array_equal(merged.highest, np.nanmax(x, axis=0))
    assert merged.std[3] == 0.0


def test_the_spread_of_values_far_from_zero_survives_merging():
    values = 1e9 + stream(0, "test-far").standard_normal((1000, 1))
    merged = Moments.of(values[:400]).merge(Moments.of(values[400:]))
    np.testing.assert_allclose(merged.std, values.std(axis=0), rtol=1e-9)


def test_merging_with_nothing_changes_nothing():
    moments, nothing = Moments.of(table().astype(np.float64)), Moments.of(np.empty((0, 4)))
    for merged in (moments.merge(nothing), nothing.merge(moments)):
        for name, value in vars(moments).items():
            np.testing.assert_array_equal(getattr(merged, name), value)


def test_median_from_histograms_is_within_half_a_bin():
    x = table()
    low, high = np.nanmin(x, axis=0).astype(np.float64), np.nanmax(x, axis=0).astype(np.float64)
    parts = [histogram(split(part), low, high) for part in np.split(x, [50, 51])]
    counts = np.sum(parts, axis=0)
    np.testing.assert_array_equal(counts.sum(axis=1), (~np.isnan(x)).sum(axis=0))
    error = np.abs(medians(counts, low, high) - np.nanmedian(x.astype(np.float64), axis=0))
    assert np.all(error <= (high - low) / (2 * BINS) * (1 + 1e-9))
    assert medians(counts, low, high)[3] == 7.25


def test_median_of_two_values_far_apart_is_between_them():
    x = np.array([[0.0], [0.0], [1.0], [1.0]], np.float32)
    counts = histogram(split(x), np.zeros(1), np.ones(1))
    np.testing.assert_allclose(medians(counts, np.zeros(1), np.ones(1)), 0.5)


@pytest.mark.parametrize("impute", ["mean", "median"])
@pytest.mark.parametrize("scale", ["none", "standard", "minmax"])
def test_own_statistics_prepare_own_rows(impute, scale):
    x = table()
    own = split(x)
    z = Preprocess(impute, scale, "client").fitted(own)(torch.from_numpy(x)).numpy()
    assert z.dtype == np.float32
    assert np.isfinite(z).all()
    seen = ~np.isnan(x)
    centre = {"mean": np.nanmean, "median": np.nanmedian}[impute](x.astype(np.float64), axis=0)
    for feature in range(3):
        column = z[seen[:, feature], feature].astype(np.float64)
        raw = x[seen[:, feature], feature].astype(np.float64)
        if scale == "standard":
            expected, fill = (raw - raw.mean()) / raw.std(), (centre[feature] - raw.mean()) / raw.std()
        elif scale == "minmax":
            span = raw.max() - raw.min()
            expected, fill = (raw - raw.min()) / span, (centre[feature] - raw.min()) / span
        else:
            expected, fill = raw, centre[feature]
        np.testing.assert_allclose(column, expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(z[~seen[:, feature], feature], fill, rtol=1e-3, atol=1e-3)
    assert np.all(z[:, 3] == (7.25 if scale == "none" else 0.0))


def test_images_are_scaled_by_channel():
    x = stream(0, "test-images").integers(0, 256, (30, 3, 4, 5)).astype(np.uint8)
    own = Split(Pool(x, np.zeros(30, np.int64), divide=255.0), np.arange(20))
    transform = Preprocess("none", "standard", "client").fitted(own)
    assert transform.shift.shape == (3,)
    np.testing.assert_allclose(transform.shift, (x[:20] / 255.0).mean(axis=(0, 2, 3)), rtol=1e-6)
    z, _ = Split(own.pool, own.rows, transform=transform).batch(np.arange(20))
    np.testing.assert_allclose(z.numpy().mean(axis=(0, 2, 3)), 0.0, atol=1e-5)
    np.testing.assert_allclose(z.numpy().std(axis=(0, 2, 3)), 1.0, atol=1e-5)


def test_many_rows_are_measured_in_pieces():
    x = stream(0, "test-many").standard_normal((9000, 2)).astype(np.float32)
    moments = Preprocess("mean").moments(split(x))
    np.testing.assert_allclose(moments.std, x.astype(np.float64).std(axis=0), rtol=1e-9)


def test_a_feature_without_any_value_becomes_zero():
    x = table()
    x[:, 1] = np.nan
    z = Preprocess("median", "standard", "client").fitted(split(x))(torch.from_numpy(x))
    assert torch.all(z[:, 1] == 0.0)


def test_missing_values_that_nothing_replaces_name_their_columns():
    plan = Preprocess("none", "standard", "client", ("age", "chol", "ca", "sex"))
    x = table(missing=0.0)
    x[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"missing in ca; set data\.preprocess\.impute"):
        plan.fitted(split(x))


def clients_data(x):
    pool = Pool(x, np.zeros(len(x), np.int64))
    return ClientData(
        "a", Split(pool, np.arange(50)), Split(pool, np.arange(50, 60)), Split(pool, np.arange(60, 90))
    )


def test_fit_client_reads_own_training_rows_only():
    x = table()
    changed = x.copy()
    changed[50:] = 1e6
    plan = Preprocess("mean", "standard", "client")
    first, second = (prepared(plan, clients_data(each), RecordDict()) for each in (x, changed))
    for name in ("fill", "shift", "scale"):
        own = getattr(first.train.transform, name)
        np.testing.assert_array_equal(own, getattr(second.train.transform, name))
        np.testing.assert_array_equal(own, getattr(first.test.transform, name))


def test_the_federations_statistics_come_with_the_message():
    plan, data = Preprocess("mean", "standard", "federated"), clients_data(table())
    sent = Transform(np.full(4, 5.0), np.full(4, 1.0), np.full(4, 2.0), np.full(4, 9))
    content = RecordDict({PREPROCESS: to_record(sent.arrays())})
    own = prepared(plan, data, content)
    z, _ = own.train.batch(np.arange(50))
    x, _ = data.train.batch(np.arange(50))
    torch.testing.assert_close(z, (torch.where(x.isnan(), 5.0, x) - 1.0) / 2.0)
    assert own.train.pool is data.train.pool
    with pytest.raises(ValueError, match="brings no 'preprocess' record"):
        prepared(plan, data, RecordDict())


def test_a_client_without_training_rows_uses_what_the_message_brings():
    data = clients_data(table())
    empty = ClientData("a", Split(data.train.pool, np.arange(0)), data.validation, data.test)
    sent = Transform(np.zeros(4), np.ones(4), np.ones(4), np.full(4, 9))
    own = prepared(
        Preprocess("mean", "standard", "client"), empty, RecordDict({PREPROCESS: to_record(sent.arrays())})
    )
    np.testing.assert_array_equal(own.test.transform.shift, sent.shift)


def test_off_returns_the_same_data():
    data = clients_data(table())
    assert prepared(None, data, RecordDict()) is data


@pytest.mark.parametrize(
    "change", [{"scale": np.zeros(4)}, {"shift": np.full(4, np.nan)}, {"fill": np.zeros(3)}]
)
def test_transforms_that_cannot_be_are_refused(change):
    arrays = {"fill": np.zeros(4), "shift": np.zeros(4), "scale": np.ones(4), "count": np.ones(4, np.int64)}
    with pytest.raises(ValueError):
        Transform.of({**arrays, **change})


def test_rows_of_several_clients_are_each_treated_as_their_clients():
    x = torch.arange(6.0).view(6, 1)
    by = ByClient({0: lambda x, rows: x + 10, 2: lambda x, rows: -x}, np.array([0, 2, 0, 2, 2, 0]))
    result = by(x[[1, 2, 5]], np.array([1, 2, 5]))
    torch.testing.assert_close(result, torch.tensor([[-1.0], [12.0], [15.0]]))
