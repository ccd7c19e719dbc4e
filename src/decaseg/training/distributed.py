"""One training on several processes: who has which rows, and how sums, clocks, answers and errors become common.

`torchrun` starts the same command in each process, here called a rank, and tells each its number. Every rank knows
the whole of batch n (a function of seed and n) and takes its rows of it; sums over the batch run over the ranks, so N
ranks compute what one process would, apart from the order of sums. Only the first rank writes files and speaks.

Why gradients are added up here and not by torch's DistributedDataParallel: docs/decisions/0007.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from decaseg.losses import Whole
from decaseg.training.heartbeat import beating

T = TypeVar("T")
BUCKET_BYTES = 32 * 2**20  # of gradients that travel together: long messages, yet the first leaves early
STEP_TIMEOUT_S = {"cpu": 1800.0, "cuda": 600.0}  # no step takes longer; torch's own values for gloo and nccl
PATIENCE_S = 12 * 3600.0  # for the others while cases are prepared or validated


class RankLost(RuntimeError):
    """Another process of this training ended or stopped answering, so this one cannot go on."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, seen from number `rank` of `size`; `ALONE`, the default, is one that has it all."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    patient: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and speaks."""
        return self.rank == 0

    @property
    def words(self) -> str:
        """For the line that says what trains."""
        return f" in each of {self.size} processes" if self.size > 1 else ""

    def rows(self, batch_size: int) -> slice:
        """This rank's rows of a batch: every `size`-th; ValueError where there are fewer rows than ranks."""
        if batch_size < self.size:
            raise ValueError(
                f"--batch-size {batch_size}: cannot be shared by {self.size} processes, which need a patch each; use "
                f"--nproc-per-node {batch_size} or fewer, or --batch-size {self.size} or more"
            )
        return slice(self.rank, None, self.size)

    def whole(self, batch_size: int) -> Whole:
        """How the loss of this rank's rows becomes that of the whole batch."""
        share = len(range(batch_size)[self.rows(batch_size)]) / batch_size
        return Whole(_Sum.apply if self.size > 1 else lambda mine: mine, share)

    def device(self, device: torch.device) -> torch.device:
        """This rank's own GPU of its machine; ValueError where there are more ranks than GPUs or kinds differ."""
        if self.size == 1:
            return device
        kinds = set(self.gather(device.type))
        return self.together(lambda: self._own(device, kinds))

    def _own(self, device: torch.device, kinds: set[str]) -> torch.device:
        if len(kinds) > 1:
            raise ValueError("--device auto: not all machines have a GPU that torch can use; give --device cpu or cuda")
        if device.type != "cuda":
            return device
        if self.local_size > torch.cuda.device_count():
            raise ValueError(
                f"--nproc-per-node {self.local_size}: this machine has {torch.cuda.device_count()} GPUs; start at most "
                "as many processes as GPUs, or train with --device cpu"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    # -- every step ----------------------------------------------------------------------------------------------------

    def add(self, tensor: Tensor) -> Tensor:
        """Adds up a tensor over all ranks, in place; autograd does not see it."""
        if self.size > 1:
            _talk(dist.all_reduce, tensor)
        return tensor

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Adds up gradients over all ranks: a rank's loss is that of the whole batch, its gradient that of its rows."""
        if self.size == 1:
            return
        travelling = []
        for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            travelling.append((bucket, flat, _talk(dist.all_reduce, flat, async_op=True)))
        for bucket, flat, work in travelling:
            _talk(work.wait)
            for gradient, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                gradient.copy_(part.view(gradient.shape))

    def of_first(self, value: float) -> float:
        """The first rank's value, e.g. of its clock: what is decided by it is decided alike everywhere."""
        return float(self.add(torch.tensor(value if self.first else 0.0, dtype=torch.float64)))

    def any(self, answer: bool) -> bool:
        """Whether any rank says yes."""
        return bool(self.add(torch.tensor(int(answer))))

    # -- now and then --------------------------------------------------------------------------------------------------

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in order; waits for the slowest."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        _talk(dist.all_gather_object, values, value, group=self.patient)
        return values

    def together(self, work: Callable[[], T]) -> T:
        """Runs `work` on every rank. Where it fails, all end: one rank with its error, the others quietly."""
        if self.size == 1:
            return work()
        result, error = None, None
        try:
            result = work()
        except Exception as caught:
            error = caught
        failed = [rank for rank, wrong in enumerate(self.gather(error is not None)) if wrong]
        if failed:
            dist.destroy_process_group()
        if error is not None and self.rank == failed[0]:
            raise error
        if failed:
            _leave_quietly()
        return result  # type: ignore[return-value]

    def lead(self, work: Callable[[], T]) -> T:
        """Runs `work` on the first rank and gives its result to all; its error ends all."""
        if self.size == 1:
            return work()
        result = self.together(lambda: _packed(work()) if self.first else None)  # bytes: never another rank's GPU
        box = [result]
        _talk(dist.broadcast_object_list, box, src=0, group=self.patient)
        unpacked: T = torch.load(io.BytesIO(box[0] or b""), map_location="cpu", weights_only=False)
        return unpacked

    def same(self, model: nn.Module) -> None:
        """Gives every rank the first one's weights: processors of another kind draw other last bits."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                _talk(dist.broadcast, tensor, src=0)

    def own_randomness(self, *numbers: int) -> None:
        """Sets torch's global generator apart on all ranks but the first, so that dropout does not repeat itself."""
        if not self.first:
            torch.manual_seed(hash((self.rank, *numbers)) % 2**63)


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks that torchrun started, or `ALONE`; all but the first are silent inside.

    torchrun hands out numbers and addresses by environment variables. Waits for all ranks. Inside, a rank that ends or
    hangs makes the others raise RankLost; FloatingPointError is taken to rise on all of them, and told once.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    lacking = [
        n for n in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if n not in os.environ
    ]
    if lacking:
        raise ValueError(f"WORLD_SIZE={size} is set, but {lacking[0]} is not; start several processes with torchrun")
    cuda = torch.cuda.is_available() and dist.is_nccl_available()
    ranks = _join(cuda, STEP_TIMEOUT_S["cuda" if cuda else "cpu"], PATIENCE_S)
    try:
        with beating(ranks.rank, _processes(ranks.size)), _silence(not ranks.first):
            yield ranks
    except FloatingPointError:
        dist.destroy_process_group()
        if ranks.first:
            raise
        _leave_quietly()
    dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """Ends this process with that exit code, also where it is still in the group that `joined` made.

    A rank whose error the others do not know of, or that lost them, cannot take leave of them: the group would wait for
    messages on their way. It is to be gone, so that the others notice; but torch's threads abort an interpreter that
    ends in order, and the exit code with it.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise SystemExit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _join(cuda: bool, timeout_s: float, patience_s: float) -> Ranks:
    number = {name: int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")}
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    _talk(dist.init_process_group, backend, timeout=timedelta(seconds=timeout_s))
    patient = _talk(dist.new_group, backend="gloo", timeout=timedelta(seconds=patience_s))
    return Ranks(number["RANK"], number["WORLD_SIZE"], number["LOCAL_RANK"], number["LOCAL_WORLD_SIZE"], patient)


def _processes(size: int) -> list[tuple[int, int]]:
    """Each rank's parent and process, told before anything can freeze: who falls silent is ended by the others."""
    told = [torch.empty(2, dtype=torch.int64) for _ in range(size)]
    _talk(dist.all_gather, told, torch.tensor([os.getppid(), os.getpid()]))
    return [(int(parent), int(process)) for parent, process in told]


class _Sum(torch.autograd.Function):
    """The sum over all ranks. Its gradient goes straight through, for every rank goes on from it to the same loss."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        total = mine.clone()
        _talk(dist.all_reduce, total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients in their order, in groups of about BUCKET_BYTES."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        bucket.append(gradient)
        if sum(g.nbytes for g in bucket) >= BUCKET_BYTES:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def _talk(what: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Calls a function of torch.distributed; where it fails, another rank is gone or hangs."""
    try:
        return what(*arguments, **options)
    except RuntimeError as error:
        raise RankLost(
            "another process of this training ended or stopped answering (see what it said, here or on its machine); "
            "what was saved last is whole: go on with the same command and --resume "
            f"[{str(error).splitlines()[0][:100]}]"
        ) from error


def _packed(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _leave_quietly() -> None:
    """Ends this process for an error that another rank tells, after giving it the time: torchrun ends all at once."""
    time.sleep(1)
    raise SystemExit(2)


@contextmanager
def _silence(silent: bool) -> Iterator[None]:
    if not silent:
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
    sys.stdout.flush()
