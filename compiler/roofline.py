"""The cost model of a device: seconds of every operator of a step from its FLOPs and bytes.

An operator takes ``launch + max(FLOPs / rate, bytes / bandwidth)``, rate and bandwidth being those of its kind of work (Williams,
Waterman and Patterson 2009, equation 1, with the launch added and a roof for each kind).
"""

import math
import os
import platform
import re
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import fx

from compiler.errors import CompileError
from compiler.files import put
from compiler.measuring import measure
from compiler.network import LOOPBACK, Network
from compiler.work import Rate, work
from wiring.record import Record

VIEW = 0.5  # of a launch: a view computes nothing, but it is a call
ELEMENTWISE = "elementwise"
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Roofline(Record):
    """How fast a device is.

    ``rates``: by kind of work, for matrix products and convolutions by kind and dtype, as ``matmul float32``. A dtype that is not
    there counts as float32, a kind that is not there as elementwise.
    ``launch``: seconds of an operator call with nothing to do. ``wait``: seconds that a hand-over between two streams costs.
    ``threads``: of one operator on a CPU. ``version``: torch's. ``network``: to other processes; not measured here, but given.
    """

    device: str
    threads: Annotated[int, Field(ge=1)] = 1
    version: str = ""
    rates: Mapping[str, Rate]
    launch: Seconds
    wait: Seconds
    suite: Literal[1] = 1
    network: Network = LOOPBACK

    @model_validator(mode="after")
    def _has_elementwise(self) -> Self:
        if ELEMENTWISE not in self.rates:
            raise ValueError(f"rates have no {ELEMENTWISE!r}, which stands in for every kind that is not among them: add it")
        return self

    def seconds(self, node: fx.Node) -> float:
        """Seconds of one node of a traced step, from the shapes in its meta data. Picking one of several results costs nothing."""
        done = work(node)
        if done.kind == "nothing":
            return 0.0
        if done.kind == "view":
            return VIEW * self.launch
        names = (f"{done.kind} {done.dtype}", f"{done.kind} float32", done.kind)
        rate = next((self.rates[name] for name in names if name in self.rates), self.rates[ELEMENTWISE])
        return self.launch + rate.seconds(done)

    def task_seconds(self, nodes: Iterable[fx.Node]) -> float:
        """Seconds of nodes that run one behind the other."""
        return math.fsum(self.seconds(node) for node in nodes)


_known: dict[Path, Roofline] = {}
_turn = threading.Lock()


def roofline(device: torch.device | str, threads: int | None = None) -> Roofline:
    """The cost model of a device: known in this process, or read from the user's cache, or measured in a second or two.

    The cache is ``$ERRORWIRE_CACHE``, else ``errorwire`` in ``$XDG_CACHE_HOME`` or ``~/.cache``. A file in it that is damaged or says
    something else is measured again; where none can be written, each process measures once. What was measured while
    others kept the machine busy stays wrong until its file is deleted.

    Arguments:
        device: where operators run; without an index, the current one of its type.
        threads: how many an operator uses on a CPU; default: as many as it does now.

    Raises:
        CompileError: torch does not see such a device here, or fewer than one thread.
    """
    place = _indexed(device)
    if threads is not None and threads < 1:
        raise CompileError(f"An operator cannot run on {threads} threads. Ask for 1 or more, or leave threads out.")
    threads = (threads or torch.get_num_threads()) if place.type == "cpu" else 1
    name = _name(place)
    path = _cache() / f"roofline-{re.sub('[^A-Za-z0-9]+', '_', name).strip('_')}-{threads}-{torch.__version__}.json"
    with _turn:
        if path not in _known:
            found = _read(path)
            if found is None or (found.device, found.threads, found.version) != (name, threads, torch.__version__):
                measured = measure(place, threads)
                found = Roofline(
                    device=name,
                    threads=threads,
                    version=torch.__version__,
                    rates=measured.rates,
                    launch=measured.launch,
                    wait=measured.wait,
                )
                _write(path, found)
            _known[path] = found
        return _known[path]


def _indexed(device: torch.device | str) -> torch.device:
    try:
        place = torch.device(device)
        if place.type == "cpu":
            return torch.device("cpu")
        own = torch.get_device_module(place)
        if place.index is None:
            return torch.device(place.type, own.current_device())
        own.get_device_properties(place)
        return place
    except (RuntimeError, AssertionError) as problem:  # the second where torch is built without CUDA
        why = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise CompileError(
            f"Device {str(device)!r} cannot be measured ({why}). Take 'cpu' or a device that torch sees here."
        ) from problem


def _name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type != "cpu":
        return str(torch.get_device_module(device).get_device_name(device))
    with suppress(OSError):
        model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if model:
            return f"{model[1]} {torch.backends.cpu.get_cpu_capability()}"
    return f"{platform.processor() or platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _cache() -> Path:
    own = os.environ.get("ERRORWIRE_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "errorwire"


def _read(path: Path) -> Roofline | None:
    try:
        return Roofline.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _write(path: Path, found: Roofline) -> None:
    """Keep it; a folder that refuses is left alone."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, found.model_dump_json(indent=2, exclude={"network"}).encode())
