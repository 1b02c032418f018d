"""requirements.txt, constraints.txt and the audit in .ci agree with each other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
VULNERABLE = {"name": "h11", "version": "0.14", "vulns": [{"id": "CVE-2025-43859", "fix_versions": ["0.16"]}]}
SOUND = {"name": "h11", "version": "0.16", "vulns": []}
UNKNOWN = {"name": "h11", "skip_reason": "not found"}


def requirements(name: str) -> dict[str, Requirement]:
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("-r")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def test_the_locked_versions_are_allowed_and_complete() -> None:
    locked = requirements("constraints.txt")
    for name, requirement in requirements("requirements.txt").items():
        (version,) = (specifier.version for specifier in locked[name].specifier)
        assert requirement.specifier.contains(version), name
    assert all(str(requirement.specifier).startswith("==") for requirement in locked.values())


def test_ray_is_an_extra_alone() -> None:
    ray = requirements("requirements-bulk.txt")["ray"]
    assert {specifier.operator for specifier in ray.specifier} == {">=", "<"}
    for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt"):
        assert "ray" not in requirements(name)


@pytest.mark.parametrize("extra", ["bulk", "machines", "onnx"])
def test_what_the_readme_offers_is_installed_for_the_tests(extra: str) -> None:
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    assert f"-r requirements-{extra}.txt" in [line.partition("#")[0].strip() for line in lines]


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line for Unix")
@pytest.mark.parametrize(
    ("printed", "code", "said"),
    [
        (json.dumps({"dependencies": [VULNERABLE, UNKNOWN]}), 1, "h11 0.14: CVE-2025-43859, fixed in 0.16"),
        (json.dumps({"dependencies": [SOUND, UNKNOWN]}), 0, "1 of 2 packages audited, none is vulnerable"),
        (
            json.dumps({"dependencies": [UNKNOWN]}),
            0,
            "pip-audit skipped: it has no data about any",
        ),
        ("", 0, "pip-audit skipped: no network"),
        ("{", 0, "pip-audit skipped: no network"),
    ],
)
def test_the_audit_fails_for_vulnerabilities_alone(
    printed: str, code: int, said: str, tmp_path: Path
) -> None:
    """With a stand-in for pip-audit, which ends with 1 for a vulnerability as for a missing network."""
    stand_in = tmp_path / "pip-audit"
    lines = ["import sys", f"print({printed!r})", "print('no network', file=sys.stderr)", "sys.exit(1)"]
    stand_in.write_text("\n".join([f"#!{sys.executable}", *lines]))
    stand_in.chmod(0o755)
    command = [sys.executable, ROOT / ".ci" / "audit", stand_in, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "") and said in done.stdout
