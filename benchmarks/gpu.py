"""Everything that there is to measure on a GPU, in one command with a limit of time; JSON to benchmarks/gpu-<device>.json.

    python benchmarks/gpu.py [--seconds 540] [--models resnet18 mlp resnet20] [--inductor] [--trace FOLDER]

For each model: executors agree with ``serial``; then steps of every executor and wiring beside eager backpropagation and
backpropagation in a CUDA graph; kernels that overlap; peak memory; and at last, since compiling takes long, backpropagation under
torch.compile (default and max-autotune) beside the graphs. Contenders of a table run in this one process in turn, timed by CUDA events
over many steps with one wait for the device, ratios taken within a round. What fails is noted with its error and the rest goes on;
what there is no time for is left out and named. Learners are timed with ``checks=False``: a check of the loss waits for the device at
every step. ``--device cpu --tiny`` is a rehearsal without a GPU: what needs one is noted as failed.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import show
import torch
from budget import Budget
from gpu_cases import MODELS, Case, case
from gpu_phases import AGREEMENT, Found, agree, compare, compile_programs, footprints, overlaps, pit_against_compiled
from machine import facts

WIRINGS = ["bp", "fa", "dfa", "dkp", "drtp", "rec_lra", "ekdaa"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=540, help="what there is no time for after so long is left out")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--wirings", nargs="+", default=WIRINGS)
    parser.add_argument("--inductor", action="store_true", help="time the inductor executor too: compiling takes long")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile of backpropagation out")
    parser.add_argument("--no-cudnn-benchmark", action="store_true", help="let cuDNN choose by its rules, not by trying")
    parser.add_argument("--trace", type=Path, default=None, help="a folder for Chrome traces of the streams executor")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small models and batches, for a rehearsal")
    parser.add_argument("--json", type=Path, default=None, help="default: benchmarks/gpu-<device>.json; none for a rehearsal")
    options = parser.parse_args()
    if options.device == "cuda" and options.json is None:
        options.json = Path(__file__).with_name("gpu-<device>.json")
    return options


def device_facts(device: torch.device) -> dict[str, Any]:
    """The machine, the device and the settings that step times depend on."""
    here = facts() | {"device": str(device)}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        here |= {
            "device": properties.name,
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "capability": list(torch.cuda.get_device_capability(device)),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return here | {
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def write(options: argparse.Namespace, machine: dict[str, Any], cases: list[Case], found: list[Found], budget: Budget) -> None:
    """The JSON as far as it is known: written behind every phase, so that a run that is cut off leaves what it has."""
    if options.json is None:
        return
    name = "".join(letter if letter.isalnum() else "-" for letter in machine["device"])
    path = Path(str(options.json).replace("<device>", name))
    protocol = {
        "rounds": options.rounds, "checks": False, "agreement": AGREEMENT, "seconds": round(budget.spent(), 1),
        "left_out_for_want_of_time": budget.left_out, "step": "forward, loss and every update, no optimiser",
    }  # fmt: skip
    models = [{"model": one.name, "setting": one.setting, **result.as_json()} for one, result in zip(cases, found, strict=True)]
    path.write_text(json.dumps({"machine": machine, "protocol": protocol, "models": models}, indent=2) + "\n")


def main() -> int:
    options = arguments()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks/gpu.py needs a CUDA device and torch sees none. Rehearse with --device cpu --tiny.", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    torch.backends.cudnn.benchmark = not options.no_cudnn_benchmark
    device = torch.device("cuda", torch.cuda.current_device()) if options.device == "cuda" else torch.device("cpu")
    budget, machine, console = Budget(time.perf_counter() + options.seconds), device_facts(device), show.console()
    console.print(f"{machine['device']}, torch {torch.__version__}, {options.seconds:.0f} s at most")
    cases = [case(name, device, options.tiny) for name in options.models]
    found = [Found() for _ in cases]
    phases = [compile_programs, agree, compare, overlaps, footprints, *([] if options.no_compile else [pit_against_compiled])]
    for phase in phases:
        for one, result in zip(cases, found, strict=True):
            with budget.phase(f"{one.name}: {phase.__name__}", result.failures, console) as go:
                if go:
                    phase(one, result, options, budget, console)
            write(options, machine, cases, found, budget)
    for text in budget.left_out:
        console.print(f"left out for want of time: {text}", markup=False)
    console.print(f"{budget.spent():.0f} s in all.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
