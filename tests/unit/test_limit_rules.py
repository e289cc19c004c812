import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import SettingInvalid
from headrace.settings import LimitSettings, Rule, load_settings
from headrace.settings.rules import read_rules

NAMES = st.none() | st.text(min_size=1).filter(lambda name: "\x00" not in name)


def read(text: str) -> Rule:
    (rule,) = read_rules(text)
    return rule


@pytest.mark.parametrize(
    ("text", "rule", "name"),
    [
        ("20 requests/s", Rule(counted="requests", amount=20, period="s", burst=20, caller="*"), "requests"),
        ("0.5 requests/s", Rule(counted="requests", amount=0.5, period="s", burst=1, caller="*"), "requests"),
        (
            "1_000 tokens/s  burst=5000",
            Rule(counted="tokens", amount=1000, period="s", burst=5000, caller="*"),
            "tokens",
        ),
        ("8 concurrent", Rule(counted="concurrent", amount=8, caller="*"), "concurrent"),
        (
            "5 tokens/month tenant=acme",
            Rule(counted="tokens", amount=5, period="month", tenant="acme"),
            "tokens-month-tenant",
        ),
        (
            "5 requests/day model=* caller=key-1 tenant=*",
            Rule(counted="requests", amount=5, period="day", caller="key-1", tenant="*", model="*"),
            "requests-day-tenant-caller-model",
        ),
        ("1 concurrent caller='a; \"b\" c'", Rule(counted="concurrent", amount=1, caller='a; "b" c'), "concurrent"),
        ("1 concurrent caller=a=b#c", Rule(counted="concurrent", amount=1, caller="a=b#c"), "concurrent"),
    ],
)
def test_a_rule_is_read_as_it_is_meant(text: str, rule: Rule, name: str) -> None:
    assert read(text) == rule
    assert rule.name == name


@given(caller=NAMES, tenant=NAMES, model=NAMES)
def test_a_rule_is_written_as_it_is_read(caller: str | None, tenant: str | None, model: str | None) -> None:
    rule = Rule(
        counted="tokens",
        amount=1.5,
        period="s",
        burst=7,
        caller=caller or (None if tenant else "*"),
        tenant=tenant,
        model=model,
    )
    assert read(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("requests/s", "is no rule; write an amount"),
        ("-1 requests/s", "is no rule"),
        ("1e3 requests/s", "is no rule"),
        ("\u0661 requests/s", "is no rule"),
        ("1 bytes/s", "counts 'bytes'; what can be counted is requests, tokens, concurrent"),
        ("1 requests/hour", "counted per s, day or month"),
        ("1 requests", "counted per s, day or month"),
        ("1 concurrent/s", "counted per s, day or month"),
        ("0 requests/s", "from 0.001 to 1000000000"),
        ("0 concurrent", "a whole number from 1"),
        ("1.5 tokens/day", "a whole number from 1 to 1000000000000"),
        ("1000000000001 tokens/day", "a whole number from 1 to 1000000000000"),
        (f"{'9' * 400} tokens/day", "a whole number"),
        ("1 tokens/day burst=2", "which only what is counted per s can have"),
        ("1 tokens/s burst=0", "a burst that is not a whole number"),
        ("1 tokens/s burst=-1", "a burst that is not a whole number"),
        ("1 tokens/s burst=\u0661", "a burst that is not a whole number"),
        ("1 tokens/s burst=9999999999", "a burst that is not a whole number"),
        ("1 tokens/s burst", "each at most once"),
        ("1 tokens/s caller=", "each at most once"),
        ("1 tokens/s caller=a caller=b", "each at most once"),
        ("1 tokens/s key=a", "'key=a', which is none of burst=..., caller=..., tenant=..., model=..."),
        ("1 tokens/s caller='a", "a quote that has no end"),
        ("1 tokens/s; 2 tokens/s", "never holds"),
        ("1 tokens/s model=*; 2 tokens/s model=m", "never holds, since '1 tokens/s burst=1 model=*' comes before it"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(SettingInvalid, match=re.escape(told)) as caught:
        load_settings({"limits.rules": text})
    assert caught.value.field == "limits.rules"


@pytest.mark.parametrize("given", [5, [5], {"counted": "tokens"}, [["1 tokens/s"]], True])
def test_what_is_no_text_is_no_rule(given: object) -> None:
    with pytest.raises(SettingInvalid, match=r"limits\.rules"):
        load_settings({"limits.rules": given})


def test_rules_come_from_the_environment_from_a_file_and_from_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = read_rules("1 tokens/s; 2 concurrent")
    path = tmp_path / "headrace.toml"
    path.write_text("[limits]\nrules = ['1 tokens/s', '2 concurrent']\n", encoding="utf-8")
    assert load_settings(file=path).settings.limits.rules == rules
    path.write_text("[limits]\nrules = '''\n1 tokens/s;\n2 concurrent;\n'''\n", encoding="utf-8")
    assert load_settings(file=path).settings.limits.rules == rules
    monkeypatch.setenv("HEADRACE_LIMITS__RULES", ";1 tokens/s;;2 concurrent;")
    assert load_settings().settings.limits.rules == rules
    assert load_settings({"limits.rules": "3 concurrent"}).settings.limits.rules == read_rules("3 concurrent")


def test_the_simple_rate_is_the_last_rule_so_that_others_may_make_an_exception_of_it() -> None:
    limits = LimitSettings(requests_per_s=3, burst=9, rules="30 requests/s caller=vip")
    assert [str(rule) for rule in limits.all_rules] == [
        "30 requests/s burst=30 caller=vip",
        "3 requests/s burst=9",
    ]
    assert LimitSettings(requests_per_s=3).all_rules == read_rules("3 requests/s burst=64")
    assert LimitSettings().all_rules == ()


def test_a_rule_and_the_simple_rate_for_the_same_are_one_too_many() -> None:
    with pytest.raises(SettingInvalid, match="'3 requests/s burst=64' never holds, since '1 requests/s"):
        load_settings({"limits.requests_per_s": 3.0, "limits.rules": "1 requests/s"})


@pytest.mark.parametrize(
    ("text", "fits", "others"),
    [
        ("1 concurrent", [("a", "", "m"), ("b", "t", "n")], []),
        ("1 concurrent caller=a", [("a", "", "m"), ("a", "t", "m")], [("b", "", "m"), ("", "a", "a")]),
        ("1 concurrent tenant=t model=m", [("a", "t", "m")], [("a", "t", "n"), ("a", "", "m")]),
        ("1 concurrent tenant=* model=*", [("a", "t", "m"), ("a", "", "n")], []),
    ],
)
def test_a_rule_is_for_whom_it_names(
    text: str, fits: list[tuple[str, str, str]], others: list[tuple[str, str, str]]
) -> None:
    assert all(read(text).fits(*each) for each in fits)
    assert not any(read(text).fits(*each) for each in others)
