"""The texts of the accuracy gate: what users send, and what breaks tokenizers.

They are written for this purpose. Each has a label, which is what reports name.
"""

# ruff: noqa: RUF001 - letters of other scripts that look like Latin ones are the point here

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Probe(Generic[T]):
    """One text of the gate, or two that are read together."""

    label: str
    text: T


_SENTENCE: Final = "The mill race carries the river past the weir, under the road and on to the old wooden wheel. "

_QUESTION: Final = "Where does the water of the mill come from?"

_PROBES: Final = (
    Probe("empty", ""),
    Probe("space", " "),
    Probe("line breaks only", "\n\n\t\n"),
    Probe("one letter", "a"),
    Probe("one word", "headwater"),
    Probe("one mark", "?"),
    Probe("question", "How do I change the address of a parcel that is already on its way?"),
    Probe("statement", "The invoice for March was paid twice, so we returned the second amount on Friday."),
    Probe("negation", "The update did not fix the crash; it only made it rarer."),
    Probe("capitals", "PLEASE STOP SENDING ME LETTERS ABOUT THE WINTER SALE"),
    Probe("mixed case", "iPhone, eBay, McDonald, LaTeX and pH-neutral soap"),
    Probe("long word", "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft"),
    Probe("no spaces", "thequickbrownfoxjumpsoverthelazydogandkeepsrunninguntilitreachestheriver" * 2),
    Probe("hyphens", "a state-of-the-art, easy-to-use, well-thought-out, one-size-fits-all tool"),
    Probe("quotes", "“Don’t,” she said, ‘call it “finished”—it isn’t…’"),
    Probe("numbers", "0 1 -2 3.14159 1e-9 1,000,000 42nd 0x7fff 2026-11-23T14:29:46Z"),
    Probe("money", "Total: €1.299,00 (incl. 19 % VAT), i.e. about $1,412.50 or ¥211,000"),
    Probe("phone and mail", "Call +49 30 1234567 or write to first.last+tag@mail.example.org before 5 pm."),
    Probe("url", "https://example.org/a/b-c_d.html?q=water%20wheel&lang=en&page=2#section-3"),
    Probe("path", r"C:\Program Files\Mill\bin\wheel.exe and /usr/local/share/mill/wheel.conf"),
    Probe("python", "def flow(q: float, *, h: float = 2.5) -> float:\n    return 9.81 * q * h  # kW"),
    Probe("json", '{"id": 17, "tags": ["water", null, true], "size": {"w": 1.5e3, "h": -0.0}}'),
    Probe("html", '<p class="note">Open &amp; close the <b>sluice</b> gate</p><!-- slowly --><br/>'),
    Probe("sql", "SELECT name, COUNT(*) FROM wheels WHERE built < 1850 GROUP BY name HAVING COUNT(*) > 1;"),
    Probe("markdown", "# Title\n\n* one\n* **two**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n`code`"),
    Probe("special tokens", "[CLS] [SEP] [MASK] [PAD] <s> </s> <mask> <pad> <unk> ##ing ▁the"),
    Probe("german", "Größere Mühlen überstanden das Hochwasser, kleinere wurden über Nacht weggerissen."),
    Probe("french", "L’été dernier, la rivière était si basse que la roue n’a pas tourné pendant des semaines."),
    Probe("vietnamese", "Bánh xe nước quay chậm dần khi dòng suối cạn vào mùa khô."),
    Probe("turkish", "İstanbul’da IĞDIR ılık iğne; büyük-küçük harf farkı önemlidir."),
    Probe("russian", "Мельница стоит у реки уже двести лет, но колесо меняли трижды."),
    Probe("greek", "Ο μύλος γυρίζει με το νερό του ποταμού όλο τον χειμώνα."),
    Probe("arabic", "تدور الطاحونة بماء النهر طوال فصل الشتاء، ثم تتوقف في الصيف."),
    Probe("hebrew", "גלגל המים מסתובב לאט כשהנחל כמעט יבש."),
    Probe("devanagari", "पनचक्की नदी के पानी से चलती है और गाँव का आटा पीसती है।"),
    Probe("thai", "กังหันน้ำหมุนช้าลงเมื่อลำธารแห้งในฤดูร้อน"),
    Probe("chinese", "水车靠河水转动，冬天水多的时候转得最快。"),
    Probe("japanese", "水車は川の水で回り、冬には粉をひく音が村に響く。カタカナもある。"),
    Probe("korean", "물레방아는 강물로 돌아가며 겨울에 가장 빠르다."),
    Probe("mixed scripts", "The 水車 of Москва costs ₹500 في اليوم and ~3€ per heure"),
    Probe("emoji", "Great service 😀👍🏽 would come again 🎉❤️ 10/10"),
    Probe("joined emoji", "👨\u200d👩\u200d👧\u200d👦 🏳\ufe0f\u200d🌈 👩🏾\u200d🚀 🇩🇪🇫🇷 🧑\u200d💻"),
    Probe("combining accents", "e\u0301 a\u030a n\u0303 o\u0308 Z\u0351\u036b\u0343a\u0329\u034dl\u033bg\u031eo\u0321"),
    Probe("compatibility forms", "ﬁne ﬂow ① ½ ｆｕｌｌｗｉｄｔｈ ℃ ㎏ Ⅳ"),
    Probe("control characters", "one\x00two\x07three\x1b[31mred\x7f\u200bzero\u200dwidth\ufeffmark\u202eturned"),
    Probe("unusual spaces", "thin\u2009space\u00a0fixed\u3000wide\u2028line\u2029paragraph"),
    Probe("private and unassigned", "\ue000\uf8ff \U000e0041 \ufffd \U0010fffd"),
    Probe("repeated word", "water " * 40),
    Probe("repeated mark", "!" * 120),
    Probe("paragraph", _SENTENCE * 3),
)  # fmt: skip


