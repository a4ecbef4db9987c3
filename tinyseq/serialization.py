"""Save tensors and state dicts, and load them again: safetensors files, never pickle.

Promises: a save that is cut off at any moment leaves the old file whole; a changed bit anywhere in a file written
here is an error on load, never other numbers; loading runs no code from the file. Files that other programs wrote
load too, without the checksums. Left out: writing in pieces, so a save needs memory for one copy of the data.

The layout is that of safetensors (https://github.com/huggingface/safetensors): eight bytes of length, a JSON header,
the arrays. Three entries of its `__metadata__` are ours: the structure of what was saved, with every value that is no
tensor; the SHA-256 of each array; and the SHA-256 of the header itself, taken with zeros in its own place.
"""

import errno
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from tinyseq.autograd.tensor import Tensor
from tinyseq.backend import Array, Device, as_device
from tinyseq.core import dtypes
from tinyseq.errors import DTypeError, FileError

STRUCTURE, DIGESTS, HEADER = "tinyseq.structure", "tinyseq.sha256", "tinyseq.header_sha256"
_UNSIGNED = 64 * "0"  # what stands in the place of the header's digest while it is computed
_CODES = "F16=f2 F32=f4 F64=f8 BOOL=? I8=i1 I16=i2 I32=i4 I64=i8 U8=u1 U16=u2 U32=u4 U64=u8"
_DTYPES = {name: np.dtype(code) for name, code in (pair.split("=") for pair in _CODES.split())}


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write a tensor, or nested dicts and lists of tensors, numbers and strings, to a safetensors file.

    A flat `state_dict` becomes a file whose arrays have its names, readable wherever safetensors are. The file is
    replaced in one step: whoever reads `path` finds the old contents or the new, also after a power cut.

    Raises
    ------
    DTypeError
        If `obj` holds something that such a file cannot.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, tinyseq as ts
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ts.save({"weight": ts.tensor([[1.0, 2.0]]), "epoch": 3}, folder + "/model.safetensors")
    ...     ts.load(folder + "/model.safetensors")
    {'weight': tensor([[1., 2.]]), 'epoch': 3}
    """
    if not isinstance(path, str | os.PathLike):
        raise DTypeError(f"save: got {type(path).__name__} as the path; wanted save(obj, path)")
    arrays: dict[str, Array] = {}
    structure = json.dumps(_taken_apart(obj, (), arrays), separators=(",", ":"))
    digests = json.dumps({name: _sha256(a.reshape(-1).view(np.uint8)) for name, a in arrays.items()})
    blob = safetensors.numpy.save(arrays, {STRUCTURE: structure, DIGESTS: digests, HEADER: _UNSIGNED})
    header, data = _split(blob)
    signed = header.replace(_UNSIGNED.encode(), _sha256(header).encode())
    _replace(os.path.realpath(path), (signed, data))


def load(path: str | os.PathLike[str], device: "Device | str | None" = None) -> Any:
    """Return what `save` wrote to `path`, its tensors on `device` (the CPU if None).

    A safetensors file of another program is returned as a dict of its tensors; bfloat16 values, which NumPy lacks,
    become float32, exactly. Tensors come back as leaves that require no gradients.

    Raises
    ------
    FileError
        If the file is no safetensors file, was changed or cut off since it was written, or holds a dtype that
        tinyseq lacks.
    OSError
        If the file cannot be read.
    """
    target = as_device(device)
    with open(path, "rb") as file:
        blob = file.read()
    try:
        entries = dict(safetensors.deserialize(blob))
    except safetensors.SafetensorError as error:
        what = "is damaged, cut off, or no safetensors file"
        if blob[:4] == b"PK\3\4":
            what = "is a zip file, as torch.save writes; in PyTorch, write it with safetensors.torch.save_file"
        raise FileError(f"load: {os.fspath(path)!r} {what}: {error}") from error
    header, _ = _split(blob)
    metadata = json.loads(header[8:]).get("__metadata__") or {}
    if not any(key in metadata for key in (STRUCTURE, DIGESTS, HEADER)):
        foreign = {name: _array(path, name, entry) for name, entry in sorted(entries.items())}
        for name, array in foreign.items():
            if array.dtype not in dtypes.SUPPORTED:
                raise FileError(_lacking(path, name, array.dtype))
        return {name: _tensor(array, target) for name, array in foreign.items()}
    signature = metadata.get(HEADER, "").encode()
    if len(signature) != 64 or signature.decode() != _sha256(header.replace(signature, _UNSIGNED.encode())):
        raise FileError(f"load: {os.fspath(path)!r} is damaged: its header does not match the header's SHA-256")
    for name, digest in json.loads(metadata[DIGESTS]).items():
        if _sha256(entries[name]["data"]) != digest:
            raise FileError(f"load: {os.fspath(path)!r} is damaged: array {name!r} does not match its SHA-256")
    arrays = {name: _array(path, name, entry) for name, entry in entries.items()}
    return _put_together(json.loads(metadata[STRUCTURE]), arrays, target)


# Structure: {"t": name} is a tensor, {"a": name} an array, {"d": [[key, value], ...]} a dict, {"l": [...]} a list,
# {"u": [...]} a tuple; anything else stands for itself.


def _taken_apart(value: Any, path: tuple[str, ...], arrays: dict[str, Array]) -> Any:
    """Return the structure of `value`, and put its arrays into `arrays`."""
    if isinstance(value, Tensor):
        return {"t": _filed(value.detach().cpu().numpy(), path, arrays)}
    if isinstance(value, np.ndarray):
        return {"a": _filed(value, path, arrays)}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not (key is None or isinstance(key, bool | int | float | str)):
                raise DTypeError(f"save: got the key {key!r} at {_place(path)}; wanted strings or numbers as keys")
        return {"d": [[key, _taken_apart(v, (*path, str(key)), arrays)] for key, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "l" if isinstance(value, list) else "u"
        return {kind: [_taken_apart(v, (*path, str(i)), arrays) for i, v in enumerate(value)]}
    raise DTypeError(
        f"save: got {type(value).__name__} at {_place(path)}; wanted tensors, arrays, numbers, strings, None, "
        "or dicts, lists and tuples of them (of a module or an optimizer, save the state_dict())"
    )


def _filed(array: Array, path: tuple[str, ...], arrays: dict[str, Array]) -> str:
    """Put a contiguous `array` into `arrays` under a name made of its path, and return the name."""
    native = array.dtype.newbyteorder("=")
    if native not in _DTYPES.values():
        raise DTypeError(f"save: got an array of {array.dtype} at {_place(path)}; wanted real numbers or booleans")
    first = name = ".".join(path) or "tensor"
    count = 1
    while name in arrays or name == "__metadata__":
        count += 1
        name = f"{first}~{count}"
    # safetensors writes the memory of a transposed or strided array as it lies, and loads other numbers from it
    arrays[name] = np.ascontiguousarray(array.astype(native.newbyteorder("<"), copy=False)).reshape(array.shape)
    return name


def _put_together(node: Any, arrays: dict[str, Array], device: Device) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, value),) = node.items()
    if kind == "t":
        return _tensor(arrays[value], device)
    if kind == "a":
        return arrays[value]
    if kind == "d":
        return {key: _put_together(v, arrays, device) for key, v in value}
    members = [_put_together(v, arrays, device) for v in value]
    return members if kind == "l" else tuple(members)


def _place(path: tuple[str, ...]) -> str:
    return repr(".".join(path)) if path else "the top"


# Bytes


def _split(blob: bytes) -> tuple[bytes, memoryview]:
    """Return the header of a safetensors file with its length before it, and the arrays' bytes."""
    end = 8 + int.from_bytes(blob[:8], "little")
    return blob[:end], memoryview(blob)[end:]


