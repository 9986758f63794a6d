"""The learner as a module: gradients, state, optimisers, clipping, shapes."""

import copy

import pytest
import torch
from torch import Tensor, nn

import wiring
from compiler import InputError, LabelError, compile
from runtime import BackendError, Learner, NonFiniteLoss, TrainingError, alignment, attach
from runtime.models import build_model


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)
    )


def batch(size: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    return torch.randn(size, 6, generator=generator), torch.randint(0, 3, (size,), generator=generator)


def learner(preset: str = "dkp") -> Learner:
    return Learner(compile(small(), wiring.PRESETS[preset](), batch()))


def test_learn_returns_loss_output_and_discrepancy() -> None:
    x, y = batch()
    own = learner("bp")
    reference = copy.deepcopy(own.model)
    torch.manual_seed(3)
    result = own.learn(x, y)
    torch.manual_seed(3)
    output = reference(x)
    assert torch.equal(result.output, output.detach())
    assert torch.equal(result.loss, nn.functional.cross_entropy(output, y).detach())
    errors = torch.softmax(output, 1) - nn.functional.one_hot(y, 3)
    assert result.discrepancy.item() == pytest.approx((errors**2).sum(1).mean().item(), rel=1e-5)


def test_no_autograd_history_is_left() -> None:
    own = learner()
    result = own.learn(*batch())
    assert not result.loss.requires_grad
    assert not result.output.requires_grad
    assert all(p.grad is not None and p.grad.grad_fn is None for p in own.forward_parameters())


def test_gradients_add_up_over_two_steps_as_backward_does() -> None:
    own, x, y = learner("dfa"), *batch()
    own.eval()
    own.learn(x, y)
    once = [p.grad.clone() for p in own.forward_parameters() if p.grad is not None]
    own.learn(x, y)
    for first, parameter in zip(once, own.forward_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, 2 * first)


def test_fixed_synapses_want_no_gradient_and_learned_ones_get_one() -> None:
    fixed, learned = learner("dfa"), learner("dkp")
    fixed.learn(*batch())
    learned.learn(*batch())
    assert all(not p.requires_grad and p.grad is None for p in fixed.error_parameters())
    assert all(p.requires_grad and p.grad is not None for p in learned.error_parameters())


def test_a_mirrors_gradient_is_its_own_tensor_so_that_clipping_scales_it_once() -> None:
    own = learner("kp")
    own.eval()
    own.learn(*batch())
    pairs = [
        (own.get_parameter(f"model.{name.removeprefix('mirror:')}"), synapse) for name, synapse in own.error_synapses().items()
    ]
    assert pairs
    assert all(weight.grad is not None and torch.equal(weight.grad, synapse.grad) for weight, synapse in pairs)
    before = pairs[0][0].grad.norm()
    total = nn.utils.clip_grad_norm_(own.parameters(), 1e-3)
    assert pairs[0][0].grad.norm() == pytest.approx((before * 1e-3 / total).item(), rel=1e-3)


def test_state_dict_holds_model_and_synapses_and_loads_elsewhere() -> None:
    one, other = learner("dkp"), Learner(compile(small(), wiring.dkp(), batch()), seed=7)
    assert any(not torch.equal(a, b) for a, b in zip(one.error_parameters(), other.error_parameters(), strict=True))
    other.load_state_dict(one.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert set(one.model.state_dict()) == {k.removeprefix("model.") for k in one.state_dict() if k.startswith("model.")}


def test_synapses_start_alike_for_a_seed_and_each_on_its_own() -> None:
    one, again = learner("dfa"), learner("dfa")
    assert all(torch.equal(a, b) for a, b in zip(one.error_parameters(), again.error_parameters(), strict=True))


def test_another_batch_size_compiles_once_more_and_is_kept() -> None:
    own = learner("rec_lra")
    own.learn(*batch(5))
    first = own.program.step(*batch(5))
    other = own.program.step(*batch(9))
    own.learn(*batch(9))
    assert own.program.step(*batch(9)) is other
    assert own.program.step(*batch(5)) is first
    assert other is not first


def test_a_channels_last_batch_gives_the_same_update() -> None:
    torch.manual_seed(0)
    model = build_model("resnet8:width=4", (3, 8, 8), 3)
    x, y = torch.randn(4, 3, 8, 8), torch.randint(0, 3, (4,))
    own = Learner(compile(model, wiring.dfa(), (x, y)))
    own.learn(x, y)
    plain = [p.grad.clone() for p in own.forward_parameters() if p.grad is not None]
    own.zero_grad()
    own.learn(x.to(memory_format=torch.channels_last), y)
    for expected, parameter in zip(plain, own.forward_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-5)


def test_training_reaches_every_sample() -> None:
    own, (x, y) = learner("dkp"), batch(12)
    own.eval()
    optimizer = torch.optim.Adam(own.parameters(), lr=0.02)
    for _ in range(150):
        own.learn(x, y)
        optimizer.step()
        optimizer.zero_grad()
    assert (own(x).argmax(1) == y).all()


def test_a_non_finite_loss_changes_nothing() -> None:
    own = learner("dkp")
    before = {name: value.clone() for name, value in own.state_dict().items()}
    x, y = batch()
    x[0, 0] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"loss is nan.*Nothing of this step was taken over"):
        own.learn(x, y)
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    assert all(p.grad is None for p in own.parameters())


def test_labels_out_of_range_dtype_and_shape_are_refused() -> None:
    own, (x, y) = learner(), batch()
    with pytest.raises(LabelError, match=r"Labels hold 3, but the output has 3 classes"):
        own.learn(x, torch.full_like(y, 3))
    with pytest.raises(LabelError, match=r"dtype torch.float32.*compiled for torch.int64"):
        own.learn(x, y.float())
    with pytest.raises(LabelError, match="axes"):
        own.learn(x, y[:, None])
    with pytest.raises(LabelError, match=r"\[4\].*do not go with an output of shape \[5, 3\]"):
        own.learn(x, y[:4])


def test_inputs_of_another_kind_are_refused() -> None:
    own, (x, y) = learner(), batch()
    with pytest.raises(InputError, match=r"dtype torch.float64"):
        own.learn(x.double(), y)
    with pytest.raises(InputError, match="1 inputs and got 2"):
        own.learn((x, x), y)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(BackendError, match=r"No backend is called 'warp'. Backends: serial"):
        Learner(compile(small(), wiring.dfa(), batch()), backend="warp")


def test_alignment_of_backpropagation_is_zero_and_nothing_changes() -> None:
    own = learner("bp")
    before = {name: value.clone() for name, value in own.state_dict().items()}
    found = alignment(own, *batch())
    assert all(angle < 1e-5 for name, angle in found.parameters.items() if name != "0.bias")
    assert set(found.sites) == {"2", "5"}
    assert all(angle < 1e-5 for angle in found.sites.values())
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    assert all(p.grad is None for p in own.parameters())


def test_alignment_matches_angles_by_hand() -> None:
    own, (x, y) = learner("dfa"), batch()
    own.eval()
    found = alignment(own, x, y)
    own.learn(x, y)
    reference = copy.deepcopy(own.model)
    reference.zero_grad()
    nn.functional.cross_entropy(reference(x), y).backward()
    for name, parameter in reference.named_parameters():
        ours = own.get_parameter(f"model.{name}").grad
        assert ours is not None
        assert parameter.grad is not None
        cosine = nn.functional.cosine_similarity(ours.flatten().double(), parameter.grad.flatten().double(), dim=0)
        assert found.parameters[name] == pytest.approx(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).item(), abs=1e-3)


