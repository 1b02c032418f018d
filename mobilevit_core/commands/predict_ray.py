"""`predict --parquet`: very many photos, answered by workers of Ray Data on one or many machines.

The workers send rows of paths and numbers; this process alone writes them.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from mobilevit_core import hub
from mobilevit_core.commands.answer_folder import SCHEMA, AnswerFolder, answer_row, answers_digest
from mobilevit_core.errors import UserError
from mobilevit_core.inference.classifier import load_classifier

BATCH = 32  # photos that a worker takes at a time
RETRIES = 3  # of a batch whose worker died
OBJECT_STORE_BYTES = 200 * 2**20  # shared memory; only paths and answers are in it
# Read by Ray when it starts. What the person has set in the environment is respected.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
ADDRESS = "RAY_ADDRESS"


def predict_to_parquet(
    source: str | os.PathLike[str],
    photos: Sequence[Path],
    folder: Path,
    format: str | None = None,
    workers: int | None = None,
) -> tuple[int, int]:
    """Answers the photos that a folder of Parquet files does not hold yet.

    The workers run on this machine, or on the cluster that the environment variable RAY_ADDRESS names. There,
    every machine needs this package, and the bundle and the photos under the same paths.

    Args:
        source: the bundle, as in `load_classifier`.
        photos: files.
        folder: where the answers are, see `answer_folder`.
        format: weight format, as in `load_classifier`.
        workers: processes with one interpreter each; default: one per processor.

    Returns:
        Rows in the folder, and how many of them are photos that could not be read.

    Raises:
        UserError: the folder is not free for this bundle, or Ray can't be started, or a worker failed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray  # noqa: F401 (here, so that nothing is written if it is missing)

    source = str(source) if hub.is_address(source) else os.path.abspath(source)
    classifier = load_classifier(source, format, threads=1)
    answers = AnswerFolder(folder)
    with answers.claimed(classifier):
        left = answers.left(photos)
        if left:
            bundle = (source, classifier.format, answers_digest(classifier))
            with _ray_running(workers) as count:
                answers.write(_answers(left, bundle, count), len(left))
        return answers.counts()


class Worker:
    """One interpreter with one thread, in a process of Ray.

    Args:
        source: the bundle, as in `load_classifier`.
        format: weight format.
        digest: `answers_digest` where the command was started.
    """

    def __init__(self, source: str, format: str, digest: str) -> None:
        self._classifier = load_classifier(source, format, threads=1)
        if answers_digest(self._classifier) != digest:
            raise UserError(f"{source} is another bundle on a worker's machine.")

    def __call__(self, batch: pa.Table) -> pa.Table:
        """From a table with the column `path`, as bytes, to rows of `answer_folder.SCHEMA`."""
        paths = [os.fsdecode(path) for path in batch["path"].to_pylist()]
        for folder in {os.path.dirname(path) for path in paths}:
            if not os.path.isdir(folder):  # else a forgotten mount would give thousands of rows of errors
                raise UserError(f"{folder} is not there on a worker's machine; the photos must be.")
        rows = [answer_row(self._classifier, path) for path in paths]
        return pa.Table.from_pylist(rows, SCHEMA)


def _answers(paths: list[str], bundle: tuple[str, str, str], workers: int) -> Iterator[pa.Table]:
    import ray.data

    items = [{"path": os.fsencode(path)} for path in paths]
    dataset = ray.data.from_items(items, override_num_blocks=-(-len(items) // BATCH))
    answered = dataset.map_batches(
        Worker,
        fn_constructor_args=bundle,
        batch_size=BATCH,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=1,
        max_task_retries=RETRIES,
    )
    return answered.iter_batches(batch_size=None, batch_format="pyarrow")


@contextmanager
def _ray_running(workers: int | None) -> Iterator[int]:
    """Starts Ray or connects to its cluster, yields the number of workers, and ends it."""
    import ray
    import ray.data

    address = os.environ.get(ADDRESS)
    own = {  # by itself it lets nobody in who lacks the token in ~/.ray
        "address": "local",
        "num_cpus": workers,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **({} if address else own))
    except Exception as error:  # Ray has no class of its own for this
        what = f"can't be reached at {ADDRESS}={address}" if address else "can't be started here"
        raise UserError(f"Ray {what}: {error}") from error
    # Ray has no other way yet to say `max_task_retries`.
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        yield workers or int(ray.cluster_resources()["CPU"])
    except ray.exceptions.RayError as error:
        cause = str(getattr(error, "cause", error)).strip()
        first = next(iter(cause.splitlines()), type(error).__name__)
        raise UserError(f"A worker failed: {first}") from error
    finally:
        ray.shutdown()
