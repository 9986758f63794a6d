"""An attached model in other people's training loops: mixed precision, accumulation, several processes, Lightning, Accelerate."""

import copy
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from attach_case import attached, batch, grads, plain, same, step
from torch import Tensor, nn

import wiring
from compiler import compile
from runtime import Learner

LINEAR = ["bp", "dfa", "dkp"]
NOT_LINEAR = ["sdfa", "drtp", "rec_lra"]


@pytest.mark.parametrize("preset", LINEAR)
def test_rules_that_are_linear_in_the_error_do_not_mind_a_scale(preset: str) -> None:
    own = attached(preset, normed=False)
    step(own, *batch())
    want = grads(own)
    own.zero_grad()
    step(own, *batch(), 1024.0)
    same({name: value / 1024 for name, value in grads(own).items()}, want)


@pytest.mark.parametrize("preset", LINEAR + NOT_LINEAR)
def test_a_grad_scaler_leaves_the_unscaled_update(preset: str) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    own = attached(preset, normed=False, loss_scale=scaler.get_scale)
    want = attached(preset, normed=False)
    step(want, *batch())
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
    torch.manual_seed(1)
    scaler.scale(F.cross_entropy(own(batch()[0]), batch()[1])).backward()
    scaler.unscale_(optimizer)
    same(grads(own), grads(want))


def test_targets_and_signs_need_to_know_the_scale() -> None:
    own, want = attached("rec_lra", normed=False), attached("rec_lra", normed=False)
    step(want, *batch())
    step(own, *batch(), 1024.0)
    assert not torch.allclose(own.model[0].weight.grad / 1024, want.model[0].weight.grad, rtol=0.1)


def test_a_grad_scaler_passes_over_a_step_that_overflows() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)
    own = attached("drtp", normed=False, loss_scale=scaler.get_scale)
    before = copy.deepcopy(own.model.state_dict())
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
    x, y = batch()
    scaler.scale(1e30 * F.cross_entropy(own(x), y)).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**99
    assert all(torch.equal(value, before[name]) for name, value in own.model.state_dict().items())


@pytest.mark.parametrize("preset", ["bp", "dfa", "drtp", "rec_lra"])
def test_under_autocast_as_the_learner_in_that_precision(preset: str) -> None:
    own, model, (x, y) = attached(preset, normed=False), plain(), batch()
    learner = Learner(compile(model, wiring.PRESETS[preset](), (x, y), autocast=torch.bfloat16))
    learner.load_state_dict(own.state_dict())
    learner.learn(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        output = own(x)
        loss = F.cross_entropy(output, y)
    loss.backward()
    assert output.dtype is torch.bfloat16
    same(grads(own), grads(learner))


@pytest.mark.parametrize("preset", ["dfa", "drtp"])
def test_a_program_compiled_inside_autocast_is_that_of_its_precision(preset: str) -> None:
    (x, y), inside, outside = batch(), plain(), plain()
    with torch.autocast("cpu", torch.bfloat16):
        learner = Learner(compile(inside, wiring.PRESETS[preset](), (x, y)))
    want = Learner(compile(outside, wiring.PRESETS[preset](), (x, y), autocast=torch.bfloat16))
    for each in (learner, want):
        each.learn(x, y)
    same(grads(learner), grads(want))


@pytest.mark.parametrize("preset", LINEAR + NOT_LINEAR)
def test_accumulated_over_two_batches_is_the_mean_of_their_updates(preset: str) -> None:
    own, want = attached(preset, normed=False, loss_scale=0.5), attached(preset, normed=False)
    for size in (8, 5):
        step(own, *batch(size), 0.5)
        step(want, *batch(size))
    same(grads(own), {name: value / 2 for name, value in grads(want).items()})


# ------------------------------------------------------------------------------------------------ several processes


def _rank(rank: int, file: str, own: nn.Module, batches: list[tuple[Tensor, Tensor]], answers: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    step(nn.parallel.DistributedDataParallel(own), *batches[rank])
    answers.put((rank, {name: value.tolist() for name, value in grads(own).items()}))
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_average_to_the_step_on_both_batches(tmp_path: Path) -> None:
    own, (x, y) = attached("dkp", normed=False), batch()
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    ranks = [context.Process(target=_rank, args=(rank, str(tmp_path / "meet"), own, batches, answers)) for rank in range(2)]
    for process in ranks:
        process.start()
    found = dict(answers.get(timeout=120) for _ in ranks)
    for process in ranks:
        process.join()
    assert found[0] == found[1]
    step(own, x, y)
    same({name: torch.tensor(value) for name, value in found[0].items()}, grads(own), rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------------------------------------ other people's trainers


def _data() -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*batch(20)), batch_size=8)


def _by_hand(preset: str, epochs: int) -> dict[str, Tensor]:
    own = attached(preset, normed=False)
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
    for _ in range(epochs):
        for x, y in _data():
            optimizer.zero_grad()
            F.cross_entropy(own(x), y).backward()
            optimizer.step()
    return copy.deepcopy(own.state_dict())


@pytest.mark.parametrize("preset", ["dkp", "drtp"])
def test_accelerate(preset: str) -> None:
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed: pip install '.[integrations]'")
    accelerator = accelerate.Accelerator(cpu=True)
    own = attached(preset, normed=False)
    model, optimizer, data = accelerator.prepare(own, torch.optim.SGD(own.parameters(), lr=0.1), _data())
    for _ in range(2):
        for x, y in data:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
    same(dict(accelerator.unwrap_model(model).state_dict()), _by_hand(preset, 2))


@pytest.mark.parametrize("preset", ["dkp", "drtp"])
def test_lightning(preset: str, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning", reason="lightning is not installed: pip install '.[integrations]'")

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = attached(preset, normed=False)

        def training_step(self, pair: tuple[Tensor, Tensor], _: int) -> Tensor:
            return F.cross_entropy(self.net(pair[0]), pair[1])

        def validation_step(self, pair: tuple[Tensor, Tensor], _: int) -> None:
            self.log("accuracy", (self.net(pair[0]).argmax(1) == pair[1]).float().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    own = Module()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_epochs=2, default_root_dir=tmp_path, **quiet)
    trainer.fit(own, _data(), _data())
    same(dict(own.net.state_dict()), _by_hand(preset, 2))
    assert "accuracy" in trainer.callback_metrics
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = Module()
    again.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"])
    same(dict(again.state_dict()), dict(own.state_dict()))
