"""Takes the dependencies from the requirement files, so that no version is stated twice.

A heading such as `# [train] ...` begins an extra; what stands under `[run]` is always installed.
"""

import re
from pathlib import Path

from setuptools import setup

extras: dict[str, list[str]] = {}
for name in ("", "-bulk", "-dev", "-machines", "-onnx", "-teachers"):
    lines = Path(__file__).with_name(f"requirements{name}.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if heading := re.match(r"# \[(\w+)\]", line):
            extra = extras.setdefault(heading[1], [])
        elif requirement := line.partition("#")[0].strip():
            extra += [requirement] if not requirement.startswith("-") else []
run = extras.pop("run")
extras["demo"] += extras["train"]  # the page compares with Keras
extras["all"] = [*extras["demo"], *extras["dev"]]
setup(install_requires=run, extras_require=extras)
