"""Foreign text on the page: names out of a bundle or of a file are shown as they are, never as markup."""

from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def plain(text: str) -> str:
    """Text for Markdown or HTML that is shown letter by letter.

    Args:
        text: anything, such as a class name.

    Returns:
        The text with every sign but letters, digits and simple spaces as a character reference, which neither
        Markdown, nor HTML, nor TeX take for markup.
    """
    return "".join(sign if sign.isalnum() or sign == " " else f"&#{ord(sign)};" for sign in text)


def cell(value: Any) -> Any:
    """A value for a CSV file that no spreadsheet takes for a formula.

    Args:
        value: text, number or None.

    Returns:
        The value; text that begins like a formula gets an apostrophe in front.
    """
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA):
        return f"'{value}"
    return value
