"""Any text to the character, where a format keeps only plain ones: in JSON's quotes where it is not plain.

A cell of a CSV loses the blanks at its ends, and its line ends; FHIR allows no empty string.
"""

from __future__ import annotations

import json


def quoted(text: str) -> str:
    """The text itself if it is plain, else in JSON's quotes, all in ASCII."""
    plain = text.isprintable() and text and text == text.strip() and text[0] not in "\"'"
    return text if plain else json.dumps(text)


def unquoted(text: str) -> str:
    """The text that ``quoted`` was given; what is no JSON in quotes is taken as it is."""
    if not text.startswith('"'):
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _whole(found) if isinstance(found, str) else text


def _whole(text: str) -> str:
    """Without halves of characters, which no encoding can write."""
    return text.encode("utf-8", "replace").decode()
