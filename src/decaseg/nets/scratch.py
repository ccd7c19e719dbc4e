"""Tensors that are used again and again within one training step, so that they cost no page faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

Kind = tuple[torch.Size, torch.dtype, torch.device, torch.memory_format]


class Scratch:
    """Lends tensors with whatever they hold; what is lent inside `borrowed()` is taken back when that ends."""

    def __init__(self) -> None:
        self._free: dict[Kind, list[Tensor]] = {}
        self._lent: list[tuple[Kind, Tensor]] = []

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        before = len(self._lent)
        try:
            yield
        finally:
            while len(self._lent) > before:
                kind, tensor = self._lent.pop()
                self._free.setdefault(kind, []).append(tensor)

    def clear(self) -> None:
        """Lets go of all that is not lent: the next parts want other shapes."""
        self._free.clear()

    def like(self, x: Tensor, channels: int | None = None) -> Tensor:
        """A tensor of shape, type and memory order of `x` (B, C, X, Y, Z), with `channels` where given."""
        shape = torch.Size((x.shape[0], x.shape[1] if channels is None else channels, *x.shape[2:]))
        last = x.is_contiguous(memory_format=torch.channels_last_3d)
        order = torch.channels_last_3d if last else torch.contiguous_format
        kind = shape, x.dtype, x.device, order
        free = self._free.get(kind)
        tensor = free.pop() if free else torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=order)
        self._lent.append((kind, tensor))
        return tensor