def make_probes(max_tokens: int) -> tuple[Probe[str], ...]:
    """Return the probes for a window: the fixed texts, and some about as long as it and far over it.

    A word is at least one token, so ``max_tokens`` words are over any window.
    """
    words = _SENTENCE.split()
    return (
        *_PROBES,
        Probe("half the window", _words(words, max_tokens // 2)),
        Probe("near the window", _words(words, max_tokens - 3)),
        Probe("over the window", _words(words, max_tokens + 1)),
        Probe("far over the window", _words(words, 3 * max_tokens)),
        Probe("over the window, one word", "wheel " * max_tokens),
    )


def make_masked(max_tokens: int, mask: str) -> tuple[Probe[str], ...]:
    """Return the probes for a model that finds words for masks: each has one, which its window holds."""
    return (
        *(Probe(probe.label, f"{mask} {probe.text}") for probe in make_probes(max_tokens)),
        Probe("a mask alone", mask),
        Probe("a mask at the end", f"The mill stands by the {mask}"),
        Probe("a mask within a word", f"The head{mask} of the mill"),
        Probe("two masks together", f"The old {mask} {mask} carries water."),
        Probe("masks apart", f"The {mask} drives the {mask}, and the wheel drives the {mask}."),
    )


def make_pairs(max_tokens: int) -> tuple[Probe[tuple[str, str]], ...]:
    """Return the probes for a model that reads two texts: each with a question, and some whose first text is long."""
    words = _SENTENCE.split()
    half, over = _words(words, max_tokens // 2), _words(words, max_tokens + 1)
    return (
        *(Probe(probe.label, (_QUESTION, probe.text)) for probe in make_probes(max_tokens)),
        Probe("nothing and nothing", ("", "")),
        Probe("nothing and a text", ("", _SENTENCE)),
        Probe("a text and nothing", (_SENTENCE, "")),
        Probe("half the window and more", (half, over)),
        Probe("over the window and half", (over, half)),
        Probe("over the window twice", (over, over)),
        Probe("over the window and a word", (over, "mill")),
    )


def _words(words: list[str], count: int) -> str:
    return " ".join(words[index % len(words)] for index in range(max(count, 1)))
