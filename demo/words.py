"""What the page calls things: its title, the classes as people read them, and the facts that it shows.

The API keeps to the names in the manifest. A bundle of the five flowers is called by name; the words for any
other come from its class names.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import REPORT, REPORT_FIGURES, REPORT_PAGE
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.dataset import CROSS_VALIDATION
from mobilevit_core.files import read_json
from mobilevit_core.inference.latency import processor
from mobilevit_core.messages import counted

if TYPE_CHECKING:
    from demo.comparison import Comparison

FLOWERS = {  # the class -> one, several
    "dandelion": ("Dandelion", "dandelions"),
    "daisy": ("Daisy", "daisies"),
    "tulips": ("Tulip", "tulips"),
    "sunflowers": ("Sunflower", "sunflowers"),
    "roses": ("Rose", "roses"),
}
NUMBERS = "no one two three four five six seven eight nine ten eleven twelve".split()
SHOWN_CLASSES = 6  # that the title and the subtitle name
SMALL = "dynamic_int8"  # the usual small file


def is_flowers(manifest: Manifest) -> bool:
    """Whether the classes are flowers of tf_flowers, all of them by their names there."""
    return set(known(manifest)) <= set(FLOWERS)


def known(manifest: Manifest) -> list[str]:
    """The classes, without "none of these"."""
    return [name for name in manifest.class_names if name != manifest.other_class]


def display(name: str, manifest: Manifest) -> str:
    """A class as people read it."""
    if is_flowers(manifest) and name in FLOWERS:
        return FLOWERS[name][0]
    text = name.replace("_", " ").strip() or name
    return text[:1].upper() + text[1:]


def number(count: int) -> str:
    """A small number as a word."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def kind(manifest: Manifest) -> str:
    """What the classes are, with their number: "five flowers"."""
    count = len(known(manifest))
    return f"{number(count)} {'flower' if is_flowers(manifest) else 'kind'}{'s' if count != 1 else ''}"


def title(manifest: Manifest) -> str:
    """The page's title."""
    if is_flowers(manifest):
        return "Name that flower"
    names = [display(name, manifest) for name in known(manifest)]
    if len(names) > SHOWN_CLASSES:
        return f"What is it? One of {len(names)} kinds"
    return f"What is it? {_listed(names, 'or')}"


def subtitle(manifest: Manifest, bundle: Bundle) -> str:
    """One line: what it knows, how small it is, how often it is right."""
    name = small(bundle)
    parts = [f"Knows {kind(manifest)}", f"fits in {_size(bundle.size_bytes(name))}"]
    measured = manifest.measured
    if measured:
        first = next(iter(measured["formats"].values()))
        accuracy = measured["formats"].get(name, first)["accuracy"]
        crossed = measured["split"] == CROSS_VALIDATION
        kind_of = "photo" if crossed else "test photo" if measured["split"] == "test" else "validation photo"
        photos = counted(first["photos"], kind_of) + (" by cross-validation" if crossed else "")
        parts.append(f"right on {accuracy * 100:.0f} % of {photos}")
    return ", ".join(parts) + "."


def _size(number_of_bytes: int) -> str:
    if number_of_bytes < 100_000:
        return f"{number_of_bytes / 1e3:.0f} kB"
    return f"{number_of_bytes / 1e6:.1f} MB"


def small(bundle: Bundle) -> str:
    """The format that stands for "how small it is"."""
    return SMALL if SMALL in bundle.present else min(bundle.present, key=bundle.size_bytes)


def facts(comparison: "Comparison") -> dict[str, Any]:
    """Everything that the page's scripts need to know, for JSON: of the bundle, and of the server."""
    bundle = comparison.bundle
    return {
        **_facts(bundle, comparison.names),
        "server": True,
        "first": comparison.chosen_first(),
        "ready": comparison.ready(),
        "answering": comparison.default,
        "device_first": small(bundle),
        "explains": comparison.explains,
        "processor": processor(),
    }


