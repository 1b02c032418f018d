"""What a bundle can become on the Hub: one table for the command line, the upload and the tests."""

from dataclasses import dataclass

from mobilevit_core.bundle.files import HISTORY, MANIFEST, REPORT, SEEN
from mobilevit_core.bundle.weight_formats import FORMATS

KERAS_FOLDER = ("config.json", "metadata.json", "model.weights.h5")  # a .keras file, unpacked
EMPTY = frozenset((".gitattributes", "README.md"))  # what the Hub itself puts into a new repository


@dataclass(frozen=True)
class Target:
    """One kind of repository.

    Attributes:
        title: for messages.
        repo_type: the Hub's word, "model" or "space".
        sdk: of a Space, None for a model.
        manifest: where the bundle's manifest is in it; by this file a repository of ours is known.
        own: patterns of the files that an upload may replace or delete; anything else there stays.
        needs: what the Hub asks for it, a sentence.
    """

    title: str
    repo_type: str
    sdk: str | None
    manifest: str
    own: tuple[str, ...]
    needs: str

    def is_ours(self, names: set[str], sdk: str | None) -> bool:
        """Whether a repository with these files may be written to.

        Args:
            names: of all its files.
            sdk: of a Space.
        """
        return self.sdk == sdk and (names <= EMPTY or self.manifest in names)

    def address(self, endpoint: str, repository: str) -> str:
        """Where people find it."""
        return f"{endpoint}/{'spaces/' if self.repo_type == 'space' else ''}{repository}"


TARGETS = {
    "model": Target(
        "model repository",
        "model",
        None,
        MANIFEST,
        (MANIFEST, HISTORY, SEEN, f"{REPORT}/*", *KERAS_FOLDER, *(fmt.file for fmt in FORMATS.values())),
        "Free.",
    ),
    "static": Target(
        "static Space",
        "space",
        "static",
        f"bundle/{MANIFEST}",
        (
            "index.html",
            "thumbnail.png",
            ".nojekyll",
            *(f"{n}/*" for n in "bundle device examples report web".split()),
        ),
        "Free; the network runs on the visitors' own devices.",
    ),
    "gradio": Target(
        "Gradio Space",
        "space",
        "gradio",
        f"demo/weights/{MANIFEST}",
        (
            "app.py",
            "Dockerfile",
            "LICENSE",
            "requirements.txt",
            "thumbnail.png",
            "demo/*",
            "mobilevit_core/*",
        ),
        "New Gradio Spaces need a paid plan of the Hub (PRO, Team or Enterprise). The hardware cpu-basic is "
        "enough; ZeroGPU is for PyTorch and of no use here.",
    ),
}