def test_a_module_put_in_anothers_place_is_refused_not_left_out() -> None:
    own = learner()
    own.learn(*batch())
    own.model[4] = nn.Linear(8, 8)
    with pytest.raises(TrainingError, match="come or gone since it was compiled"):
        own.learn(*batch())
    with pytest.raises(TrainingError, match="come or gone since it was compiled"):
        Learner(own.program).learn(*batch())


def test_a_hook_that_no_step_would_call_is_refused_while_it_is_there() -> None:
    own = learner()
    handle = own.model[2].register_forward_hook(lambda module, args, output: None)
    with pytest.raises(TrainingError, match="hooks"):
        own.learn(*batch())
    handle.remove()
    own.learn(*batch())
    copied = copy.deepcopy(own)
    copied.learn(*batch())


class Two(nn.Module):
    """Two inputs of one shape that do different things."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.o = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, u: Tensor, v: Tensor, w: Tensor | None = None, x: Tensor | None = None) -> Tensor:
        logits: Tensor = self.o(torch.tanh(self.a(u) - 2 * self.b(v)))
        return logits


def test_keywords_are_taken_by_name_whatever_their_order() -> None:
    torch.manual_seed(0)
    model, (u, y), v = Two(), batch(), torch.randn(5, 6)
    own = Learner(compile(model, wiring.dfa(), ({"u": u, "v": v}, y)))
    wanted = model(u, v)
    net = attach(copy.deepcopy(model), wiring.dfa(), {"u": u, "v": v})
    for inputs in ({"v": v, "u": u}, {"u": u, "v": v}, (u, v)):
        torch.testing.assert_close(own.learn(inputs, y).output, wanted)
    for output in (net(v=v, u=u), net(u, v), net(u, v=v)):
        torch.testing.assert_close(output, wanted)
    with pytest.raises(InputError, match="missing a required argument: 'v'"):
        net(u=u, w=v)
    net = attach(model, wiring.dfa(), {"u": u, "v": v, "w": v})
    with pytest.raises(InputError, match="compiled for the arguments u, v, w and got u, v, x"):
        net(u=u, v=v, x=v)
    with pytest.raises(InputError, match="cannot be called with these arguments"):
        own.learn({"u": u, "z": v}, y)


def test_a_hook_that_is_taken_away_or_exchanged_is_noticed() -> None:
    model = small()
    handle = model[2].register_forward_hook(lambda module, args, output: 2 * output)
    own = Learner(compile(model, wiring.dfa(), batch()))
    own.learn(*batch())
    handle.remove()
    model[2].register_forward_hook(lambda module, args, output: 3 * output)
    with pytest.raises(TrainingError, match="hooks"):
        own.learn(*batch())
