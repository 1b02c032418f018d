"""Names of classes that could not be written into a bundle are refused before anything is trained."""

from pathlib import Path

import pytest

from mobilevit_core.data.class_names import check_class_names
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError
from tests.drawing import draw_folder


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["one"], "There are 1 class names: there must be 2 to 100,000"),
        (["a", " "], "A class name is empty"),
        (["a", "b" * 256], "is too long: 255 characters at most"),
        (["a", "b\tc"], r"'b\tc' has a character that can't be printed"),
        (["a", "caf\udce9"], r"'caf\udce9' has a character that can't be printed"),
        (["a", "b\u2028c"], "has a character that can't be printed"),
        (["b", "a", "b"], "The class name 'b' appears 2 times"),
    ],
)
def test_names_that_could_not_be_written_are_named(names: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        check_class_names(names)
    assert said in str(caught.value) and len(str(caught.value)) < 200


def test_names_of_every_script_pass() -> None:
    check_class_names(["向日葵", "<b>rose</b>", "می\u200cخک", "👩\u200d🌾", "a b, c", "=1+1", "b" * 255])


def test_a_folder_that_could_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", 3)
    (folder / "red").rename(folder / "red\n")
    with pytest.raises(UserError, match="has a character that can't be printed. Rename it"):
        load_dataset(str(folder))
    with pytest.raises(UserError, match="has over 1024 characters"):
        load_dataset("x" * 5000)
