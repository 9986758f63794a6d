"""What two processes learn from shards, and one process from the joint batch: run in a pair of gloo processes, kept as JSON."""

import copy
import functools
import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

import wiring
from compiler import World, WorldWarning, compile
from runtime import Learner
from wiring import Wiring, mix

PRESETS = ("bp", "fa", "kp", "sign_symmetry", "dfa", "sdfa", "sparse_dfa", "dkp", "drtp", "lra_e", "rec_lra", "ekdaa", "shallow")
STEPS = 2


class Block(nn.Module):
    """A residual block of two convolutions, each with a normalisation."""

    def __init__(self, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList([norm(4), norm(4)])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norms[1](self.second(torch.relu(self.norms[0](self.first(x))))) + x)


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.shared(torch.tanh(self.shared(x)))))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 3))


def cnn(norm: Callable[[int], nn.Module] = lambda channels: nn.Identity()) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), norm(4), nn.Tanh(), nn.Conv2d(4, 3, 3, padding=1), norm(3), nn.Tanh(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(12, 3),
    )  # fmt: skip


def resnet(norm: Callable[[int], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), norm(4), nn.ReLU(), Block(norm), nn.Flatten(), nn.Linear(64, 3))


@dataclass(frozen=True)
class Case:
    """``shards``: how many samples each of the two processes has; ``alone``: whether one process with all of them must agree."""

    model: Callable[[], nn.Module]
    wiring: Wiring
    shards: tuple[int, int] = (3, 5)
    loss: Any = nn.functional.cross_entropy
    layout: Any = "preserve"
    bucket_bytes: int = 25 * 2**20
    backend: str = "serial"
    alone: bool = True


def cases() -> dict[str, Case]:
    sync, group = nn.SyncBatchNorm, functools.partial(nn.GroupNorm, 2)
    total, maps = nn.CrossEntropyLoss(reduction="sum"), functools.partial(cnn, sync)
    summed = mix({"tanh": wiring.dfa().but(reduction="sum"), "*": wiring.dfa()})
    return {
        **{f"{name} on maps": Case(cnn, getattr(wiring, name)()) for name in PRESETS},
        **{f"{name} by SyncBatchNorm": Case(functools.partial(resnet, sync), getattr(wiring, name)()) for name in ("bp", "ekdaa")},
        "rec_lra of depth 2 by SyncBatchNorm": Case(functools.partial(resnet, sync), wiring.rec_lra(depth=2)),
        "hebbian by SyncBatchNorm": Case(maps, wiring.ekdaa().but(update="hebbian")),
        "channels_last by SyncBatchNorm": Case(maps, wiring.kp(), layout="channels_last"),
        "one sample by SyncBatchNorm": Case(maps, wiring.bp(), (1, 0)),
        "kp by GroupNorm": Case(functools.partial(resnet, group), wiring.kp()),
        "a loss that is a sum": Case(mlp, wiring.lra_e(), loss=total),
        "hidden sums": Case(mlp, wiring.drtp().but(reduction="sum")),
        "hidden sums and means of one weight": Case(Tied, summed),
        "several buckets": Case(mlp, wiring.kp(), bucket_bytes=256),
        "threads": Case(mlp, wiring.rec_lra(), backend="threads", bucket_bytes=256),
        "BatchNorm": Case(functools.partial(cnn, nn.BatchNorm2d), wiring.bp(), alone=False),
    }  # fmt: skip


def batch(case: Case) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    size = (6,) if case.model in (mlp, Tied) else (2, 4, 4)
    x = torch.randn(sum(case.shards), *size, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (sum(case.shards),), generator=generator)


def built(case: Case) -> nn.Module:
    torch.manual_seed(1)
    return case.model().double()


def unsynced(model: nn.Module) -> nn.Module:
    """The same with ``BatchNorm`` for every ``SyncBatchNorm``."""
    for module in model.modules():
        if isinstance(module, nn.SyncBatchNorm):
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
    return model


def learn(learner: Learner, x: Tensor, y: Tensor, samples: int | None = None) -> dict[str, Tensor]:
    """What there is after some steps: state, the last updates, loss and discrepancy."""
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        learned = learner.learn(x, y, samples)
        optimizer.step()
    gradients = {f"gradient of {name}": p.grad for name, p in learner.named_parameters() if p.grad is not None}
    return {**learner.state_dict(), **gradients, "loss": learned.loss, "discrepancy": learned.discrepancy}


def shard_of(case: Case, rank: int) -> slice:
    begin, count = sum(case.shards[:rank]), case.shards[rank]
    return slice(begin, begin + count) if count else slice(0, 1)


def together(case: Case, world: World, rank: int) -> dict[str, Tensor]:
    (x, y), shard, count = batch(case), shard_of(case, rank), case.shards[rank]
    own = world.model_copy(update={"bucket_bytes": case.bucket_bytes})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WorldWarning)
        program = compile(built(case), case.wiring, (x[shard], y[shard]), case.loss, layout=case.layout, world=own)
    twin = copy.deepcopy(program) if case.backend != "serial" else None
    found = learn(Learner(program, backend=case.backend), x[shard], y[shard], None if count else 0)
    if twin is not None:
        for name, value in learn(Learner(twin), x[shard], y[shard]).items():
            assert torch.equal(found[name], value), name
    return found


def apart(case: Case) -> dict[str, Tensor]:
    x, y = batch(case)
    return learn(Learner(compile(unsynced(built(case)), case.wiring, (x, y), case.loss)), x, y)


def taught_by_noise(world: World, rank: int) -> dict[str, dict[str, Any]]:
    """What one step of the weight mirror teaches each mirror, by noise that every process draws for itself.

    ``alone``: by what this one drew; by what both drew, under a loss that is a ``mean`` and one that is a ``sum``.
    """
    case = Case(mlp, wiring.weight_mirror())
    (x, y), shard = batch(case), shard_of(case, rank)
    found = {}
    for name, reduction, where in (("alone", "mean", None), ("mean", "mean", world), ("sum", "sum", world)):
        loss = nn.CrossEntropyLoss(reduction=reduction)
        learner = Learner(compile(built(case), case.wiring, (x[shard], y[shard]), loss, world=where))
        torch.manual_seed(rank)
        learner.learn(x[shard], y[shard])
        found[name] = {own: mirror.grad.tolist() for own, mirror in learner.error_synapses().items() if mirror.grad is not None}
    return found


def digest(values: dict[str, Tensor]) -> str:
    return hashlib.sha256(b"".join(value.numpy().tobytes() for _, value in sorted(values.items()))).hexdigest()


def far(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    """How far values are from those of one process, relative to the largest number in each (absolute below 1)."""
    assert found.keys() == wanted.keys()
    return {name: float((found[name] - value).abs().max() / value.abs().max().clamp(min=1.0)) for name, value in wanted.items()}


def process(rank: int, folder: str) -> None:
    """One of the pair."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    assert dist.group.WORLD is not None
    world = World(group=dist.group.WORLD.group_name, size=2)
    told: dict[str, dict[str, Any]] = {}
    for number, (name, case) in enumerate(cases().items()):
        found = together(case, world, rank)
        told[name] = {"digest": digest(found)}
        if case.alone and number % 2 == rank:  # they take turns
            told[name]["far"] = far(found, apart(case))
    told["noise"] = taught_by_noise(world, rank)
    Path(folder, f"{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()
