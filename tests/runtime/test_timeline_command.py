"""The command ``timeline``, what measures for it, and the options --backend and --streams."""

import csv
import itertools
import json
import threading
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from compiler import UpdateProgram, compile
from compiler.schedule import Launch, Schedule
from compiler.simulation import makespan
from runtime import Timeline, measure_timeline
from runtime.cli import app
from runtime.errors import BackendError
from runtime.executors.watch import CudaClock, Stopwatch
from wiring import parse_wiring

MODEL = ("--model", "mlp:width=16,depth=2")
TIMELINE = ("timeline", *MODEL, "--wiring", "rec_lra", "--input-shape", "1x8x8", "--batch-size", "4")
QUICK = (*MODEL, "--limit", "60", "--epochs", "1", "--batch-size", "25")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
    return result


def refused(*arguments: str) -> str:
    result = run(*arguments, code=2)
    assert "Traceback" not in result.output
    return result.stderr.strip().splitlines()[-1]


def program(wiring: str = "dfa") -> UpdateProgram:
    torch.manual_seed(0)
    layers = [nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 10)]
    return compile(nn.Sequential(*layers), parse_wiring(wiring), (torch.randn(6, 12), torch.arange(6)))


# -------------------------------------------------------------- timeline


def test_timeline_prints_a_table_and_writes_schedule_trace_and_pictures(tmp_path: Path) -> None:
    lines = run(*TIMELINE, "--streams", "2", "out/deep").stdout.splitlines()
    assert lines[0] == "rec_lra on mlp:width=16,depth=2, batch 4 of 1x8x8: threads on 2 streams"
    assert lines[1].split() == ["step", "stream", "0", "stream", "1"]
    for line, group in zip(lines[3:5], ("predicted", "measured"), strict=True):
        words = line.split()
        assert (words[0], words[2], words[3], words[5]) == (group, "ms", "busy", "busy")
        assert float(words[1]) > 0
        assert words[4].endswith("%")
    folder = tmp_path / "out" / "deep"
    assert {path.name for path in folder.iterdir()} == {"schedule.txt", "timeline.json", "timeline.png", "timeline.svg"}
    schedule = Schedule.parse((folder / "schedule.txt").read_text())
    assert schedule.streams == 2
    tasks = {action.task for action in schedule.actions if isinstance(action, Launch)}
    assert lines[5].startswith(f"{len(tasks)} tasks; one behind the other ")
    assert "with nobody looking on a step takes " in lines[5]
    events = json.loads((folder / "timeline.json").read_text())["traceEvents"]
    assert [e["args"]["name"] for e in events if e["name"] == "process_name"] == ["predicted", "measured"]
    for process in (1, 2):
        spans = [e for e in events if e["ph"] == "X" and e["pid"] == process]
        assert {e["name"] for e in spans} == tasks
        assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in spans)
    assert (folder / "timeline.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (folder / "timeline.svg").read_text()


def test_timeline_in_the_callers_thread_and_in_another_layout() -> None:
    text = run(*TIMELINE, "--streams", "1", "--backend", "serial", "--layout", "channels_last", "out").stdout
    assert text.splitlines()[0].endswith(": serial")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--streams", "0", "out"), "Error: A program cannot run on 0 streams. Ask for 1 to 256"),
        (("--backend", "warp", "out"), "Error: No backend is called 'warp'. Backends: serial"),
        (("--backend", "auto", "out"), "Error: Backend 'auto' picks another one by itself, so nobody can look on. Name one"),
        (("--backend", "inductor", "--streams", "1", "out"), "Error: Backend 'inductor' runs a step as one piece, so nobody"),
        (("--backend", "streams", "out"), "Error: Backend 'streams' runs on CUDA devices, and this program runs on 'cpu'."),
        (("--backend", "graph", "out"), "Error: Backend 'graph' runs on CUDA devices, and this program runs on 'cpu'."),
        (("/dev/null/no",), "Error: The folder '/dev/null/no' cannot be made"),
        (("--input-shape", "8", "--model", "mlpp", "out"), "Error: Model 'mlpp' is not known. Did you mean 'mlp'?"),
    ],
)
def test_what_timeline_refuses(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    assert refused(*TIMELINE, *arguments).startswith(message)
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------- measure_timeline


@pytest.mark.parametrize(("backend", "streams"), [("serial", 1), ("serial", 3), ("threads", 1), ("threads", 3), (None, 2)])
def test_the_measured_spans_are_the_schedules_launches(backend: str | None, streams: int) -> None:
    found = measure_timeline(program("rec_lra"), streams, backend, steps=3)
    launches = {(action.task, action.stream) for action in found.schedule.actions if isinstance(action, Launch)}
    assert found.schedule.streams == streams
    for spans in found.groups.values():
        assert len(spans) == len(launches)
        assert {(span.task, span.stream) for span in spans} == launches
        for stream in range(streams):
            own = [span for span in spans if span.stream == stream]
            assert all(one.end <= other.start for one, other in itertools.pairwise(own)), "one at a time on a stream"
    assert all(0 <= span.start <= span.end for span in found.measured)
    assert found.executor.startswith(backend or "threads")


def test_a_dependence_is_kept_in_measured_time() -> None:
    compiled = program("rec_lra")
    found = measure_timeline(compiled, 3, steps=1)
    at = {span.task: span for span in found.measured}
    for task, needs in compiled.lowered.tasks.dependences.items():
        assert all(at[need].end <= at[task].start for need in needs)


def test_the_step_shown_is_the_median_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that counts its readings, each step faster than the one before."""

    class Slowing:
        now, speed = 0.0, 100.0

        def mark(self) -> float:
            self.now += self.speed
            return self.now

        def seconds(self, start: float, end: float) -> float:
            return end - start

    steps: list[Stopwatch] = []

    class Counted(Stopwatch):
        def begin(self) -> None:
            steps.append(self)
            Slowing.speed = [100.0, 1.0, 3.0, 2.0, 5.0, 4.0][max(0, len(steps) - 4)] if len(steps) > 4 else 100.0
            super().begin()

    monkeypatch.setattr("runtime.executors.watch.HostClock", Slowing)
    monkeypatch.setattr("runtime.executors.watch.Stopwatch", Counted)
    found = measure_timeline(program(), 1, "serial", steps=5)
    assert makespan(found.measured) == 3.0 * 2 * len(found.measured)


def test_measuring_changes_no_parameter_no_buffer_and_no_draw() -> None:
    compiled = program("dkp")
    before = {name: value.clone() for name, value in compiled.model.state_dict().items()}
    drawn, threads = torch.random.get_rng_state(), torch.get_num_threads()
    measure_timeline(compiled, 2, steps=2)
    assert all(torch.equal(value, before[name]) for name, value in compiled.model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert torch.get_num_threads() == threads
    assert threading.active_count() < 20


def test_no_step_is_refused() -> None:
    with pytest.raises(BackendError, match=r"A timeline cannot be measured over 0 steps\. Ask for 1 or more"):
        measure_timeline(program(), steps=0)


def test_busy_is_the_share_of_each_stream() -> None:
    found = measure_timeline(program(), 2, steps=1)
    for group, spans in found.groups.items():
        shares = found.busy(group)
        assert len(shares) == 2
        assert sum(shares) * makespan(spans) == pytest.approx(sum(span.end - span.start for span in spans))
    assert Timeline("serial", Schedule(1, ()), (), (), 1, 0.0).busy("measured") == (0.0,)


def test_on_cuda_events_are_recorded_on_the_stream_that_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, int]] = []

    class Event:
        count = 0

        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            Event.count += 1
            self.number = Event.count

        def record(self, stream: str) -> None:
            said.append((stream, self.number))

        def synchronize(self) -> None: ...

        def elapsed_time(self, end: "Event") -> float:
            return float(end.number - self.number)  # milliseconds

    current = {"stream": "main"}
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current["stream"])
    watch = Stopwatch(CudaClock(torch.device("cuda", 0)))
    watch.begin()
    for task, stream in (("a", 0), ("b", 1)):
        current["stream"] = f"s{stream}"
        watch.before(task, stream)
        watch.after(task, stream)
    assert said[1:] == [("main", 2), ("s0", 3), ("s0", 4), ("s1", 5), ("s1", 6)]
    assert [(s.task, s.stream, round(1e3 * s.start), round(1e3 * s.end)) for s in watch.spans()] == [("a", 0, 1, 2), ("b", 1, 3, 4)]


# -------------------------------------------------------------- --backend and --streams


def losses(folder: Path) -> list[str]:
    with (folder / "metrics.csv").open() as file:
        return [row["train_loss"] for row in csv.DictReader(file)]


def test_train_on_threads_equals_train_on_one_stream_and_either_goes_on_with_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.jobs.save_figure", lambda figure, stem: None)
    order = ("train", *QUICK, "--wiring", "dkp")
    run(*order, "--folder", "one", "--epochs", "2")
    text = run(*order, "--folder", "two", "--backend", "threads", "--streams", "2").stdout
    assert "threads on 2 streams" in text
    options = json.loads((tmp_path / "two" / "run.json").read_text())["options"]
    assert (options["backend"], options["streams"]) == ("threads", 2)
    run(*order, "--folder", "two", "--epochs", "2", "--resume")
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    options = json.loads((tmp_path / "two" / "run.json").read_text())["options"]
    assert (options["backend"], options["streams"]) == ("serial", None)


def test_auto_says_what_it_picked() -> None:
    text = run("train", *QUICK, "--wiring", "dfa", "--backend", "auto", "--streams", "2").stdout
    (line,) = (line for line in text.splitlines() if line.startswith("backend"))
    assert "auto: " in line
    assert "threads on 2 streams" in line
    assert " ms" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backend", "warp"), "Error: No backend is called 'warp'. Backends: serial"),
        (("--streams", "0"), "Error: A program cannot run on 0 streams. Ask for 1 to 256"),
        (("--backend", "graph"), "Error: Backend 'graph' runs on CUDA devices, and this program runs on 'cpu'."),
    ],
)
def test_a_backend_that_does_not_fit_is_refused_before_anything_is_written(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    assert refused("train", *QUICK, "--wiring", "dfa", *arguments).startswith(message)
    assert not list(tmp_path.iterdir())


def test_compare_on_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cli._pictures", lambda comparison, folder: None)
    text = run("compare", "dfa", *QUICK, "--backend", "threads", "--streams", "2", "--folder", "out").stdout
    assert "threads on 2 streams" in text
    tree = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (tree["recipe"]["backend"], tree["recipe"]["streams"]) == ("threads", 2)
    assert [row["backend"] for row in tree["rows"]] == ["threads on 2 streams"] * 2
    assert all(row["step_time_ratio"] > 0 for row in tree["rows"])


def test_compare_says_what_auto_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cli._pictures", lambda comparison, folder: None)
    text = run("compare", "bp", *QUICK, "--backend", "auto", "--streams", "2").stdout
    (line,) = (line for line in text.splitlines() if line.startswith("bp: "))
    assert "s of training; auto: " in line
