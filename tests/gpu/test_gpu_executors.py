"""On a GPU: streams and graphs give serial's numbers, keep what is kept, notice what moves, and really run branches side by side."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from gpu_case import DEVICE, EXECUTORS, WIRINGS, Wide, batch, distance, gradients, learner, model, program, same
from torch import Tensor

from benchmarks.overlap import overlap, profiled
from compiler import compile
from runtime import Learner
from runtime.models import build_model
from wiring import dfa, parse_wiring


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """cuDNN's deterministic algorithms in full float32."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


@pytest.mark.parametrize("name", ["resnet8:width=8", "mlp:width=32,depth=3", "branches"])
@pytest.mark.parametrize("wiring", WIRINGS)
def test_streams_and_graph_equal_serial(wiring: str, name: str) -> None:
    compiled, (x, y) = program(wiring, name), batch()
    reference = learner(compiled, "serial")
    wanted = reference.learn(x, y)
    for executor, streams in EXECUTORS:
        own = learner(compiled, executor, streams)
        for _ in range(2):  # the second runs over memory that the first has used
            own.load_state_dict(learner(compiled, "serial").state_dict())
            own.zero_grad()
            result = own.learn(x, y)
        torch.testing.assert_close(result.loss, wanted.loss, rtol=1e-5, atol=1e-6)
        assert distance(gradients(own), gradients(reference)) < 1e-4, (executor, streams)
        assert (
            distance(dict(own.named_buffers()) | {"loss": result.loss}, dict(reference.named_buffers()) | {"loss": wanted.loss})
            < 1e-4
        )


@pytest.mark.parametrize(("executor", "streams"), EXECUTORS)
def test_a_step_repeats_bit_for_bit(executor: str, streams: int) -> None:
    compiled, found = program("rec_lra", "branches"), []
    for _ in range(2):
        own = learner(compiled, executor, streams)
        for seed in range(5):
            own.learn(*batch(seed=seed))
        found.append(gradients(own))
    assert same(*found)


@pytest.mark.parametrize(("executor", "streams"), EXECUTORS)
@pytest.mark.parametrize("wiring", ["dkp", "rec_lra"])
def test_50_steps_match_serial(wiring: str, executor: str, streams: int) -> None:
    compiled, losses, states = program(wiring), [], []
    for backend, count in (("serial", None), (executor, streams)):
        own = learner(compiled, backend, count)
        optimizer = torch.optim.SGD(own.parameters(), lr=0.01, momentum=0.9)
        taken = []
        for seed in range(50):
            taken.append(own.learn(*batch(seed=seed % 5)).loss)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(torch.stack(taken))
        states.append(own.state_dict())
    torch.testing.assert_close(*losses, rtol=1e-2, atol=1e-3)
    assert distance(states[1], states[0]) < 1e-2


@pytest.mark.parametrize(("executor", "streams"), EXECUTORS)
def test_gradients_add_up_over_steps_and_shapes(executor: str, streams: int) -> None:
    compiled = program("dkp")
    learners = [learner(compiled, "serial"), learner(compiled, executor, streams)]
    for size in (16, 16, 8, 16, 8):
        for own in learners:
            own.learn(*batch(size))
    assert distance(gradients(learners[1]), gradients(learners[0])) < 1e-4


@pytest.mark.parametrize(("executor", "streams"), EXECUTORS)
def test_what_a_step_returned_stays(executor: str, streams: int) -> None:
    own = learner(program("dfa"), executor, streams)
    first = own.learn(*batch(seed=0))
    loss, output = first.loss.item(), first.output.clone()
    own.zero_grad()
    second = own.learn(*batch(seed=1))
    assert first.loss.item() == loss != second.loss.item()
    assert torch.equal(first.output, output)