def facts_without_server(bundle: Bundle) -> dict[str, Any]:
    """The same for a page whose every answer comes from the visitor's browser."""
    names = on_device(bundle)
    first = SMALL if SMALL in names else min(names, key=bundle.size_bytes)
    return {
        **_facts(bundle, names),
        "server": False,
        "first": [first],  # what is downloaded before the first answer
        "ready": names,
        "answering": first,
        "device_first": first,
        "explains": False,
        "recorded": _recorded(bundle),
    }


def on_device(bundle: Bundle) -> list[str]:
    """The formats that a browser runs."""
    return [name for name in bundle.intact if FORMATS[name].engine == "litert"]


def _facts(bundle: Bundle, names: Sequence[str]) -> dict[str, Any]:
    """What holds for the bundle wherever it runs; `names` are the formats that the page compares."""
    manifest = bundle.manifest
    return {
        "title": title(manifest),
        "tiles": tiles(bundle),
        "measured": manifest.measured is not None,
        "crossed": bool(manifest.measured and manifest.measured["split"] == CROSS_VALIDATION),
        "origins": manifest.origins(),
        "report": bundle.file(f"{REPORT}/{REPORT_PAGE}") is not None,
        "class_names": list(manifest.class_names),
        "display": {name: display(name, manifest) for name in manifest.class_names},
        "phrase": {name: _phrase(name, manifest) for name in manifest.class_names},
        "plural": {name: _plural(name, manifest) for name in manifest.class_names},
        "kind": kind(manifest),
        "knows": _knows(manifest),
        "thing": "flowers" if is_flowers(manifest) else "things",
        "other": manifest.other_class,
        "rejection": manifest.rejection.to_json() if manifest.rejection else None,
        "input": manifest.rule.to_json(),
        "formats": [
            {
                "name": name,
                "title": FORMATS[name].title,
                "engine": FORMATS[name].engine,
                "size_bytes": bundle.size_bytes(name),
            }
            for name in names
        ],
        "device": on_device(bundle),
    }


def tiles(bundle: Bundle) -> list[dict[str, str]]:
    """The figures that matter most: title, value, and one sentence of explanation each."""
    manifest, measured = bundle.manifest, bundle.manifest.measured
    rows = _accuracy_tiles(measured, manifest) if measured else []
    sizes = [bundle.size_bytes(name) / 1e6 for name in bundle.present]
    about = f"MobileViT-{manifest.variant.upper()}, {manifest.rule.image_size} px; by format."
    return [*rows, _tile("Size", f"{min(sizes):.1f} to {max(sizes):.1f} MB", about)]


def _tile(title: str, value: str, text: str) -> dict[str, str]:
    return {"title": title, "value": value, "text": text}


def _accuracy_tiles(measured: dict[str, Any], manifest: Manifest) -> list[dict[str, str]]:
    name, result = next(iter(measured["formats"].items()))
    shown = FORMATS[name].title if name in FORMATS else name
    low, high = result["interval_95"]
    crossed = measured["split"] == CROSS_VALIDATION
    of = measured["data"] + (" by cross-validation" if crossed else f", {measured['split']} split")
    text = f"of the {counted(result['photos'], 'photo')} of {of}, with {shown}; "
    text += f"95 % interval {low * 100:.1f} to {high * 100:.1f} %."
    rows = [_tile("Right", f"{result['accuracy'] * 100:.1f} %", text)]
    recalls = {label: row["recall"] for label, row in (result.get("per_class") or {}).items()}
    if recalls:
        weakest = min(recalls, key=lambda label: recalls[label])
        text = "of the photos of this class are found; it is the weakest."
        rows.append(_tile(f"Weakest: {display(weakest, manifest)}", f"{recalls[weakest] * 100:.0f} %", text))
    return rows + _rejection_tile(result, measured, manifest)


