"""What Dexcom's Clarity writes in place of a number beyond the sensor's range, in its languages."""

from __future__ import annotations

import re
import unicodedata

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
_LOW, _HIGH = (re.compile("|".join(words)) for words in zip(*LIMITS, strict=True))


def limit_of(text: str) -> str:
    """Which limit a word stands for: "low", "high", or "" for none. Letters with marks may come as two characters."""
    word = unicodedata.normalize("NFC", text.strip()).lower()
    return "low" if _LOW.fullmatch(word) else "high" if _HIGH.fullmatch(word) else ""
