"""Reads photos in processes of their own, which can be ended, for a server open to strangers.

A file that takes too long, needs too much memory or crashes the decoder costs its sender an answer, and
nobody else anything. The result is the one of `preprocess`, bit for bit.

Two lanes: ordinary photos are read side by side; one that is large or turns out slow is read again in a
lane of its own, one at a time, so that ordinary ones never wait behind it.
"""

import atexit
import os
import threading
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any

import numpy as np
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from mobilevit_core.errors import UserError
from mobilevit_core.images import worker
from mobilevit_core.images.photo_file import shown_name
from mobilevit_core.images.preprocessing import Prepared, ResizeRule, prepare, preprocess
from mobilevit_core.images.reading import PhotoSource

QUICK_WORKERS = 2
QUICK_SECONDS = 1.5  # then a photo changes to the slow lane
SLOW_SECONDS = 6.5  # together, no photo takes more than 8 s of work
SLOW_WAITING = 4  # photos in the slow lane; the next one is told to come again
MOST_SECONDS = 60  # that anybody waits, whatever happens
QUICK_TASKS = 1000  # photos until a worker of the quick lane is replaced, for its memory
UNABLE = "The server can't read photos at the moment. Try again in a minute."


class IsolatedReader:
    """Reads photos in other processes; safe to call from several threads.

    Attributes:
        quick: the lane of ordinary photos.
        slow: the lane of large and slow ones; its worker is replaced after each, which returns its memory.
    """

    def __init__(self) -> None:
        self.quick = Lane(QUICK_WORKERS, QUICK_SECONDS, QUICK_TASKS)
        self.slow = Lane(1, SLOW_SECONDS, 1)
        self._places = threading.BoundedSemaphore(SLOW_WAITING)

    def preprocess(self, photo: PhotoSource, rule: ResizeRule, name: str | None = None) -> np.ndarray:
        """As `preprocessing.preprocess`, in another process.

        Args:
            photo: anything that `read_photo` takes; arrays and Pillow images are decoded already and are
                resized here.
            rule: the bundle's resize rule.
            name: what to call the photo in an error.

        Returns:
            float32 (image_size, image_size, 3), RGB 0..255, whole numbers.

        Raises:
            UserError: as `read_photo`, and where the photo takes too long or ends the process.
        """
        if not isinstance(photo, str | bytes | os.PathLike):
            return preprocess(photo, rule, name)
        return self._read(photo, rule, name, False)[0].astype(np.float32)

    def prepare(self, photo: PhotoSource, rule: ResizeRule, name: str | None = None) -> Prepared:
        """As `preprocessing.prepare`, in another process; arguments and errors as `preprocess`.

        Returns:
            The input tensor, and the photo in a size to show.
        """
        if not isinstance(photo, str | bytes | os.PathLike):
            return prepare(photo, rule, name)
        tensor, shown = self._read(photo, rule, name, True)
        return Prepared(tensor.astype(np.float32), shown)

    def start(self) -> None:
        """Starts the quick lane's processes, so that the first photo doesn't wait for them."""
        self.quick.start()

    def close(self) -> None:
        """Ends the processes; what is being read gets no answer."""
        for lane in (self.quick, self.slow):
            lane.close()

    def _read(
        self, photo: str | bytes | os.PathLike[str], rule: ResizeRule, name: str | None, shown: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        if not isinstance(photo, bytes):
            name, photo = name or os.fspath(photo), os.path.abspath(photo)
        name = shown_name(name or "the photo")
        try:
            found = self.quick.run(worker.read, photo, rule, name, shown, True)
        except TimeoutError:
            found = None
        except (ProcessExpired, MemoryError):
            raise _fatal(name) from None
        return found if found is not None else self._read_slowly(photo, rule, name, shown)

    def _read_slowly(self, photo: str | bytes, rule: ResizeRule, name: str, shown: bool) -> Any:
        if not self._places.acquire(blocking=False):
            raise UserError(f"{name} has to wait: the server is busy with large photos. Try again soon.")
        try:
            return self.slow.run(worker.read, photo, rule, name, shown, False)
        except TimeoutError:
            raise UserError(f"{name} takes too long to decode. Save it as a smaller JPEG.") from None
        except (ProcessExpired, MemoryError):
            raise _fatal(name) from None
        finally:
            self._places.release()


def _fatal(name: str) -> UserError:
    return UserError(f"{name} stopped the decoder: it is damaged, or takes too much memory.")


class Lane:
    """A pool of worker processes with a limit on the time of each task.

    Args:
        workers: how many processes.
        seconds: that a task may take once a worker has begun it; then the worker is ended and replaced.
        max_tasks: after how many tasks a worker is replaced anyway.
    """

    def __init__(self, workers: int, seconds: float, max_tasks: int) -> None:
        self.seconds = seconds
        self._workers, self._max_tasks = workers, max_tasks
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None

    def run(self, function: Any, *arguments: Any) -> Any:
        """Runs a function of `worker` in one of the processes.

        Raises:
            TimeoutError: it took too long.
            ProcessExpired: the process ended over it.
            Exception: whatever the function raises.
        """
        for _ in range(2):
            pool = self._running()
            try:
                return _result(pool.schedule(function, arguments, timeout=self.seconds))
            except (BrokenProcessPool, RuntimeError):
                if pool.active:  # the pool is well, so it was the function
                    raise
                self._drop(pool)  # a worker ended between two tasks; a new pool answers
        raise UserError(UNABLE)

    def start(self) -> None:
        """Starts the processes without waiting for them."""
        for _ in range(2):
            pool = self._running()
            try:
                pool.schedule(worker.ready, timeout=MOST_SECONDS)
                return
            except RuntimeError:  # its processes were ended from outside; a new pool takes over
                self._drop(pool)

    def close(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._drop(self._pool)

    def _running(self) -> ProcessPool:
        with self._lock:
            if self._pool is None:
                try:
                    self._pool = ProcessPool(
                        self._workers, self._max_tasks, worker.start, context=worker.CONTEXT
                    )
                except OSError as error:  # no shared memory for the locks between processes
                    raise UserError(
                        f"Photos can't be read in processes of their own: {error}. On Linux that "
                        "needs a /dev/shm that can be written."
                    ) from error
            return self._pool

    def _drop(self, pool: ProcessPool) -> None:
        with self._lock:
            if self._pool is not pool:
                return
            self._pool = None
        pool.stop()
        pool.join()


def _result(future: ProcessFuture) -> Any:
    try:
        return future.result(MOST_SECONDS)
    except TimeoutError:
        if future.done():
            raise
        future.cancel()
        raise UserError(UNABLE) from None


@cache
def shared_reader() -> IsolatedReader:
    """The one reader of this process; its workers end with it."""
    reader = IsolatedReader()
    atexit.register(reader.close)
    return reader
