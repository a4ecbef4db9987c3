"""Real data for examples: tables that packages of the extra `data` carry, and vendored files that are checked.

Nothing is downloaded. Every function says where its data come from and under what licence they stand.
"""

import hashlib
import lzma
import re
import unicodedata
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tinyseq.backend import Array
from tinyseq.errors import ArgumentError

# Locales of Faker whose surnames stand in Latin letters, with the names that tables print
ORIGINS = {
    "cs_CZ": "Czech", "de_DE": "German", "en_GB": "English", "en_IN": "Indian", "en_KE": "Kenyan",
    "en_PK": "Pakistani", "es_ES": "Spanish", "et_EE": "Estonian", "fi_FI": "Finnish", "fr_DZ": "Algerian",
    "fr_FR": "French", "ga_IE": "Irish", "hr_HR": "Croatian", "id_ID": "Indonesian", "it_IT": "Italian",
    "lv_LV": "Latvian", "nl_NL": "Dutch", "sk_SK": "Slovak", "sv_SE": "Swedish", "zu_ZA": "Zulu",
}  # fmt: skip


def _package(module: str, install: str) -> Any:
    """Import a module of the extra `data`, or say how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ArgumentError(f'this needs the package {install}; pip install "tinyseq[data]"') from error


def verified(path: str | Path, sha256: str) -> bytes:
    """Return the bytes of a file, unpacked if its name ends in .xz, if they are the ones expected.

    Parameters
    ----------
    path
        The file.
    sha256
        The SHA-256 of the unpacked bytes, in hexadecimal.

    Raises
    ------
    ArgumentError
        If the file is not there or holds other bytes.
    """
    path = Path(path)
    try:
        found = path.read_bytes()
        content = lzma.decompress(found) if path.suffix == ".xz" else found
    except (OSError, lzma.LZMAError) as error:
        raise ArgumentError(f"cannot read {path}: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise ArgumentError(f"{path}: got bytes with SHA-256 {digest}, wanted {sha256}; restore the original file")
    return content


def weekly_co2() -> tuple[Array, Array]:
    """Return years (N,) and CO2 above Mauna Loa in ppm (N,), one value a week, 1958 to 2001.

    statsmodels' table `co2`, public domain: C. D. Keeling and T. P. Whorf, Scripps Institution of Oceanography. Weeks
    without a measurement are filled by straight lines.
    """
    series = _package("statsmodels.datasets", "statsmodels").co2.load_pandas().data["co2"].interpolate()
    return 1958 + (np.arange(len(series)) * 7 + 87) / 365.25, series.to_numpy(dtype=np.float64)


def yearly_sunspots() -> tuple[Array, Array]:
    """Return years (N,) and mean numbers of sunspots (N,), 1700 to 2008.

    statsmodels' table `sunspots`, public domain: National Geophysical Data Center.
    """
    table = _package("statsmodels.datasets", "statsmodels").sunspots.load_pandas().data
    return table["YEAR"].to_numpy(dtype=np.float64), table["SUNACTIVITY"].to_numpy(dtype=np.float64)


def plain_letters(text: str) -> str:
    """Return `text` in lower case, with accents taken off: "Ó Súilleabháin" to "o suilleabhain".

    >>> plain_letters("Þórðarson Łukasz Straße")
    'thordarson lukasz strasse'
    """
    table = {"ð": "d", "þ": "th", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ß": "ss"}
    text = "".join(table.get(c, c) for c in text.lower())
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def surnames() -> dict[str, list[str]]:
    """Return the different surnames of each of 20 origins, in plain letters: about 12,000 from the package Faker (MIT).

    A name may stand under several origins. Names with anything but letters, spaces, hyphens and apostrophes are left
    out. Origins and names are sorted.
    """
    found = {}
    for locale, origin in ORIGINS.items():
        names = _package(f"faker.providers.person.{locale}", "Faker").Provider.last_names
        plain = {plain_letters(name).replace("’", "'") for name in names}
        found[origin] = sorted(name for name in plain if re.fullmatch(r"[a-z][a-z' -]+", name))
    return dict(sorted(found.items()))


def pinyin_phrases() -> list[tuple[str, list[str]]]:
    """Return 47,000 phrases in Chinese characters with the pinyin of each character, from the package pypinyin (MIT).

    Phrases are sorted; of several readings of a phrase the first is taken.
    """
    phrases = _package("pypinyin.phrases_dict", "pypinyin").phrases_dict
    pairs = ((phrase, [readings[0] for readings in pinyin]) for phrase, pinyin in sorted(phrases.items()))
    return [(phrase, pinyin) for phrase, pinyin in pairs if len(phrase) == len(pinyin)]


def pronunciations(path: str | Path, sha256: str) -> list[tuple[str, list[str]]]:
    """Return words with their phonemes, without stress, from a verified file of the CMU Pronouncing Dictionary.

    A word's first pronunciation is taken; words with anything but the letters a to z are left out.
    """
    pairs = []
    for line in verified(path, sha256).decode("utf-8").splitlines():
        word, _, phonemes = line.partition("#")[0].strip().partition(" ")
        if re.fullmatch("[a-z]+", word):
            pairs.append((word, [re.sub(r"\d", "", p) for p in phonemes.split()]))
    return pairs


def utterances(path: str | Path, sha256: str) -> tuple[list[Array], Array]:
    """Return utterances, each (T, channels) in float32, and the speakers (N,) from 0, from a verified `.ts` file.

    Every line after the header is one utterance: its channels separated by colons, the values of each by commas, then
    the number of its speaker, from 1.
    """
    lines = [line for line in verified(path, sha256).decode("utf-8").splitlines() if line and line[0] not in "#@"]
    parts = [line.split(":") for line in lines]
    frames = [np.array([c.split(",") for c in channels], np.float32).T for *channels, _ in parts]
    return frames, np.array([int(speaker) for *_, speaker in parts]) - 1