@pytest.mark.parametrize("moved", ["assigned", "there and back"])
def test_a_graph_notices_that_parameters_have_moved(moved: str) -> None:
    compiled = program("dkp")
    learners = [learner(compiled, "serial"), learner(compiled, "graph")]
    for own in learners:
        own.learn(*batch())
        own.zero_grad()
        halved = {name: value * 0.5 if value.is_floating_point() else value.clone() for name, value in own.state_dict().items()}
        if moved == "assigned":
            own.load_state_dict(halved, assign=True)
        else:
            own.to("cpu")
            between = [torch.empty(1 << 20, device=DEVICE) for _ in range(20)]  # where the parameters lay
            own.to(DEVICE)
            own.load_state_dict(halved)
            del between
        own.learn(*batch())
    assert distance(gradients(learners[1]), gradients(learners[0])) < 1e-4


@pytest.mark.parametrize(("executor", "streams"), EXECUTORS)
def test_dropout_differs_from_step_to_step_and_comes_again_with_its_seed(executor: str, streams: int) -> None:
    compiled, found = program("dfa", "dropout"), []
    for own in (learner(compiled, executor, streams), learner(compiled, executor, streams)):
        torch.manual_seed(7)
        found.append([own.learn(*batch()).loss.item() for _ in range(4)])
    assert len(set(found[0])) == 4
    assert found[0] == found[1]


OPTIMISERS: dict[str, Callable[[Learner], torch.optim.Optimizer]] = {
    "Adam": lambda own: torch.optim.Adam(own.parameters(), lr=1e-3, capturable=True),
    "SGD": lambda own: torch.optim.SGD(own.parameters(), lr=0.05),
    "momentum": lambda own: torch.optim.SGD(own.parameters(), lr=0.05, momentum=0.9, nesterov=True),
    "dampening": lambda own: torch.optim.SGD(own.parameters(), lr=0.05, momentum=0.9, dampening=0.5),
}


