"""What the command line gets from strangers beside photos: bundles, zip files, names of classes.

Each must be refused in one sentence, within seconds, with nothing written and nothing read of elsewhere.
"""

import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mobilevit_core.bundle.bundle import FILES, open_bundle
from mobilevit_core.commands.publish import publish
from mobilevit_core.data.archive import unpacked
from mobilevit_core.data.class_names import check_class_names
from mobilevit_core.errors import UserError
from mobilevit_core.inference.runtimes import load_keras

MOST_SECONDS = 20.0  # of the processor; most of it reads the directory of a zip file
MOST_CHARACTERS = 400
NAMES = ("\ud800", "\u200b\u200d", "\u3164", "gpj.\u202eexe", "\u2067b\u2069", "b\tc", "")
LICENCES = ("javascript:alert(1)", "data:text/html,x", "//example.org", "https://example.org/<b>")


@dataclass(frozen=True)
class Attempt:
    """One thing that must be refused.

    Attributes:
        name: for the table.
        make: writes it into a folder, given the shipped bundle's folder.
        use: what a person would do with it.
    """

    name: str
    make: Callable[[Path, Path], None]
    use: Callable[[Path], object]


def attempts() -> Iterator[Attempt]:
    """All of them."""
    yield from _links()
    yield from _manifests()
    yield from _archives()
    for name in NAMES:
        yield Attempt(
            f"class {ascii(name)}", lambda *_: None, lambda _, name=name: check_class_names(["a", name])
        )


def _links() -> Iterator[Attempt]:
    for name in (*FILES, "report", "report/photos"):
        target = "/etc" if name.startswith("report") and not Path(name).suffix else "/etc/passwd"
        for use in (open_bundle, _publish):

            def make(folder: Path, shipped: Path, name: str = name, target: str = target) -> None:
                shutil.copytree(shipped, folder, dirs_exist_ok=True)
                path = folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                path.symlink_to(target)

            yield Attempt(f"{use.__name__.strip('_')}, link {name}", make, use)


def _publish(folder: Path) -> None:
    publish(folder, "a/b", what=["model"], dry_run=folder.with_name("published"))


def _manifests() -> Iterator[Attempt]:
    keys = b"".join(b'"%d": 1,' % number for number in range(100_000))
    contents = {  # kind -> what is repeated, how often, and the end
        "100,000 keys": (b"{" + keys, 1, b'"99999": 2}'),
        "20 million lists": (b"[[],", 20_000_000, b""),
        "20 million objects": (b"[{},", 15_000_000, b""),
        "60 MB of keys": (b'{"a":1,', 9_000_000, b""),
        "too large": (b"  ", 64 * 2**20, b""),
    }
    for kind, (part, count, end) in contents.items():

        def make(
            folder: Path, shipped: Path, part: bytes = part, count: int = count, end: bytes = end
        ) -> None:
            shutil.copytree(shipped, folder, dirs_exist_ok=True)
            (folder / "bundle.json").write_bytes(part[:1] + part[1:] * count + end)

        yield Attempt(f"bundle.json, {kind}", make, open_bundle)
    for url in LICENCES:

        def make_licensed(folder: Path, shipped: Path, url: str = url) -> None:
            shutil.copytree(shipped, folder, dirs_exist_ok=True)
            manifest = json.loads((folder / "bundle.json").read_text())
            start = {"data": {"name": "x", "digest": ""}, "classes": 5, "licence": {"name": "x", "url": url}}
            (folder / "bundle.json").write_text(json.dumps({**manifest, "start": start}))

        yield Attempt(f"licence {url}", make_licensed, _publish)


def _archives() -> Iterator[Attempt]:
    def zipped(members: dict[str, bytes]) -> Callable[[Path, Path], None]:
        def make(folder: Path, _: Path) -> None:
            with zipfile.ZipFile(folder / "model.keras", "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in members.items():
                    archive.writestr(name, content)

        return make

    kinds = {
        "config.json": {"config.json": b" " * 400_000_000},
        "weights": {"model.weights.h5": bytes(80_000_000)},
        "long error": {
            "config.json": json.dumps({"class_name": "x" * 240_000}).encode(),
            "metadata.json": b"{}",
            "model.weights.h5": b"",
        },
    }
    for kind, members in kinds.items():
        yield Attempt(f".keras, {kind}", zipped(members), lambda folder: load_keras(folder / "model.keras"))
    empty = {f"{'a' if number % 2 else 'b'}/{number}.jpg": b"" for number in range(300_000)}
    yield Attempt("zip, 300,000 empty files", zipped(empty), lambda folder: unpacked(folder / "model.keras"))


def outcome(attempt: Attempt, folder: Path, shipped: Path) -> str | None:
    """Makes and uses one thing; returns what is wrong with how it was refused, None where nothing is.

    Args:
        attempt: the thing.
        folder: to write to; empty.
        shipped: folder of a sound bundle.
    """
    made = folder / "made"
    made.mkdir()
    attempt.make(made, shipped)
    start = time.process_time()
    try:
        attempt.use(made)
    except UserError as error:
        said = str(error).replace(str(folder), "")
        if not (10 < len(said) < MOST_CHARACTERS and said.isprintable()):
            return f"not one sentence: {ascii(said)[:200]}"
    except Exception as error:
        return f"failed: {ascii(error)[:200]}"
    else:
        return "was not refused"
    seconds = time.process_time() - start
    if seconds > MOST_SECONDS:
        return f"took {seconds:.0f} s"
    return None if [path.name for path in folder.iterdir()] == ["made"] else "something was written"
