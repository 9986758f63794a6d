"""Words of one's own: each example against numbers worked out by hand, and in every place where a built-in word works."""

import ast
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from extending_case import batch, example, grads, learned, network
from torch import Tensor

from compiler import compile, verify
from runtime import Learner, attach
from wiring import OUTPUT, PRESETS, Wiring, bp, dfa, parse_wiring

low_rank, sign_credit, oja = example("low_rank_synapse"), example("sign_credit"), example("oja_plasticity")
every_third, own_preset, difference = (
    example("every_third_topology"),
    example("own_preset"),
    example("difference_target_propagation"),
)

FOLDER = Path(__file__).parents[2] / "examples" / "extending"
OWN = dfa().but(
    name="own", topology=every_third.EveryNth(n=2), credit=sign_credit.SignCredit(rate=0.5), plasticity=oja.Oja(gamma=0.2)
)
WIRINGS = [OWN, dfa().but(name="low_rank", synapse=low_rank.LowRank(rank=2)), difference.dtp()]


def activities() -> tuple[list[Tensor], Tensor]:
    """The network's values at input and sites, and the error of each sample at its output."""
    values, model = [batch()[0]], network()
    for layer in model[:-1]:
        values.append(layer(values[-1].detach()).detach())
    error = torch.softmax(model[-1](values[-1]), 1).detach() - F.one_hot(batch()[1], 4)
    return [values[0], *values[2::2]], error


# ------------------------------------------------------------------------------------------------ their length


def code_lines(nodes: list[ast.stmt], source: list[str]) -> int:
    """Lines of code: imports, docstrings, comments and blank lines are none."""
    skipped: set[int] = set()
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if text or isinstance(node, ast.Import | ast.ImportFrom):
            skipped |= set(range(node.lineno, (node.end_lineno or 0) + 1))  # type: ignore[attr-defined]
    first = min(d.lineno for node in nodes for d in (node, *getattr(node, "decorator_list", ())))
    lines = range(first, (nodes[-1].end_lineno or 0) + 1)
    return sum(n not in skipped and bool(source[n - 1].split("#")[0].strip()) for n in lines)


@pytest.mark.parametrize("path", [*FOLDER.glob("*.py"), *FOLDER.glob("plugin/*.py")], ids=lambda path: path.stem)
def test_a_word_has_fifteen_lines_of_code_at_most(path: Path) -> None:
    if path.stem == "dtp_on_mnist":
        return  # no word, but what measures one
    source = path.read_text(encoding="utf-8").splitlines()
    words: list[list[ast.stmt]] = []
    for node in ast.parse("\n".join(source)).body[1:]:
        begins = isinstance(node, ast.ClassDef) and any(n.startswith("kind") for n in map(ast.unparse, node.body[1:]))
        if begins or any(ast.unparse(d) == "preset" for d in getattr(node, "decorator_list", ())):
            words.append([])
        if not isinstance(node, ast.Import | ast.ImportFrom):
            words[-1].append(node)
    assert words
    assert all(code_lines(word, source) <= 15 for word in words)


# ------------------------------------------------------------------------------------------------ their numbers


def test_low_rank_feedback_is_two_products() -> None:
    learner = learned(dfa().but(synapse=low_rank.LowRank(rank=2)))
    (x, z1, *_), error = activities()
    u, v = learner.error_synapses()["output->1"].split([4, 8], dim=1)
    torch.testing.assert_close(grads(learner)["model.0.weight"], (error @ u.T @ v * (1 - z1**2)).T @ x / 5)


def test_sign_credit_teaches_by_the_sign_and_sends_the_error() -> None:
    own, plain = (grads(learned(wiring)) for wiring in (bp().but(credit=sign_credit.SignCredit(rate=0.5)), bp()))
    (_, _, z2, z3), error = activities()
    d3 = error @ network()[6].weight.detach() * (1 - z3**2)
    d2 = d3 @ network()[4].weight.detach() * (1 - z2**2)
    torch.testing.assert_close(own["model.2.bias"], torch.sign(d2).mean(0) * 0.5)
    torch.testing.assert_close(own["model.6.weight"], plain["model.6.weight"])


def test_oja_adds_the_square_of_the_activity() -> None:
    learner = learned(dfa().but(plasticity=oja.Oja(gamma=0.2)))
    (_, z1, *_), error = activities()
    synapse = learner.error_synapses()["output->1"]
    torch.testing.assert_close(synapse.grad, 0.2 * (error.T @ z1 / 5 + (z1**2).mean(0) * synapse.detach()))


def test_every_nth_site_hears_the_output() -> None:
    program = compile(network(6, 5, 5, 5, 5, 4), dfa().but(topology=every_third.EveryNth(n=3)), batch())
    heard = {site: tuple(edge.source for edge in edges) for site, edges in program.plan.errors.edges.items()}
    assert heard == {"1": (OUTPUT,), "3": ("5",), "5": ("7",), "7": (OUTPUT,)}


def test_a_preset_has_options_like_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "damped_dkp", own_preset.damped_dkp)
    wiring = parse_wiring("damped_dkp:kappa=0.25,credit.surrogate=straight_through")
    assert wiring.name == "damped_dkp"
    assert wiring.rules[0].credit.kappa == 0.25  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------ everywhere


@pytest.mark.parametrize("wiring", WIRINGS, ids=lambda wiring: wiring.name)
def test_a_wiring_of_own_words_goes_everywhere(wiring: Wiring, tmp_path: Path) -> None:
    assert Wiring.from_json(wiring.to_json()) == wiring
    learner = learned(wiring)
    program = learner.program
    verify(program, program.schedule(2))
    assert wiring.rules[0].synapse.kind in program.draw(tmp_path / "own.dot").read_text(encoding="utf-8")
    told = program.explain()
    assert {wiring.rules[0].synapse.kind, wiring.rules[0].plasticity.kind} <= set(told.replace("│", " ").split())
    twin = Learner(pickle.loads(pickle.dumps(program)))
    for other in (learned(wiring, backend="threads"), _again(twin)):
        assert all(torch.equal(grads(other)[name], value) for name, value in grads(learner).items())


def _again(learner: Learner) -> Learner:
    torch.manual_seed(5)
    learner.learn(*batch())
    return learner


@pytest.mark.parametrize("wiring", WIRINGS, ids=lambda wiring: wiring.name)
def test_attached_it_gives_the_same_updates(wiring: Wiring) -> None:
    x, y = batch()
    net = attach(network(), wiring, x)
    torch.manual_seed(5)
    F.cross_entropy(net(x), y).backward()
    want = grads(learned(wiring))
    assert {name: value.shape for name, value in grads(net).items()} == {name: value.shape for name, value in want.items()}
    for name, value in grads(net).items():
        torch.testing.assert_close(value, want[name], rtol=1e-12, atol=1e-14)


def test_the_report_says_who_waits_and_whose_weights_are_read() -> None:
    report = compile(network(), difference.dtp(), batch()).report()
    assert [site.locking for site in report.sites] == ["locked", "locked", "backward-unlocked"]
    assert report.weight_transport == ("6.weight",)
    assert report.error_parameters == 8 * (7 + 1) + 7 * (9 + 1)
    assert [edge.plasticity for site in report.sites for edge in site.edges] == ["reconstruction", "reconstruction", "fixed"]
