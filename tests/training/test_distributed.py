import multiprocessing
import os
import signal
import time
import traceback

import numpy as np
import pytest
import torch

from decaseg.data.augment.intensity import Intensity
from decaseg.data.augment.pipeline import Augmentation
from decaseg.data.augment.spatial import Spatial
from decaseg.data.cases import TrainingCase
from decaseg.data.patches import PatchSampler
from decaseg.losses import LOSSES, LossSettings, make_loss
from decaseg.nets.shared_norm import share_batch_norms
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build
from decaseg.training import distributed
from tests.ports import unclaimed_port
from tests.synthetic import blobs

PATCH = (8, 8, 8)
EVERYTHING = Spatial(rotation_share=1, scale_share=1), Intensity(noise_share=0.7, contrast_share=0.7, gamma_share=0.7)


def cases(count=3, shape=(18, 16, 14)):
    rng = np.random.default_rng(0)
    for number in range(count):
        image, label = blobs(shape, rng)
        places = {v: np.argwhere(label == v).astype(np.int32) for v in (1, 2)}
        yield TrainingCase(str(number), (image / 100).astype(np.float16), label, places)


def samples(batch_size, rows, step):
    """The augmented patches that a process with `rows` of the batch sees at a step."""
    augment = Augmentation(PATCH, *EVERYTHING, 5, batch_size, rows)
    batch = PatchSampler(list(cases()), augment.source_shape, batch_size, 0.5, 5, rows, augment.patch).batch(step)
    image, label = augment(step, torch.from_numpy(batch.image), torch.from_numpy(batch.label))
    return image, label, batch.cases


@pytest.mark.parametrize(("batch_size", "ranks"), [(4, 2), (3, 2), (5, 4)])
def test_ranks_see_the_very_samples_that_one_process_sees(batch_size, ranks):
    for step in (0, 7):
        image, label, names = samples(batch_size, slice(None), step)
        for rank in range(ranks):
            rows = slice(rank, None, ranks)
            mine, mine_label, mine_names = samples(batch_size, rows, step)
            assert len(mine) == len(range(batch_size)[rows]) and mine_names == names
            assert torch.equal(mine_label, label[rows])
            torch.testing.assert_close(mine, image[rows], atol=1e-5, rtol=1e-5)


def in_ranks(work, size=2, timeout_s=300.0, patience_s=300.0):
    """Runs `work(ranks)` in `size` processes that found each other as under torchrun; returns their exit codes.

    `timeout_s`: of a step; `patience_s`: with each of the others once the first is gone, before it is killed.
    """
    context = multiprocessing.get_context("spawn")
    ready, port = context.Barrier(size), unclaimed_port()
    processes = [context.Process(target=_rank, args=(work, rank, size, port, ready, timeout_s)) for rank in range(size)]
    for process in processes:
        process.start()
    for number, process in enumerate(processes):
        process.join(patience_s if number else 300)
        if process.exitcode is None:
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def _rank(work, rank, size, port, ready, timeout_s):
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({"MASTER_ADDR": "127.0.0.1", **{name: str(number) for name, number in numbers.items()}})
    torch.set_num_threads(1)
    distributed.STEP_TIMEOUT_S = dict.fromkeys(("cpu", "cuda"), timeout_s)
    ready.wait(300)  # the time-out begins when all have imported torch
    try:
        with distributed.joined() as ranks:
            work(ranks)
    except Exception:
        traceback.print_exc()
        distributed.leave(1)


def test_losses_norms_and_gradients_of_two_ranks_are_those_of_one_process():
    assert in_ranks(_same_losses_norms_and_gradients) == [0, 0]


def _same_losses_norms_and_gradients(ranks):
    batch_size, generator = 3, torch.Generator().manual_seed(0)
    rows, whole = ranks.rows(batch_size), ranks.whole(batch_size)
    logits = torch.randn((batch_size, 4, 5, 6, 7), generator=generator)
    truth = torch.randint(0, 4, (batch_size, 5, 6, 7), generator=generator)
    members = (torch.rand((batch_size, 4, 5, 6, 7), generator=generator) > 0.7).float()
    for name in sorted(set(LOSSES) - {"topk", "dice_topk"}):  # each rank has worst voxels of its own: see losses.py
        for how in (LossSettings(), LossSettings(batch_dice=False)):
            for target in (truth, members):
                expected, mine = logits.clone().requires_grad_(), logits[rows].clone().requires_grad_()
                alone = make_loss(name, how)(expected, target)
                alone.backward()
                shared = make_loss(name, how, whole)(mine, target[rows])
                shared.backward()
                torch.testing.assert_close(shared, alone, msg=name)
                torch.testing.assert_close(mine.grad, expected.grad[rows], msg=name)
    _same_batch_norm(ranks, batch_size, rows, generator)


def _same_batch_norm(ranks, batch_size, rows, generator):
    distributed.BUCKET_BYTES = 2000  # several buckets
    spec = NetworkSpec(1, 2, (4, 8), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2, norm="batch")
    torch.manual_seed(0)
    alone = build(spec).to(memory_format=torch.channels_last_3d)
    torch.manual_seed(ranks.rank)
    shared = build(spec)
    ranks.same(shared)
    shared = shared.to(memory_format=torch.channels_last_3d)
    share_batch_norms(shared, ranks.add)
    image = torch.randn((batch_size, 1, 8, 8, 8), generator=generator) * 3 + 100  # a mean far from 0
    for _ in range(2):
        expected, mine = alone(image), shared(image[rows])
        torch.testing.assert_close(mine, expected[rows], atol=1e-4, rtol=1e-4)
        alone.zero_grad()
        shared.zero_grad()
        (expected**2).mean().backward()
        ranks.whole(batch_size).mean((mine**2).mean()).backward()
        ranks.add_gradients(shared.parameters())
        for (name, one), two in zip(alone.named_parameters(), shared.parameters(), strict=True):
            torch.testing.assert_close(two.grad, one.grad, atol=1e-4, rtol=1e-3, msg=name)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value, atol=1e-4, rtol=1e-4, msg=name)
    torch.testing.assert_close(shared.eval()(image), alone.eval()(image), atol=1e-3, rtol=1e-3)


def test_what_fails_on_one_rank_ends_all_with_one_error_and_what_is_decided_is_decided_alike():
    assert in_ranks(_decide_and_fail, 3) == [2, 1, 2]  # the second tells its error, the others leave quietly


def _decide_and_fail(ranks):
    assert ranks.of_first(10.5 + ranks.rank) == 10.5
    assert ranks.any(ranks.rank == 1) and not ranks.any(False)
    assert ranks.gather(ranks.rank) == [0, 1, 2]
    led = ranks.lead(lambda: {"who": ranks.rank, "weights": torch.arange(3.0)})
    assert led["who"] == 0 and led["weights"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"--batch-size 2.*--nproc-per-node 2"):
        ranks.rows(2)
    ranks.together(lambda: [1, 2, 3][ranks.rank + 1] if ranks.rank < 2 else 1 / 1)
    ranks.together(lambda: 1 // (ranks.rank - 1))


def test_a_rank_that_answers_no_more_ends_the_others_after_the_time_out():
    assert in_ranks(_freeze, timeout_s=3.0, patience_s=0.1) == [7, -signal.SIGKILL]  # the frozen one was still there


def _freeze(ranks):
    if not ranks.first:
        signal.pause()
    started = time.monotonic()
    try:
        ranks.add(torch.ones(1))
    except distributed.RankLost as lost:
        assert "--resume" in str(lost)
        os._exit(7 if time.monotonic() - started > 2 else 8)
