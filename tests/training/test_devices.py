"""Two devices train as one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilevit_core.training.devices import open_strategy

ROOT = Path(__file__).parents[2]


def test_two_devices_give_the_loss_and_weights_of_one() -> None:
    command = [sys.executable, "-m", "tests.training.two_devices"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout)
    one, both = results["one"], results["all"]
    assert (one["replicas"], both["replicas"]) == (1, 2)
    for key in ("loss", "val_loss"):
        assert np.allclose(one[key], both[key], rtol=1e-4), key
    assert one["loss"][-1] < one["loss"][0] - 0.01  # it learned something
    assert np.allclose(one["weights"], both["weights"], atol=1e-4)
    assert one["checkpoint is restored"] and both["checkpoint is restored"]


def test_a_machine_with_one_device_uses_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert open_strategy("one") is None and capsys.readouterr().err == ""
    assert open_strategy("all") is None
    assert "one device only" in capsys.readouterr().err
