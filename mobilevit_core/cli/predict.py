"""The command that answers: predict."""

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mobilevit_core import messages
from mobilevit_core.cli.app import app, console, result
from mobilevit_core.cli.options import BundleArgument, FormatOption, JsonOption
from mobilevit_core.commands.predict import answer_table, find_photos, predictions
from mobilevit_core.errors import UserError
from mobilevit_core.inference.answer import Answer


@app.command()
def predict(
    bundle: BundleArgument,
    photos: Annotated[
        list[Path],
        typer.Argument(
            help='JPEG, PNG, WebP, HEIC or AVIF files, folders, patterns ("photos/*.jpg"), or CSV and '
            "Parquet files with a column path."
        ),
    ],
    format: FormatOption = None,
    top: Annotated[int, typer.Option(min=1, help="How many answers per photo.")] = 5,
    table: Annotated[
        Path | None,
        typer.Option("--csv", help="Write the answers into this CSV file, a row per photo as it comes."),
    ] = None,
    as_json: JsonOption = False,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Print one JSON object per photo as it comes.")
    ] = False,
    parquet: Annotated[
        Path | None,
        typer.Option(
            help="Write all answers into Parquet files in this folder, with several processes (Ray Data). "
            "Started again, the same command answers what is left."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for --parquet; default: one per processor.")
    ] = None,
) -> None:
    """The most probable classes of photos.

    Each answer is printed as it comes. A photo that can't be read is named on standard error; the others
    get their answers all the same, and the exit code is 2.

    Example: python -m mobilevit_core predict demo/weights holiday_photos --csv answers.csv
    """
    from mobilevit_core.inference.classifier import load_classifier

    if parquet:
        if table or as_json or json_lines:
            raise UserError("--parquet excludes --csv, --json and --json-lines. Choose one.")
        _to_parquet(bundle, photos, parquet, format, workers)
        return
    if workers:
        raise UserError("--workers needs --parquet.")
    if as_json and json_lines:
        raise UserError("--json and --json-lines are two forms of the same. Choose one.")
    files = find_photos(photos)
    classifier = load_classifier(bundle, format)
    collected: dict[str, Any] = {}
    problems: list[UserError] = []
    with contextlib.ExitStack() as stack:
        write_row = stack.enter_context(answer_table(table, top)) if table else None
        for photo, answer in predictions(classifier, files):
            if write_row:
                write_row(photo, answer)
            if isinstance(answer, UserError):
                problems.append(answer)
                if len(files) > 1:
                    messages.warn(str(answer))
            elif as_json:
                collected[str(photo)] = answer.to_json(top)
            elif json_lines:
                print(json.dumps({"photo": str(photo), **answer.to_json(top)}), flush=True)
            elif not table:
                _print_answer(photo, answer, top)
    if as_json:
        print(json.dumps({"format": classifier.format, "photos": collected}))
    _finish(len(files), problems, table)


def _to_parquet(
    bundle: str, photos: list[Path], folder: Path, format: str | None, workers: int | None
) -> None:
    from mobilevit_core.commands.predict_ray import predict_to_parquet

    count, unread = predict_to_parquet(bundle, find_photos(photos), folder, format, workers)
    messages.say(f"{count - unread:,} answers in {folder}")
    if unread:
        raise UserError(f"{unread:,} of {count:,} photos can't be read; the column error says why.")


def _print_answer(photo: Path, answer: Answer, top: int) -> None:
    none = "  (probably none of these)" if answer.unknown else ""
    result(f"{photo}{none}")
    for label, score in answer.top(top):
        console.print(f"  {score:7.2%}  {label}", markup=False)


def _finish(count: int, problems: list[UserError], table: Path | None) -> None:
    if table:
        messages.say(f"{count - len(problems):,} answers in {table}")
    if problems:
        if count == 1:
            raise problems[0]
        raise UserError(f"{len(problems):,} of {count:,} photos can't be read; they are named above.")
