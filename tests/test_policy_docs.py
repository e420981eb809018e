"""docs/policy.md says of PPO what the code does: every setting with its default, every limit."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from policy import alarm
from policy.alarm import Limits
from policy.config import PPOConfig

PAGE = (Path(__file__).parents[1] / "docs" / "policy.md").read_text("utf-8")


def _section(title: str) -> str:
    found: str = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return found


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return f"`{value}`"
    return f"{value:.6f}".rstrip("0").rstrip(".")


def test_every_setting_stands_there_with_its_default_and_a_reason() -> None:
    documented: dict[str, str] = {}
    for row in re.findall(r"^\| (`.+?) \| (.+?) \| (.+) \|$", _section("Defaults"), re.MULTILINE):
        names, defaults, reason = re.findall(r"`(\w+)`", row[0]), row[1].split(", "), row[2]
        assert len(reason) > 15, row
        if len(defaults) == 1:
            defaults *= len(names)
        documented.update(zip(names, defaults, strict=True))
    config = PPOConfig()
    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "stop"}
    assert documented.keys() == settings.keys()
    for name, value in settings.items():
        said = documented[name]
        if isinstance(value, float) and not said.startswith("`"):
            assert float(said) == value, name
        else:
            assert said == _shown(value), name


#: The alarm's rules, by what their rows are called.
RULES = {"judges": "_judges", "judges for KL": "_judges_stall", "reward for KL": "_wasted_kl",
         "repeated 3-grams": "_repetition", "repeated tokens": "_token_repetition",
         "KL a token": "_kl", "entropy": "_entropy", "reward models' spread": "_spread",
         "length": "_length", "perplexity under the reference": "_perplexity"}


def test_every_rule_of_the_alarm_has_a_row() -> None:
    rows = re.findall(r"^\| (.+?) \| .+ \|$", _section("The alarm"), re.MULTILINE)
    assert rows == ["signal", *RULES]
    assert list(RULES.values()) == [
        rule.__name__ for rule in (*alarm._OPINIONS, *alarm._REPEATS, *alarm._LOOKS)]
    assert len(alarm._OPINIONS) == 3  # "all but the first three"


@pytest.mark.parametrize(("words", "name"), [
    ("above 0.45 of the beginning's entropy", "kl_share"),
    ("more than 0.15 above", "repetition_rise"),
    ("more than 0.06 above", "token_repetition_rise"),
    ("more than 0.03 of it within", "token_repetition_pace"),
    ("more than 0.2 above", "token_repetition_most"),
    ("less than 0.57 of it", "judge_share"),
    ("a reward above 0.3", "judged_gain"),
    ("more than 1.05 of", "judged_whole"),
    ("more than 0.7 of", "judged_most"),
    ("above 1.8 times the beginning's", "spread_factor"),
    ("above 2.5 times the beginning's", "perplexity_factor")])
def test_the_alarms_limits_are_those_of_the_code(words: str, name: str) -> None:
    assert words in _section("The alarm")
    number = re.search(r"\d+\.\d+", words)
    assert number is not None and float(number[0]) == getattr(Limits(), name)


def test_what_the_alarm_says_in_words_is_what_it_does() -> None:
    limits, text = Limits(), " ".join(_section("The alarm").split())
    assert (limits.patience, limits.beginning, limits.window, limits.pace_steps) == (2, 3, 3, 5)
    assert "the last five steps" in text
    assert "two steps in a row" in text and "first three steps" in text
    assert limits.entropy_share == 0.5 and "below half of the beginning's" in text
    assert limits.length_factor == 2.0 and "twice or half the beginning's" in text
    assert limits.kl_growth == 1.0 and limits.gain_share == 0.1 and "less than a tenth" in text
