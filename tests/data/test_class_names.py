"""Names of classes that could not be written into a bundle are refused before anything is trained."""

from pathlib import Path

import pytest

from mobilevit_core.data.class_names import check_class_names
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError
from mobilevit_core.escaping import plain
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
        (["a", "\ud800"], "has nothing that can be seen"),
        (["a", "\u200b"], r"The class name '\u200b' has nothing that can be seen"),
        (["a", " \u200d\u200c\ufeff\u2060\ufe0f "], "has nothing that can be seen"),
        (["a", "\u3164\u2800"], "has nothing that can be seen"),
        (["a", "gpj.\u202eexe"], r"'gpj.\u202eexe' has a character that can't be printed"),
        (["a", "\u2067b\u2069"], "has a character that can't be printed"),
        (["b", "a", "b"], "The class name 'b' appears 2 times"),
    ],
)
def test_names_that_could_not_be_written_are_named(names: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        check_class_names(names)
    assert said in str(caught.value) and len(str(caught.value)) < 200 and str(caught.value).isprintable()


def test_names_of_every_script_pass() -> None:
    check_class_names(["向日葵", "<b>rose</b>", "می\u200cخک", "👩\u200d🌾", "a b, c", "=1+1", "b" * 255])


def test_a_folder_that_could_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", 3)
    (folder / "red").rename(folder / "red\n")
    with pytest.raises(UserError, match="has a character that can't be printed. Rename it"):
        load_dataset(str(folder))
    with pytest.raises(UserError, match="has over 1024 characters"):
        load_dataset("x" * 5000)


def test_a_page_shows_what_turns_letters_about() -> None:
    assert plain("a\u202eb\ud800\x00") == "a&#92;u202eb&#92;ud800&#92;x00"
    assert plain("می\u200cخک <b> 向日葵") == "می&#8204;خک &#60;b&#62; 向日葵"
