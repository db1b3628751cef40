"""Checks that the grammar and the syntax tree use the same names."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from importlib.resources import files

from recpolicy.language import syntax
from recpolicy.language.parser.build import Builder

GRAMMAR = files("recpolicy.grammar").joinpath("policy.lark").read_text("utf-8")


def test_grammar_rules_have_node_classes() -> None:
    rules = re.findall(r"^([a-z]\w*):", GRAMMAR, re.MULTILINE) + re.findall(r"-> ([a-z]\w*)", GRAMMAR)
    rules.remove("group")  # parentheses leave no node
    for rule in rules:
        name = "".join(part.capitalize() for part in rule.split("_"))
        assert is_dataclass(getattr(syntax, name, None)), rule


def test_grammar_rules_builders_and_node_classes_match() -> None:
    rules = set(re.findall(r"^\??([a-z]\w*):", GRAMMAR, re.MULTILINE) + re.findall(r"-> ([a-z]\w*)", GRAMMAR))
    inlined = {"expr", "conjunction", "negation", "comparison", "sum", "product", "signed", "atom"}
    methods = {name for name in vars(Builder) if not name.startswith("_")}
    assert rules - inlined == methods
    nodes = {c.__name__ for c in vars(syntax).values() if isinstance(c, type) and issubclass(c, syntax.Node)}
    built = {"".join(part.capitalize() for part in rule.split("_")) for rule in methods}
    assert nodes - built == {"Node", "Ident", "Unreadable"}


def test_nodes_are_frozen_and_start_with_span() -> None:
    nodes = [c for c in vars(syntax).values() if isinstance(c, type) and issubclass(c, syntax.Node)]
    assert len(nodes) > 30
    for node in nodes:
        assert fields(node)[0].name == "span" and not fields(node)[0].compare
        assert node.__dataclass_params__.frozen  # type: ignore[attr-defined]