def _sha256(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()


def _array(path: Any, name: str, entry: dict[str, Any]) -> Array:
    """Return a new array from what safetensors says of it."""
    if entry["dtype"] == "BF16":  # the upper half of a float32
        upper = np.frombuffer(entry["data"], "<u2").astype("<u4") << 16
        return upper.view("<f4").reshape(entry["shape"])
    native = _DTYPES.get(entry["dtype"])
    if native is None:
        raise FileError(_lacking(path, name, entry["dtype"]))
    return np.frombuffer(entry["data"], native.newbyteorder("<")).astype(native).reshape(entry["shape"])


def _lacking(path: Any, name: str, dtype: Any) -> str:
    wanted = ", ".join(map(str, dtypes.SUPPORTED))
    return f"load: array {name!r} of {os.fspath(path)!r} has dtype {dtype}; tinyseq has {wanted}"


def _tensor(array: Array, device: Device) -> Tensor:
    return Tensor(array).to(device=device)


def _replace(path: str, parts: tuple[Any, ...]) -> None:
    """Put `parts` into the file `path` in one step that survives a power cut."""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "save: there is no such directory; make it first", folder)
    # Named by process and thread: no two living writers meet, and what a killed one leaves does not pile up
    temporary = os.path.join(folder, f".{name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
    if os.name == "posix":  # elsewhere a directory cannot be opened, and the rename is durable by itself
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
