"""``fit``: epochs, validation, metrics, checkpoints, and a run that goes on where it was stopped, bit for bit."""

from contextlib import nullcontext
from pathlib import Path

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import TensorDataset

from runtime.batches import Batches, Samples, batches_of
from runtime.claim import claimed
from runtime.data import Split
from runtime.distributed.peers import Peers, peers_of
from runtime.distributed.portion import Portion
from runtime.errors import TrainingError
from runtime.learner import Learner
from runtime.metrics import History, Measure
from runtime.place import RunFile
from runtime.progress import display
from runtime.request import Request, check
from runtime.run import Run

CHECKPOINT = "checkpoint.safetensors"
TESTED = 4  # training batches at once: a forward pass alone keeps no activations, so that more of them take no more memory


def fit(
    learner: Learner,
    optimizer: Optimizer,
    train: Samples,
    *,
    epochs: int,
    test: Samples | None = None,
    batch_size: int = 32,
    seed: int = 0,
    scheduler: LRScheduler | None = None,
    clip_norm: float | None = None,
    measure: Measure | None = None,
    measure_start: bool = False,
    folder: Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a learner.

    With a folder the run is kept there: ``metrics.csv``, ``tensorboard/`` where TensorBoard is installed, and
    ``checkpoint.safetensors``, written at the start, at every epoch's end (or every ``checkpoint_every`` steps) and where
    Ctrl-C or SIGTERM stops the run, always behind a whole step; ``checkpoint.previous.safetensors`` is the one before it. A folder
    is one run's at a time. With ``resume`` the run goes on from its checkpoint as if it had not been stopped: the same bits, given
    the same data, arguments and number of threads. Learning rates and other settings of optimiser and scheduler come from the
    checkpoint; only ``epochs``, ``test``, ``clip_norm``, ``measure`` and what is shown or written may be others.
    SIGTERM, where nobody else handles it, ends the process with code 143 (``runtime.interruption.Terminated``).
    Its learner alone is ``runtime.place.read_run(folder / "checkpoint.safetensors")["learner"]``, a state dict.

    Where the learner was compiled with a world, each of its processes calls this with the same arguments and takes its share of
    every batch; ``batch_size`` is that of all together, and the first process writes and shows. Each one's generators are seeded
    from ``seed`` and its rank. Ctrl-C and SIGTERM stop all of them behind one step, and a run goes on in any number of processes.

    A DataLoader is taken as it is: to resume in the middle of an epoch, it loads the batches before the place once more.
    What ``train`` draws from global generators or its own comes back; random states that only worker processes know
    (``persistent_workers=True``), or a sampler or data set hides, do not, so that runs with random augmentation in them are
    not the same to the bit. ``seed`` orders the batches of a Split or Dataset; dropout draws from the global generator
    (``torch.manual_seed``). To several processes it gives each its own batches, as many as to the others.

    Arguments:
        optimizer: over ``learner.parameters()``, or some of them.
        train, test: a ``Split`` or map-style ``Dataset`` of ``(x, y)``, in batches of ``batch_size``, the last of which may be
            smaller (``test`` in four times as large ones); or a ``DataLoader`` of such batches. ``x`` is ``[N, ...]`` or a tuple or
            dict of arguments.
        epochs: of the whole run, those before a resumption included.
        scheduler: stepped at each epoch's end, ``ReduceLROnPlateau`` with the loss on ``test``.
        clip_norm: the length to which all updates of a step together are cut, those of error synapses included.
        measure: called as ``measure(learner, epoch)`` behind every epoch (from 1), in training mode, and to leave the learner as
            it is; the numbers that it returns by name, if any, are kept in the history and in the checkpoint.
        measure_start: measure before the first step too, as epoch 0.
        checkpoint_every: in steps.
        progress: a bar on a terminal, a line an epoch elsewhere; or nothing.

    Every module is in training mode in steps and in evaluation mode on ``test``; afterwards the learner has the mode it came in.

    Raises:
        TrainingError: arguments that cannot be; a folder that holds a run already, or none to resume, or that another run is using.
        NonFiniteLoss: loss, update norm or parameters are no longer finite; the last good state is kept in the folder.
        CheckpointError: the checkpoint cannot be written, or is damaged or another run's.
        FileError: metrics cannot be written.
        InputError, LabelError, EdgeError: batches that the program cannot take.
        PeerLost, DivergedRanks: another process is gone, or holds something else.
    """
    folder = None if folder is None else Path(folder)
    request = Request(
        learner=learner, optimizer=optimizer, scheduler=scheduler, tested=test is not None, epochs=epochs, batch_size=batch_size, seed=seed,
        clip_norm=clip_norm, measure=measure, measure_start=measure_start, folder=folder, checkpoint_every=checkpoint_every, resume=resume,
        still=type(train) in (Split, TensorDataset),
    )  # fmt: skip
    check(request)
    peers = peers_of(learner.program.source.world)
    portion = Portion(peers.rank, peers.size)
    batches = batches_of(train, batch_size, seed, "train", portion)
    tests = None if test is None else batches_of(test, TESTED * batch_size, None, "test", portion)
    with nullcontext() if folder is None or not peers.first else claimed(folder):
        run = Run(request, batches, tests, None if folder is None else _file(folder, request, batches, peers))
        training = learner.training
        try:
            with run.interruption, run.guarded():
                run.begin()
                with display(progress and peers.first, epochs, batches.count, run.place.total) as shown:
                    run.train(shown)
        finally:
            run.close()
            learner.train(training)
    return run.history


def _file(folder: Path, request: Request, batches: Batches, peers: Peers) -> RunFile:
    path = folder / CHECKPOINT
    there = peers.by_first(path.exists)  # before the first one writes it
    refuse_begun(folder, there, request.resume)
    return RunFile(path, request.learner, request.optimizer, request.scheduler, batches, peers, request.seed)


def refuse_begun(folder: Path, there: bool, resume: bool, by: str = "resume=True", place: str = "folder") -> None:
    """Refuse to overwrite a run, or to go on with none.

    Arguments:
        there: whether ``folder`` has a checkpoint. ``by``, ``place``: what the caller's own caller says to resume, and for a folder.

    Raises:
        TrainingError: naming the folder and the way out.
    """
    if resume and not there:
        raise TrainingError(
            f"There is no run to resume in '{folder}': it has no {CHECKPOINT}. Check the {place}, or leave {by} out."
        )
    if there and not resume:
        raise TrainingError(
            f"There is a run in '{folder}' already, which a new one would overwrite. Go on with it by {by}, or choose another {place}."
        )
