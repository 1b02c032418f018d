"""The names of a bundle's files; those of the weights are in `weight_formats.FORMATS`."""

from mobilevit_core.data.provenance import FILE as SEEN

MANIFEST = "bundle.json"
HISTORY = "history.csv"
REPORT = "report"  # a folder
REPORT_PAGE, REPORT_FIGURES, REPORT_PHOTOGRAPHS = "index.html", "report.json", "photographs"  # in it

# Behind every .tflite file, as a zip.
LABELS = "labels.txt"
EMBEDDED_MANIFEST = "manifest.json"

__all__ = [
    "EMBEDDED_MANIFEST",
    "HISTORY",
    "LABELS",
    "MANIFEST",
    "REPORT",
    "REPORT_FIGURES",
    "REPORT_PAGE",
    "REPORT_PHOTOGRAPHS",
    "SEEN",
]
