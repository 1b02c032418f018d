"""Reading in other processes: the same pixels, no waiting for a neighbour, and a clear end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from mobilevit_core.errors import UserError
from mobilevit_core.images import isolated, worker
from mobilevit_core.images.isolated import IsolatedReader, Lane
from mobilevit_core.images.preprocessing import ResizeRule, prepare, preprocess
from tests.drawing import draw_photo
from tests.hostile import raw

RULE = ResizeRule(64, "center_crop", 0.875)


@pytest.fixture(scope="module")
def reader() -> Iterator[IsolatedReader]:
    reader = IsolatedReader()
    yield reader
    reader.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    draw_photo((200, 60, 40), seed=1, size=(700, 530)).save(path)
    return path


def test_the_tensor_and_the_shown_picture_are_the_same(reader: IsolatedReader, photo: Path) -> None:
    expected = prepare(photo, RULE)
    for source in (photo, str(photo), photo.read_bytes(), draw_photo((1, 2, 3), 1)):
        tensor = reader.preprocess(source, RULE)
        assert tensor.dtype == np.float32 and np.array_equal(tensor, preprocess(source, RULE))
    prepared = reader.prepare(photo, RULE)
    assert np.array_equal(prepared.tensor, expected.tensor)
    assert np.array_equal(prepared.shown, expected.shown) and prepared.shown.shape == (480, 634, 3)


def test_ordinary_photos_do_not_wait_for_slow_ones(reader: IsolatedReader, photo: Path) -> None:
    slow = raw.png(10_900, 10_900, 0, 16)
    reader.preprocess(photo, RULE)
    reader.slow.run(worker.ready)
    ended: list[float] = []

    def read_slow() -> None:
        try:
            reader.preprocess(slow, RULE, "slow.png")
        except UserError:
            pass
        ended.append(time.perf_counter())

    thread = threading.Thread(target=read_slow)
    thread.start()
    time.sleep(0.3)
    for _ in range(5):
        reader.preprocess(photo, RULE)
    answered = time.perf_counter()
    thread.join()
    assert answered < ended[0]


def test_what_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = IsolatedReader()
    reader.slow.seconds = 0.5
    slow = raw.png(10_900, 10_900, 0, 16)
    try:
        start = time.perf_counter()
        with pytest.raises(UserError, match="slow.png takes too long to decode"):
            reader.preprocess(slow, RULE, "slow.png")
        assert time.perf_counter() - start < 10
    finally:
        reader.close()


def test_too_many_slow_photos_are_told_to_come_again(
    reader: IsolatedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_places", threading.BoundedSemaphore(1))
    reader._places.acquire()
    with pytest.raises(UserError, match="big.png has to wait"):
        reader.preprocess(raw.png(5000, 5000, 0), RULE, "big.png")


def test_a_worker_that_dies_is_told_and_replaced(reader: IsolatedReader, photo: Path) -> None:
    expected = reader.preprocess(photo, RULE)
    with pytest.raises(isolated.ProcessExpired):
        reader.quick.run(os._exit, 3)
    assert np.array_equal(reader.preprocess(photo, RULE), expected)
    # Killed while idle, as the operating system does when memory runs out.
    workers = [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]
    for process in workers:
        process.kill()
    time.sleep(0.5)
    assert np.array_equal(reader.preprocess(photo, RULE), expected)


def test_a_decoder_that_dies_is_one_clear_message(
    reader: IsolatedReader, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def died(*arguments: object) -> None:
        raise isolated.ProcessExpired("Abnormal termination", code=-11)

    monkeypatch.setattr(reader.quick, "run", died)
    with pytest.raises(UserError, match="The photo stopped the decoder"):
        reader.preprocess(photo, RULE, "The photo")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to the limit on addresses")
def test_memory_of_a_worker_is_limited() -> None:
    lane = Lane(1, 20, 0)
    try:
        with pytest.raises(MemoryError):
            lane.run(bytearray, 2 * worker.ADDRESS_BYTES)
    finally:
        lane.close()


SERVER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs tests in the background
from mobilevit_core.images.isolated import shared_reader
from mobilevit_core.images.preprocessing import ResizeRule
reader = shared_reader()
print(reader.preprocess(sys.argv[1], ResizeRule(64)).shape, flush=True)
if sys.argv[2] == "wait":
    time.sleep(60)
"""  # without a guard for `__main__`: the workers must not run it again


@pytest.mark.parametrize("end", ["return", signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_server(end: signal.Signals | str, photo: Path, tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    waits = "go" if end == "return" else "wait"
    root = Path(isolated.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, str(script), str(photo), waits],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as server:
        assert server.stdout is not None and server.stdout.readline() == "(64, 64, 3)\n"
        children = psutil.Process(server.pid).children(recursive=True) if waits == "wait" else []
        if waits == "wait":
            assert len(children) >= 2
            server.send_signal(end)
        output, errors = server.communicate(timeout=30)
    assert output == "" and (end == signal.SIGINT or "Error" not in errors), errors
    gone, alive = psutil.wait_procs(children, timeout=10)
    for process in alive:
        process.kill()
    assert not alive