def _rejection_tile(
    result: dict[str, Any], measured: dict[str, Any], manifest: Manifest
) -> list[dict[str, str]]:
    """How many photos of anything else are rejected: of all sources together, as in the report."""
    if not (rule := manifest.rejection):
        return []
    share = f"{rule.false_rejection_rate * 100:.1f} %"
    mistakes = "of the photos that do show one are rejected by mistake."
    if hardest := _hardest(manifest):
        sources = measured["rejection"]
        photos = sum(row["photos"] for row in sources.values())
        rate = sum(row["detection_rate"] * row["photos"] for row in sources.values()) / photos
        names = ", ".join(name.replace("_", " ") for name in sources)
        rest = f" ({names}). The rest get a wrong name, most often {hardest}"
    elif other := result.get("other"):
        photos, rate, rest = other["photos"], other["detection_rate"], ", the rest get a wrong name"
    else:
        return [_tile("Rejected by mistake", share, mistakes)]
    text = f"of {counted(photos, 'photo')} of other things are rejected{rest}. And {share} {mistakes}"
    return [_tile("None of these", f"{rate * 100:.0f} %", text)]


def _hardest(manifest: Manifest) -> str:
    """Which photos of anything else get a name most often, and how often; "" where nobody measured it."""
    sources = (manifest.measured or {}).get("rejection")
    if not sources:
        return ""
    name = min(sources, key=lambda name: sources[name]["detection_rate"])
    return f"{100 - sources[name]['detection_rate'] * 100:.0f} % of {name.replace('_', ' ')}"


def _phrase(name: str, manifest: Manifest) -> str:
    """What comes after "looks most like"."""
    shown = display(name, manifest)
    if not is_flowers(manifest):
        return f"\N{LEFT DOUBLE QUOTATION MARK}{shown}\N{RIGHT DOUBLE QUOTATION MARK}"
    return f"{'an' if shown[0] in 'AEIOU' else 'a'} {shown.lower()}"


def _plural(name: str, manifest: Manifest) -> str:
    flowers = is_flowers(manifest) and name in FLOWERS
    return FLOWERS[name][1] if flowers else display(name, manifest).lower()


def _knows(manifest: Manifest) -> str:
    names = [display(name, manifest) for name in known(manifest)]
    if len(names) > 2 * SHOWN_CLASSES:
        text = f"It knows {len(names)} kinds and nothing else"
    else:
        text = f"It knows {_listed([names[0].lower(), *names[1:]], 'and')}, and nothing else"
    return f"{text}: {hardest} get a wrong name." if (hardest := _hardest(manifest)) else f"{text}."


def _listed(names: Sequence[str], word: str) -> str:
    rest = [name[:1].lower() + name[1:] for name in names[1:]]
    words = [*names[:1], *rest]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {word} {words[-1]}"


def _recorded(bundle: Bundle) -> dict[str, Any] | None:
    """What the report measured, and where, for a page that has no server; None without a report."""
    where, fastest = _reported(bundle)
    rows = [
        {
            "name": name,
            "title": FORMATS[name].title,
            "p50": p50,
            "p95": p95,
            "size_bytes": bundle.size_bytes(name),
        }
        for name, (p50, p95) in fastest.items()
        if name in bundle.present
    ]
    return {"where": where, "rows": rows} if rows else None


def _reported(bundle: Bundle) -> tuple[str, dict[str, tuple[float, float]]]:
    """The processor of the bundle's report, and format -> p50 and p95 with the best number of threads."""
    path = bundle.file(f"{REPORT}/{REPORT_FIGURES}")
    try:
        compared = read_json(path)["figures"]["comparison"] if path else {}
        fastest = {
            name: min((float(t["p50"]), float(t["p95"])) for t in row["latency_ms"].values())
            for name, row in compared["rows"].items()
        }
        return str(compared["processor"]), fastest
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "", {}  # no report, or one of other content: nothing is claimed
