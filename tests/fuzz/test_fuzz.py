"""Input at its worst, a few examples of each kind (`make fuzz` tries 10 000), and those by which something was found."""

import importlib
import pickle
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fuzz.guard import Violation, scratch
from hypothesis import HealthCheck, Phase, given, settings

EXAMPLES = {"wirings": 60, "commands": 40, "checkpoints": 60}
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.filterwarnings("ignore")
def test_only_errors_of_ours_come_of_drawn_input(name: str) -> None:
    target = importlib.import_module(f"fuzz.{name}")

    @settings(
        max_examples=EXAMPLES[name], derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(target.STRATEGY)
    def each(example: Any) -> None:
        target.check(example)

    each()


LINES: dict[str, tuple[list[str], str]] = {
    "a seed beyond 64 bits": (["--seed", str(10**30)], "TrainingError"),
    "more threads than there can be": (["--threads", str(2**53)], "usage"),
    "a layer of petabytes": (["--model", "mlp:width=100000000"], "ModelError"),
    "a billion layers": (["--model", "mlp:depth=1000000000"], "ModelError"),
    "bytes that are no UTF-8": (["--wiring", "\udce9.json"], "WiringError"),
    "brackets that rich would read": (["--wiring", "[/]"], "OptionError"),
    "a name too long for a folder": (["--folder", "n" * 300], "usage"),
    "a link to nowhere": (["--folder", "link"], "TrainingError"),
    "a damaged run": (["--folder", "broken", "--resume"], "TrainingError"),
}


@pytest.mark.parametrize("case", LINES)
def test_command_lines_by_which_something_was_found(case: str) -> None:
    from fuzz.commands import check

    words, told = LINES[case]
    given = dict(zip(words[::2], words[1::2], strict=False)) if "--resume" not in words else {"--folder": "broken"}
    line = ["train"]
    for option, value in ({"--model": "mlp:width=4,depth=1", "--wiring": "dfa", "--folder": "new"} | given).items():
        line += [option, value]
    assert check((line + ["--resume"] * ("--resume" in words), 0)) in (told, "CaptureError"), case


@pytest.mark.parametrize("shape", ["99999999x9999999", "1" + "0" * 20 + "x8", "٣x0", "1x" * 30 + "999999999"])
def test_inputs_that_fit_into_no_memory_are_refused(shape: str) -> None:
    from fuzz.commands import check

    assert check((["explain", "--model", "mlp", "--wiring", "dfa", "--input-shape", shape], 0)) == "OptionError"


@pytest.mark.parametrize("kind", ["[]", "{}", "null", "3", '"direct\\ud800"'])
def test_kinds_that_are_no_names_are_refused(kind: str) -> None:
    from fuzz.wirings import check

    text = f'{{"name": "x", "rules": [{{"topology": {{"kind": {kind}}}, "synapse": {{"kind": "dense"}}}}]}}'
    assert check((text.encode(), 0)) == "InvalidWiring"


def test_a_forged_random_state_reads_no_foreign_memory() -> None:
    from fuzz.checkpoints import OURS, _encoded, check

    assert OURS["tree"]["dict"], "a checkpoint is a dict"

    def forged(node: Any) -> Any:
        if isinstance(node, list):
            return (
                [[*node[:1], 10**8] if node[:1] == ["pos"] else forged(item) for item in node]
                if node[:1] != ["pos"]
                else ["pos", 10**8]
            )
        return {key: forged(value) for key, value in node.items()} if isinstance(node, dict) else node

    assert check((_encoded(forged(OURS["tree"])), True)) == "refused by the run"


def test_what_the_guard_forbids_it_notices(tmp_path: Path) -> None:
    with pytest.raises(Violation, match="open"), scratch():
        (tmp_path / "outside").write_text("x")
    with pytest.raises(Violation, match="Popen"), scratch():
        subprocess.run(["true"], check=True)
    with pytest.raises(Violation, match="find_class"), scratch():
        pickle.loads(pickle.dumps(Path))


def test_no_pickle_is_loaded_but_by_the_reader_that_admits_only_arrays() -> None:
    loading = re.compile(
        r"torch\.load\(|pickle\.loads?\(|Unpickler|joblib|allow_pickle\s*=\s*True|\bmarshal\b|\bshelve\b|weights_only"
    )
    found = {
        str(path.relative_to(ROOT))
        for package in ("wiring", "compiler", "runtime")
        for path in (ROOT / package).rglob("*.py")
        if loading.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"runtime/data/cifar_pickle.py"}
