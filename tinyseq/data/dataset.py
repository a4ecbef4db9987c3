"""Datasets and loaders, with PyTorch's names; loading happens in the calling thread."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tinyseq import ops
from tinyseq.autograd.creation import randperm, tensor
from tinyseq.autograd.tensor import Tensor
from tinyseq.errors import ArgumentError, DTypeError, ShapeError
from tinyseq.ops.random import Generator


class Dataset(Protocol):
    """Anything with a length and samples by index."""

    def __len__(self) -> int:
        """Return how many samples there are."""

    def __getitem__(self, index: int) -> Any:
        """Return sample `index`."""


class TensorDataset:
    """Samples that are slices of tensors along their first dimension.

    >>> TensorDataset(tensor([[1.0], [2.0]]), tensor([0, 1]))[1]
    (tensor([2.]), tensor(1))

    Raises
    ------
    ShapeError
        If the tensors differ in their first size.
    """

    def __init__(self, *tensors: Tensor) -> None:
        sizes = [t.shape[:1] for t in tensors]
        if not tensors or () in sizes or len(set(sizes)) > 1:
            raise ShapeError(f"TensorDataset: wanted tensors of one first size, got {[list(t.shape) for t in tensors]}")
        self.tensors = tensors

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)


class Subset:
    """The samples of `dataset` at `indices`."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]


def default_collate(samples: Sequence[Any]) -> Any:
    """Join samples along a new first dimension, tuples and dicts member by member; strings stay a list.

    >>> default_collate([(1.0, "a"), (2.0, "b")])
    (tensor([1., 2.]), ['a', 'b'])

    Raises
    ------
    ShapeError
        If tensors of one member differ in shape; pad them in a `collate_fn`.
    DTypeError
        If a sample is of a type that does not become a tensor.
    """
    first = samples[0]
    if isinstance(first, Tensor):
        return ops.stack(samples)
    if isinstance(first, np.ndarray | np.generic):
        return tensor(np.stack(samples))
    if isinstance(first, bool | int | float):
        return tensor(list(samples))
    if isinstance(first, str):
        return list(samples)
    if isinstance(first, Mapping):
        return {key: default_collate([s[key] for s in samples]) for key in first}
    if isinstance(first, tuple | list):
        members = [default_collate(member) for member in zip(*samples, strict=True)]
        return type(first)(*members) if hasattr(first, "_fields") else type(first)(members)
    raise DTypeError(f"default_collate: got {type(first).__name__}; wanted tensors or numbers, or pass a collate_fn")


class DataLoader:
    """Batches of a dataset; each iteration is one pass.

    Parameters
    ----------
    dataset
        Anything with `len()` and samples by index.
    batch_size
        Samples a batch.
    shuffle
        Draw the samples of each pass in a new order.
    collate_fn
        From a list of samples to a batch.
    drop_last
        Leave out a last batch that is not full.
    generator
        Where the orders are drawn from; the default generator if None.

    Examples
    --------
    >>> [batch.tolist() for batch in DataLoader([1, 2, 3], batch_size=2)]
    [[1, 2], [3]]

    Raises
    ------
    ArgumentError
        If `batch_size` is not positive.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        generator: Generator | None = None,
    ) -> None:
        if batch_size < 1:
            raise ArgumentError(f"DataLoader: got batch_size {batch_size}, wanted at least 1")
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.collate_fn, self.drop_last, self.generator = collate_fn, drop_last, generator

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        n = len(self.dataset)
        order = randperm(n, generator=self.generator).numpy() if self.shuffle else np.arange(n)
        for i in range(len(self)):
            yield self._batch(order[i * self.batch_size : (i + 1) * self.batch_size])

    def _batch(self, indices: Any) -> Any:
        if self.collate_fn is None and isinstance(self.dataset, TensorDataset):
            return self.dataset[tensor(indices)]  # one look-up a tensor
        samples = [self.dataset[int(i)] for i in indices]
        return default_collate(samples) if self.collate_fn is None else self.collate_fn(samples)
