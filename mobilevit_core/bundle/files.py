"""The names of a bundle's files; those of the weights are in `weight_formats.FORMATS`."""

from mobilevit_core.data import provenance

MANIFEST = "bundle.json"
HISTORY = "history.csv"
SEEN = provenance.FILE
REPORT = "report"  # a folder
REPORT_PAGE, REPORT_FIGURES, REPORT_PHOTOS = "index.html", "report.json", "photos"  # in it
EXAMPLES, EXAMPLES_LIST = "examples", "examples.json"  # a folder, and the list in it
EXAMPLE_PHOTOS = tuple(f"{number}.jpg" for number in range(1, 7))

# Behind every .tflite file, as a zip.
LABELS = "labels.txt"
EMBEDDED_MANIFEST = "manifest.json"
