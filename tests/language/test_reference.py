"""Checks the language reference: right examples have no finding, wrong ones have the code beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recpolicy import schema
from recpolicy.errors import PolicyError
from recpolicy.language import parser
from recpolicy.language.checker import check, read
from recpolicy.language.parser.grammar import lalr
from recpolicy.language.parser.mistakes import RESERVED
from recpolicy.span import Source
from recpolicy.types import Type

HERE = Path(__file__).parent
REFERENCE = (HERE.parents[1] / "grammar" / "README.md").read_text("utf-8")
SHOP = schema.load(HERE / "shop.toml")
HEADER = 'policy "example" {\n  language = 1\n  schema = "shop.toml"\n  slate = 10\n}\n'
RULE = "\nreward base weight 1 = ndcg(next_items)\n"

BLOCKS = [
    (1 + REFERENCE[: match.start()].count("\n"), match[1].split(), match[2])
    for match in re.finditer(r"^```policy(.*)\n((?:.*\n)*?)```$", REFERENCE, re.MULTILINE)
]
EXAMPLES = [pytest.param(info, text, id=f"line {line}") for line, info, text in BLOCKS]
FILES = {info[0]: text for _, info, text in BLOCKS if info and info[0].endswith(".policy")}
"""Examples that other examples use: a block whose fence names a file."""


@pytest.mark.parametrize(("info", "text"), EXAMPLES)
def test_reference_example_gives_stated_findings(info: list[str], text: str, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, "utf-8")
    path = tmp_path / "example.policy"
    own = RULE if "reward" not in text else ""
    path.write_text((text if text.startswith("policy") else HEADER + text) + own, "utf-8")
    if not info or info[0] in FILES:
        read(str(path), schema=SHOP)
        return
    with pytest.raises(PolicyError) as caught:
        read(str(path), schema=SHOP)
    assert ["bad", *(f.code for f in caught.value.findings)] == info


def test_section_has_good_and_bad_example() -> None:
    for section in re.split(r"^#+ ", REFERENCE, flags=re.MULTILINE):
        if "```policy" in section:
            assert "```policy\n" in section, section.splitlines()[0]
            assert "```policy bad" in section, section.splitlines()[0]


def test_reference_lists_reserved_words() -> None:
    quote = " ".join(line[2:] for line in REFERENCE.splitlines() if line.startswith("> "))
    assert quote.split() == sorted(RESERVED)


def test_grammar_keywords_are_reserved() -> None:
    keywords = {t.pattern.value for t in lalr().terminals if t.pattern.type == "str" and t.pattern.value.isalpha()}
    assert keywords <= RESERVED


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_reserved_word_is_allowed_as_column(word: str) -> None:
    column = schema.ColumnSpec(word, Type.FLOAT, source=word)
    columns = schema.Schema("words", item={word: column}, user={word: column})
    text = f"{HEADER}let a = item.{word} > 3\nboost b weight 1 = a and item.{word} < user.{word} limit 3\n"
    text += f"when user.{word} > 1 {{\n  boost b weight 2\n}}\n"
    policy = check(parser.parse(Source("words.policy", text)), columns)
    assert len(policy.rules[0].weight.changes) == 1


@pytest.mark.parametrize("word", sorted(RESERVED))
@pytest.mark.parametrize("form", ["let {} = 3", "reward {} weight 1 = ndcg(next_items)", "block {} = item.is_ad"])
def test_reserved_word_is_refused_as_name(word: str, form: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check(parser.parse(Source("words.policy", f"{HEADER}{RULE}{form.format(word)}\n")), SHOP)
    assert [f.code for f in caught.value.findings] == ["E0107"]
