import gzip
import struct

import numpy as np
import pytest

from fedbal.data.idx import read_idx
from fedbal.errors import RunError
from tests.data.idx_files import idx_bytes

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def write(tmp_path, content, name="file"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "array", [IMAGES, np.array([7, 0, 9], dtype=np.uint8), IMAGES[:0]], ids=["3d", "1d", "empty"]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_what_was_written_is_read(tmp_path, array, pack):
    read = read_idx(write(tmp_path, pack(idx_bytes(array))))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.uint8
    assert read.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no idx file.*nothing"),
        (b"\x00\x00\x08", "no idx file"),
        (b"PK\x03\x04rest", "no idx file.*504b0304"),
        (struct.pack(">HBBI", 0, 0x0D, 1, 1) + b"\0\0\0\0", "idx type 0x0d"),
        (struct.pack(">HBB", 0, 8, 0), "promises 0 axes"),
        (idx_bytes(IMAGES)[:10], "promises 3 axes"),
        (idx_bytes(IMAGES)[:-1], "23 values where its header promises 2 x 3 x 4"),
        (idx_bytes(IMAGES) + b"\0", "25 values where its header promises 2 x 3 x 4"),
        (gzip.compress(idx_bytes(IMAGES))[:-9], "cannot be read"),
        (gzip.compress(idx_bytes(IMAGES))[:12] + b"\xff" * 20, "cannot be read"),
    ],
    ids=[
        "empty",
        "short",
        "zip",
        "floats",
        "no-axes",
        "header",
        "truncated",
        "too-long",
        "cut-gzip",
        "bad-gzip",
    ],
)
def test_what_is_damaged_is_refused_by_name(tmp_path, content, message):
    with pytest.raises(RunError, match=f"(?s)broken-ubyte.*{message}"):
        read_idx(write(tmp_path, content, "broken-ubyte"))


def test_a_gzip_with_a_wrong_checksum_is_refused(tmp_path):
    content = bytearray(gzip.compress(idx_bytes(IMAGES)))
    content[-6] ^= 1
    with pytest.raises(RunError, match="CRC"):
        read_idx(write(tmp_path, bytes(content)))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RunError, match="cannot be read"):
        read_idx(tmp_path / "none")
