"""Every preset against its paper: identities with backpropagation, and hand-computed steps in a few lines of torch."""

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from architectures import CASES
from torch import Tensor, nn

from compiler import CreditError, compile
from runtime.learner import Learned, Learner
from wiring import (
    PRESETS,
    Channelwise,
    Dense,
    DirectKolenPollack,
    Edge,
    Elastic,
    ErrorKernel,
    Explicit,
    Fixed,
    Gradient,
    Hebbian,
    Kernel,
    KolenPollack,
    LikeForward,
    Mirror,
    Pairwise,
    Pointwise,
    Rule,
    Target,
    Wiring,
    bp,
    dfa,
    dkp,
    drtp,
    ekdaa,
    fa,
    kp,
    lra_e,
    mix,
    rec_lra,
    sdfa,
    shallow,
    sign_symmetry,
    sparse_dfa,
)  # fmt: skip

NAMES = [
    "mlp", "se_resnet", "preact_resnet", "densenet", "text_encoder", "two_inputs", "mse", "bce", "weight_norm", "tied_layers",
    "tied_transposed", "unrolled_gru",
]  # fmt: skip
WIRINGS: dict[str, Wiring] = {name: preset() for name, preset in PRESETS.items() if name != "bp"} | {
    "rec_lra depth=1 displacement": rec_lra(depth=1, plasticity="displacement"),
    "rec_lra gap=2 elastic dx": rec_lra(gap=2, elastic=True, derivative=True),
}
N, K = 6, 5


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def close(got: Tensor | None, want: Tensor | None, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------------------------------------ every preset, every kind of net


@pytest.mark.filterwarnings("ignore::compiler.WiringWarning")
@pytest.mark.parametrize("wiring", WIRINGS.values(), ids=WIRINGS)
@pytest.mark.parametrize("name", ["mlp", "preact_resnet", "text_encoder"])
def test_every_parameter_that_a_preset_claims_gets_a_finite_update(name: str, wiring: Wiring) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    model = case.build()
    oracle = copy.deepcopy(model)
    learner = Learner(compile(model, wiring, (case.inputs(), case.labels()), case.loss))
    result = learner.learn(case.inputs(), case.labels())
    case.loss(oracle(*case.inputs()), case.labels()).backward()
    assert torch.isfinite(result.discrepancy)
    assert result.discrepancy > 0
    largest = max(p.grad.abs().max() for p in oracle.parameters() if p.grad is not None)
    output = {
        n for region in learner.program.plan.errors.parts.regions.values() if region.name == "output" for n in region.parameters
    }
    for parameter_name, parameter in model.named_parameters():
        if wiring.name == "shallow" and parameter_name not in output:
            assert parameter.grad is None
            continue
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.shape == parameter.shape
        assert torch.isfinite(parameter.grad).all()
        if oracle.get_parameter(parameter_name).grad.abs().max() > 1e-6 * largest:
            assert parameter.grad.abs().max() > 0, f"{parameter_name} has an update of zero"
    for synapse_name, synapse in learner.error_synapses().items():
        learns = learner.program.error_parameters[synapse_name].learns
        assert synapse.requires_grad == learns
        assert (synapse.grad is not None) == learns, synapse_name
        if synapse.grad is not None:
            assert synapse.grad.shape == synapse.shape
            assert torch.isfinite(synapse.grad).all()
            assert synapse.grad.abs().max() > 0, synapse_name


@pytest.mark.parametrize(
    ("wiring", "learned"),
    [(fa(), False), (kp(), True), (dfa(), False), (sdfa(), False), (sparse_dfa(), False), (dkp(), True), (lra_e(), True),
     (rec_lra(), True), (ekdaa(), True)],
    ids=lambda value: getattr(value, "name", None),
)  # fmt: skip
def test_which_presets_learn_their_error_synapses(wiring: Wiring, learned: bool) -> None:
    learner, _, _ = setup(wiring)
    assert list(learner.error_parameters())
    assert all(parameter.requires_grad == learned for parameter in learner.error_parameters())


@pytest.mark.parametrize("wiring", [bp(), sign_symmetry("usf"), sign_symmetry("brsf"), shallow()], ids=lambda w: w.name)
def test_presets_without_error_synapses(wiring: Wiring) -> None:
    learner, _, _ = setup(wiring)
    assert learner.error_synapses() == {}


# ------------------------------------------------------------------------------------------------ mirrors


def case_step(name: str, wiring: Wiring, prepare: Callable[[Learner], None] = lambda learner: None) -> tuple[nn.Module, Learner]:
    """One step in float64 on a network of the zoo, always with the same numbers."""
    case = CASES[name]
    torch.manual_seed(0)
    model = case.build().double()
    x = tuple(t.double() if t.is_floating_point() else t for t in case.inputs())
    y = case.labels().double() if case.labels().is_floating_point() else case.labels()
    learner = Learner(compile(model, wiring, (x, y), case.loss))
    prepare(learner)
    torch.manual_seed(1)
    learner.learn(x, y)
    return model, learner


@functools.cache
def bp_gradients(name: str) -> dict[str, Tensor | None]:
    """The same step by autograd."""
    case = CASES[name]
    torch.manual_seed(0)
    model = case.build().double()
    x = tuple(t.double() if t.is_floating_point() else t for t in case.inputs())
    y = case.labels().double() if case.labels().is_floating_point() else case.labels()
    torch.manual_seed(1)
    case.loss(model(*x), y).backward()
    return {n: p.grad for n, p in model.named_parameters()}


def use_forward_weights(learner: Learner) -> None:
    """``B := W``."""
    forward = dict(learner.model.named_parameters())
    with torch.no_grad():
        for name, synapse in learner.error_synapses().items():
            synapse.copy_(forward[name.removeprefix("mirror:")])


def use_magnitudes(learner: Learner) -> None:
    """``M := |W|``."""
    use_forward_weights(learner)
    with torch.no_grad():
        for synapse in learner.error_synapses().values():
            synapse.abs_()


@pytest.mark.parametrize("name", NAMES)
def test_feedback_alignment_through_the_weights_is_backpropagation(name: str) -> None:
    model, _ = case_step(name, fa(), use_forward_weights)
    for parameter_name, parameter in model.named_parameters():
        close(parameter.grad, bp_gradients(name)[parameter_name])


@pytest.mark.parametrize("name", ["vgg_bn", "text_encoder"])
@pytest.mark.parametrize(
    ("wiring", "prepare"), [(kp(), use_forward_weights), (sign_symmetry("frsf"), use_magnitudes)], ids=["kp", "frsf"]
)
def test_other_mirrors_at_the_weights_are_backpropagation(name: str, wiring: Wiring, prepare: Callable[[Learner], None]) -> None:
    model, _ = case_step(name, wiring, prepare)
    for parameter_name, parameter in model.named_parameters():
        close(parameter.grad, bp_gradients(name)[parameter_name])


def test_feedback_alignment_elsewhere_is_not_backpropagation() -> None:
    """Only the output's region, in front of which no weight lies, learns as under backpropagation."""
    model, _ = case_step("vgg_bn", fa())
    for name, parameter in model.named_parameters():
        same = torch.allclose(parameter.grad, bp_gradients("vgg_bn")[name])
        assert same == name.startswith("classifier.2") or name in ("features.0.bias", "features.4.bias", "features.7.bias")


class DropConnect(nn.Module):
    """Wan et al. 2013: dropout on the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 8), nn.Linear(8, 7), nn.Linear(7, K)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        x = torch.tanh(F.linear(x, F.dropout(self.second.weight, 0.5, self.training), self.second.bias))
        logits: Tensor = self.head(x)
        return logits


def test_mirrors_share_the_random_mask_of_a_dropout_on_weights() -> None:
    got = []
    for wiring in (bp(), fa()):
        torch.manual_seed(0)
        model = DropConnect().double()
        learner = Learner(compile(model, wiring, data()))
        use_forward_weights(learner)
        torch.manual_seed(1)
        learner.learn(*data())
        got.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*got, strict=True):
        close(one, other)


def test_every_weight_that_an_error_passes_has_a_mirror_and_no_other() -> None:
    _, learner = case_step("vgg_bn", fa())
    assert set(learner.error_synapses()) == {
        "mirror:features.4.weight", "mirror:features.7.weight", "mirror:classifier.0.weight", "mirror:classifier.2.weight",
    }  # fmt: skip
    forward = dict(learner.model.named_parameters())
    assert all(value.shape == forward[name.removeprefix("mirror:")].shape for name, value in learner.error_synapses().items())


def test_a_weight_that_no_error_passes_has_no_mirror_in_a_mixed_wiring() -> None:
    """The last site hears the output directly, so nothing goes back through the head."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3))
    x, y = torch.randn(4, 6), torch.randint(3, (4,))
    learner = Learner(compile(model, mix({"3": dkp(), "*": kp()}), (x, y)))
    assert set(learner.error_synapses()) == {"output->3", "mirror:2.weight"}
    learner.learn(x, y)
    assert all(parameter.grad is not None for parameter in learner.parameters())


class Branching(nn.Module):
    """Two branches read what ``l1`` makes, which is no site."""

    def __init__(self) -> None:
        super().__init__()
        self.l0, self.l1, self.a, self.b, self.o = (nn.Linear(*pair) for pair in ((6, 7), (7, 8), (8, 9), (8, 9), (9, 3)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.l1(self.l0(x))
        logits: Tensor = self.o(torch.tanh(self.a(x)) + torch.sigmoid(self.b(x)))
        return logits


def test_branches_behind_a_junction_have_mirrors() -> None:
    """The local gradient of what lies in front passes their weights."""
    torch.manual_seed(0)
    model = Branching().double()
    x, y = torch.randn(4, 6, dtype=torch.float64), torch.randint(3, (4,))
    learner = Learner(compile(model, fa(), (x, y)))
    assert set(learner.error_synapses()) == {f"mirror:{name}.weight" for name in ("l1", "a", "b", "o")}
    F.cross_entropy(model(x), y).backward()
    wanted = {name: value.grad for name, value in model.named_parameters()}
    model.zero_grad()
    with torch.no_grad():
        for name, mirror in learner.error_synapses().items():
            mirror.copy_(model.get_parameter(name.removeprefix("mirror:")))
    learner.learn(x, y)
    for name, value in model.named_parameters():
        close(value.grad, wanted[name])


def test_two_mirrors_of_one_weight_are_two_tensors() -> None:
    """``b`` is passed by errors of the site before it and by the local gradient of the residual sum, in two modes."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.i, self.a, self.b, self.o = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(self.i(x))
            logits: Tensor = self.o(x + self.b(torch.tanh(self.a(x))))
            return logits

    like = fa().but(synapse=Mirror(init=LikeForward()))
    errors = compile(Residual(), mix({"tanh": like, "*": fa()}), (torch.randn(4, 6), torch.randint(3, (4,)))).plan.errors
    names = [name for owned in errors.mirrors.values() for name in owned.values()]
    assert len(names) == len(set(names))
    assert all(errors.parameters[name].synapse == wanted for wanted, owned in errors.mirrors.items() for name in owned.values())


def test_like_forward_starts_at_the_weights() -> None:
    rule = fa().rules[0].model_copy(update={"synapse": Mirror(init=LikeForward())})
    model, learner = case_step("vgg_bn", Wiring(name="fa", rules=(rule,)))
    for name, synapse in learner.error_synapses().items():
        close(synapse, model.get_parameter(name.removeprefix("mirror:")))
    for name, parameter in model.named_parameters():
        close(parameter.grad, bp_gradients("vgg_bn")[name])


def test_uniform_sign_symmetry_reads_signs_only() -> None:
    """Scaling a hidden weight (and undoing it behind a ReLU) changes nothing in what arrives at the site before it."""

    def step(scale: float) -> Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8, bias=False), nn.Hardtanh(-1e9, 1e9), nn.Linear(8, K)
        ).double()
        with torch.no_grad():
            model[2].weight.mul_(scale)
            model[4].weight.div_(scale)
        learner = Learner(compile(model, sign_symmetry("usf"), (data()[0], data()[1])))
        learner.learn(*data())
        assert model[0].weight.grad is not None
        return model[0].weight.grad

    close(step(1.0), step(7.0))


def test_fresh_magnitudes_are_drawn_at_every_step() -> None:
    learner, _, _ = setup(sign_symmetry("brsf"))
    first = gradients(learner)["0.weight"]
    second = gradients(learner)["0.weight"]
    assert not torch.equal(first, second)
    assert torch.equal(gradients(setup(sign_symmetry("usf"))[0])["0.weight"], gradients(setup(sign_symmetry("usf"))[0])["0.weight"])


@pytest.mark.parametrize("name", ["mlp", "vgg_bn", "preact_resnet"])
def test_kolen_pollack_contracts_by_one_minus_rate_times_decay(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    model = case.build().double()
    x = tuple(t.double() for t in case.inputs())
    learner = Learner(compile(model, kp(), (x, case.labels())))
    rate, decay = 0.1, 0.3
    optimizer = torch.optim.SGD(learner.parameters(), lr=rate, weight_decay=decay)
    forward = dict(model.named_parameters())

    def gaps() -> dict[str, Tensor]:
        return {n: (forward[n.removeprefix("mirror:")] - b).detach() for n, b in learner.error_synapses().items()}

    before = gaps()
    for step in range(3):
        learner.learn(x, case.labels())
        optimizer.step()
        optimizer.zero_grad()
        for key, gap in gaps().items():
            close(gap, before[key] * (1 - rate * decay) ** (step + 1))


# ------------------------------------------------------------------------------------------------ by hand, on an MLP of tanh


def data() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(3)
    return torch.randn(N, 6, generator=source, dtype=torch.float64), torch.randint(K, (N,), generator=source)


def network(activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """6 - 8 - 7 - 5; its sites are ``1`` and ``3``."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), activation(), nn.Linear(8, 7), activation(), nn.Linear(7, K)).double()


def setup(wiring: Wiring, activation: type[nn.Module] = nn.Tanh, loss: Any = F.cross_entropy) -> tuple[Learner, Tensor, Tensor]:
    x, y = data()
    return Learner(compile(network(activation), wiring, (x, y), loss)), x, y


def gradients(learner: Learner) -> dict[str, Tensor]:
    """One step from zeroed gradients."""
    learner.zero_grad()
    learner.learn(*data())
    found = {name: p.grad.clone() for name, p in learner.model.named_parameters() if p.grad is not None}
    return found | {name: p.grad.clone() for name, p in learner.error_synapses().items() if p.grad is not None}


class Pass:
    """The forward pass by hand: ``h``, ``z`` of each site, and the error ``e = softmax(v) - t`` of each sample."""

    def __init__(self, learner: Learner, phi: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        self.W = [layer.weight.detach() for layer in learner.model if isinstance(layer, nn.Linear)]
        b = [layer.bias.detach() for layer in learner.model if isinstance(layer, nn.Linear)]
        x, y = data()
        self.x, self.phi = x, phi
        self.h1 = x @ self.W[0].T + b[0]
        self.z1 = phi(self.h1)
        self.h2 = self.z1 @ self.W[1].T + b[1]
        self.z2 = phi(self.h2)
        self.t = F.one_hot(y, K).double()
        self.e = torch.softmax(self.z2 @ self.W[2].T + b[2], 1) - self.t

    def slope(self, h: Tensor) -> Tensor:
        h = h.detach().requires_grad_()
        return torch.autograd.grad(self.phi(h).sum(), h)[0]

    def expect(self, got: dict[str, Tensor], c1: Tensor, c2: Tensor, divide: int = N) -> None:
        """Batch means of ``c z_in^T`` at every layer."""
        close(got["0.weight"], c1.T @ self.x / divide)
        close(got["0.bias"], c1.sum(0) / divide)
        close(got["2.weight"], c2.T @ self.z1 / divide)
        close(got["2.bias"], c2.sum(0) / divide)
        close(got["4.weight"], self.e.T @ self.z2 / N)
        close(got["4.bias"], self.e.mean(0))


def values(learner: Learner) -> dict[str, Tensor]:
    return {name: synapse.detach() for name, synapse in learner.error_synapses().items()}


def test_dfa_by_hand() -> None:
    learner, _, _ = setup(dfa())
    p, B = Pass(learner), values(learner)
    assert B["output->1"].shape == (K, 8)
    p.expect(gradients(learner), (p.e @ B["output->1"]) * p.slope(p.h1), (p.e @ B["output->3"]) * p.slope(p.h2))


def test_sdfa_by_hand() -> None:
    learner, _, _ = setup(sdfa())
    p, B = Pass(learner), values(learner)
    s = torch.sign(p.e)
    p.expect(gradients(learner), (s @ B["output->1"]) * p.slope(p.h1), (s @ B["output->3"]) * p.slope(p.h2))


@pytest.mark.parametrize(("reduction", "divide"), [("mean", N), ("sum", 1)])
def test_drtp_by_hand(reduction: Any, divide: int) -> None:
    learner, _, _ = setup(drtp(reduction=reduction))
    p, B = Pass(learner), values(learner)
    p.expect(gradients(learner), (p.t @ B["output->1"]) * p.slope(p.h1), (p.t @ B["output->3"]) * p.slope(p.h2), divide)


def test_drtp_on_a_sigmoid_with_binary_cross_entropy() -> None:
    """Targets in the output's shape are taken as they are; the output layer learns by its mean loss gradient."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3), nn.Sigmoid()).double()
    x, t = data()[0], torch.rand(N, 3, dtype=torch.float64)
    learner = Learner(compile(model, drtp(), (x, t), F.binary_cross_entropy))
    learner.learn(x, t)
    z = torch.tanh(x @ model[0].weight.T + model[0].bias)
    close(model[0].weight.grad, ((t @ values(learner)["output->1"]) * (1 - z**2)).T @ x / N)
    close(model[2].weight.grad, (torch.sigmoid(z @ model[2].weight.T + model[2].bias) - t).T @ z / (3 * N))


@pytest.mark.parametrize("rows", [3, 4])
def test_drtp_with_a_class_at_every_pixel(rows: int) -> None:
    """Labels ``[N, H, W]``, as many classes as columns (and rows): the target's second axis counts classes, as the output's does."""
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 4, 1)).double()
    x, y = torch.randn(N, 2, rows, 4, dtype=torch.float64), torch.randint(4, (N, rows, 4))
    learner = Learner(compile(model, drtp(), (x, y)))
    learner.learn(x, y)
    t, B = F.one_hot(y, 4).movedim(-1, 1).double(), values(learner)["output->1"]
    c = (t.flatten(1) @ B.flatten(1)).view(N, 3, rows, 4) * (1 - torch.tanh(model[0](x)) ** 2)
    close(model[0].weight.grad, torch.nn.grad.conv2d_weight(x, model[0].weight.shape, c, padding=1) / N)


def test_sparse_dfa_has_fan_in_source_units_and_keeps_them() -> None:
    learner, _, _ = setup(sparse_dfa(fan_in=2))
    p, B = Pass(learner), values(learner)
    for matrix in B.values():
        assert ((matrix != 0).sum(0) == 2).all()
    p.expect(gradients(learner), (p.e @ B["output->1"]) * p.slope(p.h1), (p.e @ B["output->3"]) * p.slope(p.h2))


def test_dkp_by_hand_and_at_the_last_hidden_layer_it_is_kp() -> None:
    learner, _, _ = setup(dkp())
    p, B, got = Pass(learner), values(learner), gradients(learner)
    p.expect(got, (p.e @ B["output->1"]) * p.slope(p.h1), (p.e @ B["output->3"]) * p.slope(p.h2))
    close(got["output->1"], torch.einsum("ns,nu->su", p.e, p.z1) / N)
    close(got["output->3"], torch.einsum("ns,nu->su", p.e, p.z2) / N)
    close(got["output->3"], got["4.weight"])


def test_dfa_is_fa_on_one_hidden_layer() -> None:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, K)).double()
    two = copy.deepcopy(one)
    direct, mirrored = (Learner(compile(model, wiring, data())) for model, wiring in ((one, dfa()), (two, fa())))
    assert values(direct)["output->1"].shape == values(mirrored)["mirror:2.weight"].shape == (K, 8)
    with torch.no_grad():
        direct.error_synapses()["output->1"].copy_(values(mirrored)["mirror:2.weight"])
    for a, b in zip(gradients(direct).values(), gradients(mirrored).values(), strict=True):
        close(a, b)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_fa_by_hand(activation: type[nn.Module]) -> None:
    learner, _, _ = setup(fa(), activation)
    p, B = Pass(learner, activation()), values(learner)
    c2 = (p.e @ B["mirror:4.weight"]) * p.slope(p.h2)
    p.expect(gradients(learner), (c2 @ B["mirror:2.weight"]) * p.slope(p.h1), c2)


@pytest.mark.parametrize("sign", [1, -1])
def test_ekdaa_by_hand(sign: Any) -> None:
    wiring = ekdaa(beta=0.9, gamma=0.1, sign=sign).model_copy(update={"reprojection": None})
    learner, _, _ = setup(wiring)
    p, E, got = Pass(learner), values(learner), gradients(learner)
    e2 = p.z2 - torch.tanh(p.h2 - 0.9 * p.e @ E["mirror:4.weight"])
    e1 = p.z1 - torch.tanh(p.h1 - 0.9 * e2 @ E["mirror:2.weight"])
    p.expect(got, e1, e2)
    close(got["mirror:2.weight"], sign * 0.1 * got["2.weight"])
    close(got["mirror:4.weight"], sign * 0.1 * got["4.weight"])


def targets(p: Pass, d: Tensor, h: Tensor, beta: float = 0.1) -> Tensor:
    return p.phi(h) - p.phi(h - beta * d)


@pytest.mark.parametrize("plasticity", ["activity", "displacement"])
def test_rec_lra_of_depth_1_by_hand(plasticity: Any) -> None:
    wiring = rec_lra(depth=1, beta=0.1, gamma=0.2, plasticity=plasticity).model_copy(update={"reprojection": None})
    learner, _, _ = setup(wiring)
    p, E, got = Pass(learner), values(learner), gradients(learner)
    d1, d2 = p.e @ E["output->1"], p.e @ E["output->3"]
    p.expect(got, targets(p, d1, p.h1), targets(p, d2, p.h2))
    post1, post2, sign = (p.z1, p.z2, 1) if plasticity == "activity" else (d1, d2, -1)
    close(got["output->1"], sign * 0.2 * p.e.T @ post1 / N)
    close(got["output->3"], sign * 0.2 * p.e.T @ post2 / N)


def lra(plasticity: Hebbian | Fixed | None = None, **credit: Any) -> Wiring:
    rule = Rule(
        topology=Pairwise(), synapse=Dense(), credit=Target(beta=0.1, **credit), plasticity=plasticity or Hebbian(gamma=0.3)
    )
    return Wiring(name="lra", rules=(rule,))


def test_lra_e_by_hand() -> None:
    learner, _, _ = setup(lra())
    p, E, got = Pass(learner), values(learner), gradients(learner)
    e2 = targets(p, p.e @ E["output->3"], p.h2)
    e1 = targets(p, e2 @ E["3->1"], p.h1)
    p.expect(got, e1, e2)
    close(got["output->3"], 0.3 * p.e.T @ p.z2 / N)
    close(got["3->1"], 0.3 * e2.T @ p.z1 / N)


def test_the_derived_rule_learns_from_the_receivers_error() -> None:
    learner, _, _ = setup(lra(Hebbian(post="error", gamma=0.3, sign=-1)))
    p, E, got = Pass(learner), values(learner), gradients(learner)
    e2 = targets(p, p.e @ E["output->3"], p.h2)
    close(got["output->3"], -0.3 * p.e.T @ e2 / N)
    close(got["3->1"], -0.3 * e2.T @ targets(p, e2 @ E["3->1"], p.h1) / N)


def test_the_lra_e_preset_is_that_on_vectors() -> None:
    learner, _, _ = setup(lra_e(beta=0.1, gamma=0.3).model_copy(update={"reprojection": None}))
    other, _, _ = setup(lra())
    other.load_state_dict(learner.state_dict())
    for a, b in zip(gradients(learner).values(), gradients(other).values(), strict=True):
        close(a, b)


def test_the_derivative_can_be_restored() -> None:
    """``c = e phi'(h)``, and it is ``e`` without it that travels on (rec-LRA eq. 7)."""
    learner, _, _ = setup(lra(derivative=True))
    p, E, got = Pass(learner), values(learner), gradients(learner)
    e2 = targets(p, p.e @ E["output->3"], p.h2)
    e1 = targets(p, e2 @ E["3->1"], p.h1)
    p.expect(got, e1 * p.slope(p.h1), e2 * p.slope(p.h2))


def test_the_elastic_error_mixes_in_the_sign_by_the_kind_of_edge() -> None:
    """On direct wiring the last site's edge is adjacent, the first one's skips."""
    elastic = Elastic(skip=0.19, adjacent=0.24)
    wiring = rec_lra(depth=1, elastic=True).model_copy(update={"reprojection": None})
    learner, _, _ = setup(wiring)
    p, E = Pass(learner), values(learner)

    def mixed(difference: Tensor, alpha: float) -> Tensor:
        return alpha * difference + (1 - alpha) * torch.sign(difference)

    d1, d2 = targets(p, p.e @ E["output->1"], p.h1), targets(p, p.e @ E["output->3"], p.h2)
    p.expect(gradients(learner), mixed(d1, elastic.skip), mixed(d2, elastic.adjacent))


def test_the_elastic_error_is_what_travels_on() -> None:
    learner, _, _ = setup(lra(elastic=Elastic(skip=0.5, adjacent=0.25)))
    p, E = Pass(learner), values(learner)
    d2 = targets(p, p.e @ E["output->3"], p.h2)
    e2 = 0.25 * d2 + 0.75 * torch.sign(d2)
    d1 = targets(p, e2 @ E["3->1"], p.h1)
    p.expect(gradients(learner), 0.25 * d1 + 0.75 * torch.sign(d1), e2)


def test_kappa_scales_credit_and_the_discrepancy_is_the_papers_sum() -> None:
    learner, x, y = setup(lra(kappa=2.5))
    p, E = Pass(learner), values(learner)
    result: Learned = learner.learn(x, y)
    e2 = targets(p, p.e @ E["output->3"], p.h2)
    e1 = targets(p, e2 @ E["3->1"], p.h1)
    close(learner.model[0].weight.grad, 2.5 * e1.T @ p.x / N)
    close(result.discrepancy, (p.e.square().sum() + 2.5 * e1.square().sum() + 2.5 * e2.square().sum()) / N)


class Sign(nn.Module):
    """A signum unit; its sites are ``1.sign`` and ``3.sign``."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sign(x)


def test_targets_at_signum_units() -> None:
    rule = lra().rules[0].model_copy(update={"credit": Target(beta=1.0)})
    learner, _, _ = setup(Wiring(name="lra", rules=(rule,)), Sign)
    p, E = Pass(learner, torch.sign), values(learner)
    e2 = p.z2 - torch.sign(p.h2 - p.e @ E["output->3.sign"])
    e1 = p.z1 - torch.sign(p.h1 - e2 @ E["3.sign->1.sign"])
    assert e1.abs().sum() > 0
    p.expect(gradients(learner), e1, e2)


def test_the_straight_through_surrogate_takes_a_slope_of_one() -> None:
    rule = dfa().rules[0].model_copy(update={"credit": Gradient(surrogate="straight_through")})
    learner, _, _ = setup(Wiring(name="dfa", rules=(rule,)), Sign)
    p, B = Pass(learner, torch.sign), values(learner)
    p.expect(gradients(learner), p.e @ B["output->1.sign"], p.e @ B["output->3.sign"])


def test_a_random_activation_gets_no_target() -> None:
    """RReLU would draw its slopes again for y = phi(h - beta d), so that z - y were noise where nothing arrives."""
    with pytest.raises(CreditError, match=r"'1'.*rrelu.*a target.*Gradient\(\)"):
        setup(rec_lra(depth=1), nn.RReLU)
    setup(dfa(), nn.RReLU)


@pytest.mark.parametrize("norm", [1e-3, 0.05, 1e3])
def test_reprojection_bounds_each_update(norm: float) -> None:
    free, _, _ = setup(rec_lra(depth=1).model_copy(update={"reprojection": None}))
    bound, _, _ = setup(rec_lra(depth=1).model_copy(update={"reprojection": norm}))
    for (name, a), (_, b) in zip(gradients(free).items(), gradients(bound).items(), strict=True):
        close(b, a * min(1.0, norm / a.norm().item()), 1e-8)
        assert b.norm() <= norm * (1 + 1e-9), name


@pytest.mark.parametrize("wiring", [dfa(), fa(), dkp(), rec_lra(depth=1), ekdaa(), lra_e()], ids=lambda w: w.name)
def test_a_batch_is_the_mean_of_its_samples(wiring: Wiring) -> None:
    """Errors are per sample: without normalisation a batch's update is the mean of its samples' updates."""
    learner, x, y = setup(wiring.model_copy(update={"reprojection": None}))
    whole = gradients(learner)
    learner.zero_grad()
    for n in range(N):
        learner.learn(x[n : n + 1], y[n : n + 1])
    for name, parameter in [*learner.model.named_parameters(), *learner.error_synapses().items()]:
        if parameter.grad is not None:
            close(parameter.grad / N, whole[name])


@pytest.mark.parametrize("wiring", [dfa(), rec_lra(depth=1), ekdaa()], ids=lambda w: w.name)
def test_a_loss_that_sums_gives_sums_of_the_same_errors(wiring: Wiring) -> None:
    wiring = wiring.model_copy(update={"reprojection": None})
    mean, _, _ = setup(wiring)
    total, _, _ = setup(wiring, loss=nn.CrossEntropyLoss(reduction="sum"))
    for name, value in gradients(mean).items():
        if not name.startswith(("output", "mirror")):
            close(gradients(total)[name], N * value)


def test_dkp_is_kp_at_the_last_hidden_layer_under_a_loss_that_sums() -> None:
    learner, _, _ = setup(dkp(), loss=nn.CrossEntropyLoss(reduction="sum"))
    got = gradients(learner)
    close(got["output->3"], got["4.weight"])


# ------------------------------------------------------------------------------------------------ convolutions


def pooled() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(16, K),
    ).double()  # fmt: skip


def maps() -> tuple[Tensor, Tensor]:
    return torch.randn(N, 2, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64), data()[1]


def test_direct_feedback_sits_behind_the_activation_and_before_pooling() -> None:
    model = pooled()
    learner = Learner(compile(model, dfa(), maps()))
    B = values(learner)
    assert {name: tuple(value.shape) for name, value in B.items()} == {"output->1": (K, 3, 8, 8), "output->4": (K, 4, 4, 4)}
    learner.learn(*maps())
    x, y = maps()
    h = F.conv2d(x, model[0].weight, model[0].bias, padding=1).detach()
    e = torch.softmax(model(x).detach(), 1) - F.one_hot(y, K)
    c = torch.einsum("ns,schw->nchw", e, B["output->1"]) * (1 - torch.tanh(h) ** 2)
    close(model[0].weight.grad, torch.nn.grad.conv2d_weight(x, model[0].weight.shape, c, padding=1) / N)
    close(model[0].bias.grad, c.sum((0, 2, 3)) / N)


def test_mirrors_carry_errors_through_pooling() -> None:
    """EKDAA on a convolution: the kernel ``E`` in the place of ``W``, and the max-pooling's own un-pooling on the edge."""
    model = pooled()
    learner = Learner(compile(model, ekdaa().model_copy(update={"reprojection": None}), maps()))
    E = values(learner)
    learner.learn(*maps())
    x, y = maps()
    with torch.enable_grad():
        z1 = torch.tanh(model[0](x)).detach().requires_grad_()
        into = F.conv2d(F.max_pool2d(z1, 2), E["mirror:3.weight"], padding=1)
        h2 = model[3](F.max_pool2d(z1, 2)).detach()
        z2 = torch.tanh(h2).requires_grad_()
        e = torch.softmax(model[7](F.avg_pool2d(z2, 2).flatten(1)), 1).detach() - F.one_hot(y, K)
        d2 = torch.autograd.grad(F.linear(F.avg_pool2d(z2, 2).flatten(1), E["mirror:7.weight"]), z2, e)[0]
        e2 = z2.detach() - torch.tanh(h2 - 0.9 * d2)
        d1 = torch.autograd.grad(into, z1, e2)[0]
    h1 = model[0](x).detach()
    e1 = torch.tanh(h1) - torch.tanh(h1 - 0.9 * d1)
    close(model[0].weight.grad, torch.nn.grad.conv2d_weight(x, model[0].weight.shape, e1, padding=1) / N)


@pytest.mark.parametrize(
    ("synapse", "shape"), [(Kernel(size=3), (3, 4, 3, 3)), (Pointwise(), (3, 4)), (Kernel(size=5), (3, 4, 5, 5))]
)
def test_kernels_carry_maps_and_learn_by_their_own_correlation(synapse: Kernel | Pointwise, shape: tuple[int, ...]) -> None:
    edges = (Edge(source="output", target="4", synapse=Dense(), plasticity=Fixed()), Edge(source="4", target="1"))
    rule = Rule(topology=Explicit(edges=edges), synapse=synapse, credit=Gradient(), plasticity=DirectKolenPollack())
    model = pooled()
    learner = Learner(compile(model, Wiring(name="mine", rules=(rule,)), maps()))
    B = values(learner)
    assert B["4->1"].shape == shape
    learner.learn(*maps())
    x, y = maps()
    z1 = model[1](model[0](x)).detach()
    z2 = model[4](model[3](model[2](z1))).detach()
    e = torch.softmax(model(x).detach(), 1) - F.one_hot(y, K)
    c2 = torch.einsum("ns,schw->nchw", e, B["output->4"]) * (1 - z2**2)
    kernel = (B["4->1"] if B["4->1"].dim() == 4 else B["4->1"][:, :, None, None]).clone().requires_grad_()
    d1 = F.interpolate(F.conv2d(c2, kernel, padding=kernel.shape[-1] // 2), size=(8, 8))
    c1 = d1.detach() * (1 - z1**2)
    close(model[0].weight.grad, torch.nn.grad.conv2d_weight(x, model[0].weight.shape, c1, padding=1) / N)
    close(learner.error_synapses()["4->1"].grad, torch.autograd.grad(d1, kernel, z1)[0].reshape(shape) / N)


def test_channelwise_synapses_scale_channels() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(192, K)
    ).double()
    edges = (Edge(source="output", target="3", synapse=Dense()), Edge(source="3", target="1", synapse=Channelwise()))
    learner = Learner(compile(model, Wiring(name="mine", rules=(Rule(topology=Explicit(edges=edges), synapse=Dense()),)), maps()))
    B = values(learner)
    assert B["3->1"].shape == (3,)
    learner.learn(*maps())
    x, y = maps()
    z1 = torch.tanh(model[0](x)).detach()
    z2 = torch.tanh(model[2](z1)).detach()
    e = torch.softmax(model(x).detach(), 1) - F.one_hot(y, K)
    c2 = torch.einsum("ns,schw->nchw", e, B["output->3"]) * (1 - z2**2)
    c1 = c2 * B["3->1"][None, :, None, None] * (1 - z1**2)
    close(model[0].weight.grad, torch.nn.grad.conv2d_weight(x, model[0].weight.shape, c1, padding=1) / N)


def test_a_regions_update_runs_through_its_normalisation() -> None:
    """The local gradient: under DFA, a convolution's update is the vector-Jacobian product of ``bn(conv(x))`` with its credit."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(108, K)).double()
    learner = Learner(compile(model, dfa(), maps()))
    twin = copy.deepcopy(model)
    learner.learn(*maps())
    x, y = maps()
    h = twin[1](twin[0](x))
    z = torch.tanh(h)
    e = torch.softmax(twin[4](z.flatten(1)), 1) - F.one_hot(y, K)
    c = (torch.einsum("ns,schw->nchw", e, values(learner)["output->2"]) * (1 - z**2)).detach()
    wanted = [twin[0].weight, twin[1].weight, twin[1].bias]
    for parameter, gradient in zip(wanted, torch.autograd.grad(h, wanted, c / N), strict=True):
        name = next(n for n, p in twin.named_parameters() if p is parameter)
        close(model.get_parameter(name).grad, gradient)


# ------------------------------------------------------------------------------------------------ reproducibility, state


def test_error_synapses_start_from_the_seed_alone() -> None:
    one, two, other = (Learner(compile(network(), dfa(), data()), seed=seed) for seed in (0, 0, 1))
    for name, value in values(one).items():
        assert torch.equal(value, values(two)[name])
        assert not torch.equal(value, values(other)[name])


def test_more_sites_change_no_other_synapse() -> None:
    deeper = nn.Sequential(*network()[:4], nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, K)).double()
    assert torch.equal(values(Learner(compile(deeper, dfa(), data())))["output->1"], values(setup(dfa())[0])["output->1"])


def test_a_state_dict_restores_model_and_synapses() -> None:
    one, _, _ = setup(dkp())
    two = Learner(compile(network(), dkp(), data()), seed=9)
    before = gradients(one)
    assert not torch.equal(before["0.weight"], gradients(two)["0.weight"])
    two.load_state_dict(one.state_dict())
    for name, value in gradients(two).items():
        assert torch.equal(value, before[name])


def test_kinds_of_plasticity_are_what_the_presets_say() -> None:
    kinds = {name: type(wiring.rules[0].plasticity) for name, wiring in WIRINGS.items() if name in PRESETS}
    assert [name for name, kind in kinds.items() if kind is KolenPollack] == ["kp"]
    assert [name for name, kind in kinds.items() if kind is ErrorKernel] == ["ekdaa"]
    assert [name for name, kind in kinds.items() if kind is Hebbian] == ["lra_e", "rec_lra"]
