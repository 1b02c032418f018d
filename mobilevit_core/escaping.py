"""Foreign text on pages: names out of a bundle are shown as they are, never as markup."""

JOINERS = "\u200c\u200d"


def plain(text: str) -> str:
    """Text for Markdown or HTML that is shown letter by letter.

    Args:
        text: anything, such as a class name.

    Returns:
        The text with every sign but letters, digits and simple spaces as a character reference, which neither
        Markdown, nor HTML, nor TeX take for markup. What can't be printed, or turns letters about, is shown
        by its code, such as "\\u202e"; the joiners that some scripts and emoji need stay.
    """
    return "".join(_plain(sign) for sign in text)


def _plain(sign: str) -> str:
    if sign.isalnum() or sign == " ":
        return sign
    if sign.isprintable() or sign in JOINERS:
        return f"&#{ord(sign)};"
    return "".join(f"&#{ord(part)};" if part == "\\" else part for part in ascii(sign)[1:-1])
