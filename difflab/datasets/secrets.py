"""Secrets in texts as a user finds them: by the rules of detect-secrets, and mail addresses by their form."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

_MAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")


def secrets_in(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The secrets of each text, as they are written, in the order of their places.

    Each text is read as a file of Python, by all rules and filters that detect-secrets has by default. Nothing is sent
    anywhere: whether a key works is not asked.

    Args:
        texts: of any length; there may be none.

    Returns:
        The secrets of each; none twice.

    Reference:
        Keys by detect-secrets and mail addresses by their form, as in Chu et al. 2025 (CodeEraser), arXiv 2509.13755.
        Internet addresses, which it looks for, too, are left out: the filters of detect-secrets pass none.
    """
    # Imported here: it brings a client of the web, which nobody else needs.
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import default_settings

    found = list[tuple[str, ...]]()
    with tempfile.TemporaryDirectory() as folder, default_settings():
        path = Path(folder) / "text.py"
        for text in texts:
            path.write_text(text, "utf-8")
            words = {word for one in scan_file(str(path)) if (word := one.secret_value)} | set(_MAIL.findall(text))
            found.append(
                tuple(sorted((word for word in words if word in text), key=lambda word: (text.find(word), word)))
            )
    return found
