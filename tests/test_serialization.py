"""Saving and loading: equal values back, one step on disk, no changed bit unnoticed."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

import tinyseq as ts
from tinyseq.core import dtypes
from tinyseq.errors import DTypeError, FileError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "saved.safetensors"


def same(a, b):
    """Equal types, structures and values, also NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, ts.Tensor):
        a, b = np.asarray(a.detach()), np.asarray(b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


MATRIX = np.arange(6.0).reshape(2, 3)
OBJECTS = {
    "tensor": ts.tensor([1.0, -2.0]),
    "nested": {"model": {"w": ts.tensor([[1.0]])}, "state": {0: {"step": 3, "m": ts.tensor([0.5])}, 1: {}}},
    "values": {"text": "größe ☃ \ud800 \n", "big": 2**90, "none": None, "yes": True, "f": 0.1, "l": [1, (2.5, "x")]},
    "infinite": {"inf": float("inf"), "tensor": ts.tensor([np.nan, np.inf])},
    "names that meet": {"a": {"b": ts.tensor(1.0)}, "a.b": ts.tensor(2.0), "": ts.tensor(3.0)},
    "names of the format": {"__metadata__": ts.tensor(1.0), "tinyseq.sha256": ts.tensor(2.0)},
    "transposed": ts.tensor(MATRIX).t(),
    "strided": ts.tensor(np.arange(10.0))[::2],
    "expanded": ts.ops.broadcast_to(ts.tensor(1.0), shape=(2, 2)),
    "arrays": {"t": MATRIX.T, "r": MATRIX[:, ::-1], "state": np.arange(4, dtype=np.uint64)},
    "shapes": [ts.tensor(1.0), ts.tensor(np.zeros((0, 3))), np.ones((1, 1, 1)), ts.tensor([])],
    "leaf": {"w": ts.tensor([1.0, 2.0], requires_grad=True)},
    "nothing": {},
}


@pytest.mark.parametrize("name", OBJECTS)
def test_what_was_saved_is_loaded(name, path):
    ts.save(OBJECTS[name], path)
    assert same(OBJECTS[name], ts.load(path))


@pytest.mark.parametrize("dtype", dtypes.SUPPORTED, ids=str)
def test_every_dtype(dtype, path):
    values = ts.tensor(np.array([[0, 1], [1, 100]]).astype(dtype))
    ts.save({"x": values.t()}, path)
    assert same(values.t(), ts.load(path)["x"])


def test_big_endian_arrays_keep_their_values(path):
    ts.save(np.array([1, 2], ">i4"), path)
    assert ts.load(path).tolist() == [1, 2]


def test_loaded_tensors_are_leaves_on_the_device_asked_for(path):
    ts.save(ts.tensor([1.0], requires_grad=True) * 2, path)
    loaded = ts.load(path, device="cpu")
    assert loaded.is_leaf
    assert not loaded.requires_grad
    loaded[0] = 3.0
    assert loaded.tolist() == [3.0]


def test_other_programs_read_a_flat_state_dict(path):
    ts.save({"rnn.weight": ts.tensor(MATRIX).t(), "rnn.bias": ts.tensor([1.0])}, path)
    read = safetensors.numpy.load_file(path)
    assert sorted(read) == ["rnn.bias", "rnn.weight"]
    assert np.array_equal(read["rnn.weight"], MATRIX.T)


def test_files_of_other_programs_load(path):
    safetensors.numpy.save_file({"b": np.float32([[1, 2]]), "a": np.array(3)}, path, metadata={"format": "pt"})
    loaded = ts.load(path)
    assert loaded["b"].tolist() == [[1.0, 2.0]]
    assert loaded["a"].item() == 3


def test_bfloat16_becomes_float32_exactly(path):
    values = np.float32([1.0, -2.5, np.inf, 3.140625])
    data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = json.dumps({"x": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    assert np.array_equal(np.asarray(ts.load(path)["x"]), values)


def test_every_flipped_bit_is_an_error(path, tmp_path):
    ts.save({"a": ts.tensor([1.0, 2.0]), "b": {"n": 3, "é": ts.tensor([True])}}, path)
    whole = path.read_bytes()
    other = tmp_path / "flipped.safetensors"
    for position in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            other.write_bytes(flipped)
            with pytest.raises(FileError):
                ts.load(other)


def test_every_cut_is_an_error(path):
    ts.save({"a": ts.tensor([1.0, 2.0])}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"saved\.safetensors"):
            ts.load(path)


def test_damage_names_the_array(path):
    ts.save({"first": ts.tensor([1.0]), "second": ts.tensor([2.0])}, path)
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(FileError, match="array 'second' does not match its SHA-256"):
        ts.load(path)


def test_a_pickle_is_refused_and_not_run(path):
    path.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(FileError, match="no safetensors file"):
        ts.load(path)


def test_a_file_of_torch_save_is_told(path):
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(FileError, match=r"zip file, as torch\.save writes.*safetensors\.torch\.save_file"):
        ts.load(path)


@pytest.mark.parametrize("wrong", [object(), {"a": {1, 2}}, {"f": print}, {("x",): 1}, np.array([1j]), np.array(["x"])])
def test_what_cannot_be_saved_is_named_and_the_old_file_stays(wrong, path):
    ts.save({"old": 1}, path)
    with pytest.raises(DTypeError, match="save: got"):
        ts.save(wrong, path)
    assert ts.load(path) == {"old": 1}


def test_a_dtype_that_tinyseq_lacks_is_named(path):
    safetensors.numpy.save_file({"x": np.zeros(2, np.uint16)}, path)
    with pytest.raises(FileError, match=r"'x'.*uint16"):
        ts.load(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    ts.save({"old": 1}, path)

    def full(handle):
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            ts.save({"new": 2}, path)
    assert ts.load(path) == {"old": 1}
    assert os.listdir(path.parent) == [path.name]


def test_saving_through_a_link_keeps_the_link(path, tmp_path):
    link = tmp_path / "latest.safetensors"
    ts.save({"n": 1}, path)
    link.symlink_to(path)
    ts.save({"n": 2}, link)
    assert link.is_symlink()
    assert ts.load(path) == {"n": 2}


def test_missing_folder_and_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        ts.save({}, tmp_path / "no" / "x.safetensors")
    with pytest.raises(FileNotFoundError):
        ts.load(tmp_path / "x.safetensors")


SAVER = """
import sys, numpy as np, tinyseq as ts
i = 0
while True:
    i += 1
    ts.save({"a": np.full(50000, i), "b": np.full((100, 100), i)}, sys.argv[1])
    print(i, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_a_process_killed_while_saving_leaves_a_whole_file(path):
    for delay in range(5):
        with subprocess.Popen([sys.executable, "-c", SAVER, path], stdout=subprocess.PIPE) as saver:
            for _ in range(delay * 3 + 1):
                saver.stdout.readline()
            saver.send_signal(signal.SIGKILL)
        saved = ts.load(path)
        assert np.unique(np.concatenate([saved["a"], saved["b"].ravel()])).size == 1
