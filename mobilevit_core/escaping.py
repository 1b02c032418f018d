"""Foreign text on pages: names out of a bundle are shown as they are, never as markup."""


def plain(text: str) -> str:
    """Text for Markdown or HTML that is shown letter by letter.

    Args:
        text: anything, such as a class name.

    Returns:
        The text with every sign but letters, digits and simple spaces as a character reference, which neither
        Markdown, nor HTML, nor TeX take for markup.
    """
    return "".join(sign if sign.isalnum() or sign == " " else f"&#{ord(sign)};" for sign in text)