@pytest.mark.parametrize("executor", ["streams", "graph"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_an_included_optimiser_equals_separate_steps(optimiser: str, executor: str) -> None:
    compiled, states = program("dkp", "mlp:width=32,depth=3"), []
    for include in (False, True):
        own = learner(compiled, executor)
        optimizer = OPTIMISERS[optimiser](own)
        if include:
            own.include(optimizer)
        for seed in range(10):
            own.learn(*batch(seed=seed))
            if not include:
                optimizer.step()
                optimizer.zero_grad()
        states.append(own.state_dict())
    assert distance(states[1], states[0]) < 1e-4


def test_a_learning_rate_as_a_tensor_follows_its_schedule_inside_the_graph() -> None:
    compiled, states = program("dfa", "mlp:width=32,depth=3"), []
    for include in (False, True):
        own = learner(compiled, "graph")
        optimizer = torch.optim.Adam(own.parameters(), lr=torch.tensor(1e-3, device=DEVICE), capturable=True)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
        if include:
            own.include(optimizer)
        for seed in range(8):
            own.learn(*batch(seed=seed))
            if not include:
                optimizer.step()
                optimizer.zero_grad()
            scheduler.step()
        states.append(own.state_dict())
    assert distance(states[1], states[0]) < 1e-4


@pytest.mark.parametrize(("executor", "streams"), EXECUTORS)
@pytest.mark.parametrize("wiring", ["bp", "dfa", "rec_lra"])
def test_bf16_autocast_and_channels_last(wiring: str, executor: str, streams: int) -> None:
    net = model("resnet8:width=8").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, y = batch()
    x = x.to(memory_format=torch.channels_last)
    compiled = compile(net, parse_wiring(wiring), (x, y), autocast=torch.bfloat16)
    learners = [learner(compiled, "serial"), learner(compiled, executor, streams)]
    losses = [own.learn(x, y).loss for own in learners]
    torch.testing.assert_close(*losses, rtol=2e-2, atol=2e-2)
    assert distance(gradients(learners[1]), gradients(learners[0])) < 5e-2


def peak(wiring: str, name: str, executor: str, streams: int | None) -> int:
    """Bytes that a step holds at its worst moment beyond what lay there before, by the allocator's count."""
    torch.manual_seed(0)
    x, y = torch.randn(128, 3, 32, 32, device=DEVICE), torch.randint(0, 10, (128,), device=DEVICE)
    net = build_model(name, (3, 32, 32), 10).to(DEVICE)
    own = Learner(compile(net, parse_wiring(wiring), (x, y)), backend=executor, streams=streams)
    for _ in range(2):  # libraries take their workspaces
        own.learn(x, y)
        own.zero_grad()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    own.learn(x, y)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


@pytest.mark.filterwarnings("ignore::compiler.errors.WiringWarning")
@pytest.mark.parametrize(("executor", "streams", "most"), [("serial", None, 1.15), ("streams", 4, 1.3)])
def test_drtps_peak_memory_does_not_grow_with_depth(executor: str, streams: int | None, most: float) -> None:
    assert peak("drtp", "resnet56", executor, streams) <= most * peak("drtp", "resnet20", executor, streams)
    assert peak("bp", "resnet56", executor, streams) > 2 * peak("bp", "resnet20", executor, streams), "the measurement sees depth"


SANITISED = """
import sys
import torch
from gpu_case import batch, learner, program
from compiler.planning import scheduled
from compiler.schedule import Schedule, Wait
from runtime.executors.streams import Streams

own = learner(program("rec_lra", "branches"), "streams", 4)
optimizer = torch.optim.SGD(own.parameters(), lr=0.1, momentum=0.9)
for seed in range(3):
    own.learn(*batch(seed=seed))
    optimizer.step()
    optimizer.zero_grad()
torch.cuda.synchronize()
print("clean", flush=True)
lowered = own.program.step(*batch())
inputs = own._inputs(lowered, *batch())
good = scheduled(lowered, 4)
waits = [action for action in good.actions if isinstance(action, Wait) and action.stream == 0]
broken = Schedule(4, tuple(action for action in good.actions if action not in waits))
print([result.sum() for result in Streams(4).prepare(lowered, broken)(inputs)])
"""


def test_cuda_sanitizer_is_content_with_streams_and_sees_where_waits_are_missing() -> None:
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "TORCH_CUDA_SANITIZER": "1",
        "PYTHONPATH": os.pathsep.join([str(root), str(Path(__file__).parent)]),
    }
    done = subprocess.run([sys.executable, "-c", SANITISED], env=environment, capture_output=True, text=True, timeout=600, cwd=root)
    assert "clean" in done.stdout, done.stderr[-4000:]
    assert done.returncode != 0
    assert "CUDASanitizerErrors" in done.stderr, done.stderr[-4000:]


@contextmanager
def wide(executor: str) -> Iterator[Callable[[], None]]:
    torch.manual_seed(0)
    x, y = torch.randn(64, 4096, device=DEVICE), torch.randint(0, 10, (64,), device=DEVICE)
    own = Learner(compile(Wide().to(DEVICE), dfa(), (x, y)), backend=executor, streams=4, checks=False)

    def step() -> None:
        own.zero_grad()
        own.learn(x, y)

    yield step


@pytest.mark.parametrize("executor", ["streams", "graph"])
def test_kernels_of_different_branches_overlap(executor: str) -> None:
    with wide(executor) as step:
        seen = overlap(profiled(step))
    assert seen.streams > 1
    assert seen.pairs > 0, seen
    assert seen.share > 0.05, seen


def test_a_graph_outlives_others_letting_go_of_cublas_workspaces() -> None:
    """torch.compile's graphs do so; a captured product must not write into memory that is somebody else's by then."""
    compiled = program("dkp", "mlp:width=512,depth=3")
    learners = [learner(compiled, "serial"), learner(compiled, "graph", 2)]
    for own in learners:
        own.learn(*batch())
        own.zero_grad()
    torch.cuda.synchronize()
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    blocks: list[Tensor] = [torch.zeros(8 << 20, device=DEVICE) for _ in range(8)]
    for own in learners:
        own.learn(*batch(seed=1))
    torch.cuda.synchronize()
    assert all(not block.any() for block in blocks)
    assert distance(gradients(learners[1]), gradients(learners[0])) < 1e-4
