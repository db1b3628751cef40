"""Checks suggestions for typos: one slip gives the right word first, unrelated words give none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from recpolicy import schema
from recpolicy.errors import Diagnostic, PolicyError
from recpolicy.language import checker, parser
from recpolicy.language.parser.grammar import lalr
from recpolicy.span import Source
from recpolicy.types import UNITS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHOP = schema.load(HERE / "shop.toml")
HEADER = 'policy "example" {\n  language = 1\n  schema = "shop.toml"\n  slate = 10\n}\n'
RULE = "\nreward base weight 1 = ndcg(next_items)\n"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
KEYWORDS = frozenset(t.pattern.value for t in lalr().terminals if t.pattern.value.isalpha())
PHRASES = ("HISTORY", "BASELINE", "TRAINING", "PLACES", "ROW", "ABOVE", "HOLE")
DEFINING = ("LET", "PARAM", "REWARD", "BOOST", "BURY", "QUOTA", "BLOCK", "TARGET")
UNIT_WORDS = frozenset(word for unit in UNITS for word in (unit, f"{unit}s"))


@dataclass(frozen=True)
class Good:
    """A policy without findings."""

    name: str
    text: str
    schema: schema.Schema
    folder: Path

    def findings(self, text: str) -> tuple[Diagnostic, ...]:
        """What is found in another text in its place."""
        try:
            checker.check(parser.parse(Source(self.name, text)), self.schema, folder=self.folder)
        except PolicyError as error:
            return error.findings
        return ()


def corpus() -> Iterator[Good]:
    """The samples, the policies of `good/`, and the examples of the language reference."""
    for path in sorted([*ROOT.glob("policies/*.policy"), *HERE.glob("good/*.policy")]):
        loaded = checker.read(str(path))
        yield Good(path.stem, loaded.source.text, loaded.schema, path.parent)
    reference = (ROOT / "grammar" / "README.md").read_text("utf-8")
    for match in re.finditer(r"^```policy\n((?:.*\n)*?)```$", reference, re.MULTILINE):
        text = match[1] if match[1].startswith("policy") else HEADER + match[1]
        good = Good("reference", text + RULE, SHOP, HERE / "good")
        if not good.findings(good.text):
            yield good


@dataclass(frozen=True)
class Word:
    """A word that can be misspelt: where it stands in a policy, and what it is."""

    policy: Good
    kind: str
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.policy.text[self.start : self.end]


def words(policy: Good) -> Iterator[Word]:
    """The columns, functions, keywords, units and names of a policy, but for the names where they are defined."""
    lexemes = parser.lex(policy.text)
    defined: set[str] = set()
    for before, this, after in zip(lexemes, lexemes[1:], lexemes[2:], strict=False):
        kind, start = None, this.start
        if this.kind == "COLUMN" and "`" not in this.text:
            kind, start = "column", this.start + this.text.index(".") + 1
        elif this.kind == "NAME" and after.kind == "COLON":
            kind = "column"
        elif this.kind == "NAME" and after.kind == "LPAR":
            kind = "function"
        elif this.text in KEYWORDS or this.kind in PHRASES:
            kind = "keyword"
        elif this.kind == "UNIT":
            kind = "unit"
        elif this.kind == "NAME" and (before.kind in DEFINING or after.kind == "LSQB"):
            defined.add(this.text)
        elif this.kind == "NAME" and this.text in defined:
            kind = "name"
        if kind is not None:
            yield Word(policy, kind, start, this.end)


def slip(random: Random, word: str) -> str:
    """A word with one letter left out, put in, replaced, or swapped with the next."""
    at = random.randrange(len(word))
    match random.randrange(4):
        case 0:
            return word[:at] + word[at + 1 :]
        case 1:
            return word[:at] + random.choice(LETTERS) + word[at:]
        case 2:
            return word[:at] + random.choice(LETTERS) + word[at + 1 :]
        case _:
            return word[:at] + word[at : at + 2][::-1] + word[at + 2 :]


def misspelt(random: Random, by_kind: dict[str, list[Word]]) -> tuple[Word, str, tuple[Diagnostic, ...]]:
    """A slip that makes no other word of the language or the policy, and what is found then."""
    while True:
        word = random.choice(by_kind[random.choice(sorted(by_kind))])
        wrong = slip(random, word.text)
        policy = word.policy
        known = {lexeme.text.rpartition(".")[2] for lexeme in parser.lex(policy.text)}
        legal = known | KEYWORDS | UNIT_WORDS | {*policy.schema.item, *policy.schema.user}
        if wrong and wrong not in legal:
            found = policy.findings(policy.text[: word.start] + wrong + policy.text[word.end :])
            if found:
                return word, wrong, found


def is_right(word: Word, wrong: str, finding: Diagnostic) -> bool:
    """True where the finding says to write the word as it was."""
    text = word.policy.text[: word.start] + wrong + word.policy.text[word.end :]
    if finding.fix is not None:
        return text[: finding.span.start] + finding.fix + text[finding.span.end :] == word.policy.text
    suggested = re.search(r"did you mean `(?:\w+\.)?([^`]+)`\?", finding.help)
    return suggested is not None and suggested[1] == word.text


@pytest.fixture(scope="module")
def by_kind() -> dict[str, list[Word]]:
    found: dict[str, list[Word]] = {}
    for policy in corpus():
        for word in words(policy):
            found.setdefault(word.kind, []).append(word)
    return found


def test_corpus_covers_every_word_kind(by_kind: dict[str, list[Word]]) -> None:
    assert set(by_kind) == {"column", "function", "keyword", "unit", "name"}
    assert {word.text for word in by_kind["keyword"]} >= KEYWORDS - {"policy", "false", "true", "than"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_typo_fix_is_suggested_in_95_percent(by_kind: dict[str, list[Word]], seed: int) -> None:
    random = Random(seed)
    missed = []
    for _ in range(300):
        word, wrong, found = misspelt(random, by_kind)
        if not is_right(word, wrong, found[0]):
            missed.append(
                f"{word.policy.name}: {word.kind} `{word.text}` as `{wrong}`: {found[0].title}; {found[0].help}"
            )
    print("\n".join(missed))
    assert len(missed) <= 300 * 0.05, missed


ENGLISH = """
zebra volcano umbrella jazz kitchen hammock oxygen window pyjamas quartz whisky yacht knuckle fjord bishop cactus
dolphin gravity violin walnut pumpkin jungle kiwi lava magnet nougat orchid puzzle rhubarb sphinx tulip vortex
wizard xylophone zigzag biscuit chimney dwarf ebony flamingo goblin hydrogen igloo juggler karaoke lynx mammoth
nymph oboe phoenix
"""


def unlike(random: Random) -> str:
    """A word of four syllables."""
    return "".join(random.choice("bdfgjkpvwxz") + random.choice("aeiou") for _ in range(4))


@pytest.mark.parametrize(
    "line",
    [
        "let a = item.{} > 3",
        "let a = user.{} is missing",
        "let a = {} > 3",
        "let a = {}(item.price) > 3",
        "reward a weight 1 = {}(item.genres)",
        "{} a weight 1 = ndcg(next_items)",
        "boost a weight 1 = item.is_ad {} 3",
        "quota a {} 1 = at most 3 where item.is_ad",
        "block a = item.price {} 3",
        "block a = item.age > 3 {}",
        "reward a weight 1 = distinct(item.creator) on missing {}",
        "when user.premium {{\n  reward {} weight 3\n}}",
        'test "a" {{\n  {} [{{price: 3}}]\n  expect base = 1\n}}',
        'test "a" {{\n  slate [{{{}: 3}}]\n  expect base = 1\n}}',
        'test "a" {{\n  slate [{{}}]\n  expect {} = 1\n}}',
    ],
)
def test_unrelated_words_get_no_suggestion(line: str) -> None:
    random = Random(7)
    good = Good("example", HEADER + RULE, SHOP, HERE)
    for name in (*ENGLISH.split(), *(unlike(random) for _ in range(50))):
        found = good.findings(HEADER + RULE + line.format(name))
        assert found, name
        guessed = [f.help for f in found if f.fix is not None or "did you mean" in f.help]
        assert guessed == [], name
