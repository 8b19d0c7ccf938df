"""Words of Dexcom's Clarity in its languages: limits in place of a number, and what an event was."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from metapulse.record.readers.columns import LONG, RAPID

#: Words for low and for high, one line a language, as patterns in lower case: gender and number of the word vary.
LIMITS = (
    ("lo|low", "hi|high"),
    ("niedrig|tief", "hoch"),
    ("bas|basse|faible", "haut|haute|élevée?"),
    ("baj[oa]|baix[oa]", "alt[oa]"),
    ("bass[oa]", "alt[oa]"),
    ("laag", "hoog"),
    ("låg|lågt", "hög|högt"),
    ("lav|lavt", "hø[jy]|hø[jy]t"),
    ("matala|alhainen", "korkea"),
    ("nisk(i|a|ie)", "wysok(i|a|ie)"),
    ("nízk(ý|á|é|y|a|e)", "vysok(ý|á|é|y|a|e)"),
    ("düşük", "yüksek"),
    ("alacsony", "magas"),
    ("niz(ek|ka|ko|ak)|nisk[ao]", "visok[ao]?"),
    ("scăzută?|scazuta?", "ridicată?|ridicata?|crescută?"),
    ("χαμηλ(ή|ό|ός|η|ο)", "υψηλ(ή|ό|ός|η|ο)"),
    ("низк(ий|ая|ое)", "высок(ий|ая|ое)"),
    ("низьк(ий|а|е)", "висок(ий|а|е)"),
    ("ниско|ниска|нисък", "високо|висока|висок"),
    ("נמוך|נמוכה", "גבוה|גבוהה"),
    ("منخفض|منخفضة", "مرتفع|مرتفعة"),
    ("低|偏低|过低|過低", "高|偏高|过高|過高"),
    ("低い|低値", "高い|高値"),
    ("낮음|저", "높음|고"),
    ("madal", "kõrge"),
    ("zem[sau]", "augst[sau]"),
    ("žema|žemas", "aukšta|aukštas"),
    ("rendah", "tinggi"),
    ("ต่ำ", "สูง"),
    ("thấp", "cao"),
)
#: What the subtypes of insulin are called in English, and patterns of their words in all languages; of exercise too.
INSULINS = (("fast-acting", RAPID), ("long-acting", LONG))
EFFORTS = (
    ("light", re.compile(r"\A(leicht|liger[oa]|leve|leggero|leggera|léger|légère|licht|let|lätt|lett|kevyt|lekki)\Z")),
    ("medium", re.compile(r"\A(mittel|medi[oa]|moderad[oa]|moderat[oa]?|moyen|moyenne|gemiddeld|middel|medel)\Z")),
    ("heavy", re.compile(r"\A(schwer|intens[oa]|fuerte|pesad[oa]|pesante|intense|zwaar|hård|hårt|tung)\Z")),
)
_LOW, _HIGH = (re.compile("|".join(words)) for words in zip(*LIMITS, strict=True))


def limit_of(text: str) -> str:
    """Which limit a word stands for: "low", "high", or "" for none. Letters with marks may come as two characters."""
    word = unicodedata.normalize("NFC", text.strip()).lower()
    return "low" if _LOW.fullmatch(word) else "high" if _HIGH.fullmatch(word) else ""


def subtype_of(text: str, known: Sequence[tuple[str, re.Pattern[str]]]) -> str | None:
    """The subtype of an event, in English where its word is known, else as it is; None for none.

    So an event is the same one in an export after the account's language was changed.

    Args:
        text: the cell.
        known: ``INSULINS`` or ``EFFORTS``.
    """
    word = unicodedata.normalize("NFC", text.strip()).lower()[:40]
    return next((english for english, words in known if words.search(word)), word or None)
