"""Writes the prompts and training completions of rows as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from unicodedata import category, normalize

import numpy as np
from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from recpolicy.dataset.columns import Codes, Ints, Ragged
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.dataset.slates import item_token
from recpolicy.errors import UsageError
from recpolicy.errors.near import near
from recpolicy.trainer.config import Prompt
from recpolicy.trainer.prompting import item_text
from recpolicy.trainer.prompting.item_text import Item, Topics

TERSE = """\
user {{ profile }}
likes {{ topics }}
history {{ history }}
task recommend {{ k }} items
"""
"""Template for models that learn the words of their prompts from scratch."""

PLAIN = """\
About the user: {{ profile }}.
{% if by_topic %}

Taken so far by topic, most frequent topic first, latest item last:
{% for topic, taken in (by_topic.items() | list)[:5] %}
- {{ topic }} ({{ taken | length }}): {{ taken[-5:] | map(attribute="title") | join("; ") }}
{% endfor %}
{% endif %}
{% if pool %}

Candidates, in no order:
{% for item in pool %}
- {{ item.token }} {{ item.title }}{{ " (" ~ item.about ~ ")" if item.about else "" }}
{% endfor %}
{% endif %}
{% if items %}

Taken so far in the order of time, latest last:
{% for item in items %}
- {{ item.token }} {{ item.title }}{{ " (" ~ item.about ~ ")" if item.about else "" }}
{% endfor %}
{% endif %}
{% if policy %}

What makes a good list:
{{ policy }}
{% endif %}

Task: recommend {{ k }} {{ "of the candidates" if pool else "items" }} that the user has not taken yet, the best first.
"""
"""Template for models that know English."""

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
"""The tags around the parts of a completion."""
LATELY = 10
"""Number of recent items that show a user's recent taste."""
LONGEST = 100
"""Most characters of a word or title of the data in a prompt; longer ones are cut."""
_ITEM = "<item_"
"""The start of every item's token."""


@dataclass(frozen=True)
class PromptStyle:
    """The prompt style of one model."""

    template: str = TERSE
    """Template that is used where the settings have none."""
    reserved: tuple[str, ...] = ()
    """Texts that its tokenizer reads as tokens; data must not contain them, nor TAGS or item tokens."""
    frame: Callable[[str], str] = str
    """Puts a prompt into the form that the model reads."""

    def clean(self, word: str) -> str:
        """Returns a word or title of the data in one line of at most LONGEST characters, without reserved texts."""
        line = _line(word)
        return self._broken(line if len(line) <= LONGEST else f"{line[: LONGEST - 3].rstrip()}...") or "unknown"

    def quoted(self, text: str) -> str:
        """Returns a longer text with the same lines, without reserved texts."""
        return "\n".join(self._broken(_line(line)) for line in text.splitlines())

    def _broken(self, line: str) -> str:
        """The line with a space behind the first character of every reserved text, until none is left."""
        while (broken := self._reserved.sub(_parted, line)) != line:
            line = broken
        return line

    @cached_property
    def _reserved(self) -> re.Pattern[str]:
        texts = {text.strip() for text in (*TAGS, *self.reserved)} - {""}
        return re.compile("|".join([*map(re.escape, sorted(texts, key=len, reverse=True)), _ITEM]), re.IGNORECASE)


def _line(text: str) -> str:
    """The text in one line of normalized (NFKC), visible characters.

    Tokenizers that normalize text would otherwise read a tag in one that is written with other characters.
    """
    visible = "".join(" " if c.isspace() or category(c) == "Cc" else c for c in text if category(c) not in ("Cf", "Cs"))
    return " ".join(normalize("NFKC", visible).split())


def _parted(match: re.Match[str]) -> str:
    text = match[0]
    return f"{text[0]} {text[1:]}" if len(text) > 1 else " "


@dataclass(frozen=True)
class Prompter:
    """Writes rows of one data set as prompts and completions."""

    dataset: Dataset
    settings: Prompt
    k: int
    prompt_style: PromptStyle = PromptStyle()
    policy: str = ""
    """The policy in words, for the prompts."""

    def prompts(self, rows: Rows) -> list[str]:
        """Writes a prompt for each row. Raises UsageError for a template that cannot be rendered."""
        likes, latest = self._counts(rows.history), rows.history.last(self.settings.history)
        values: dict[str, Callable[[int], object]] = {
            "profile": lambda i: self._profiles[rows.user[i]],
            "topics": lambda i: self._words(likes[i], 5),
            "history": lambda i: " ".join(map(item_token, latest.row(i))),
            "items": lambda i: [self._items[v] for v in latest.row(i)],
            "by_topic": lambda i: self._by_topic(latest.row(i)),
            "pool": lambda i: [] if rows.pool is None else [self._items[v] for v in rows.pool[i] if v >= 0],
            "policy": lambda i: self.prompt_style.quoted(self.policy),
            "k": lambda i: self.k,
        }
        template, named = self._template(tuple(values))
        try:
            filled = [template.render({name: values[name](i) for name in named}) for i in range(len(rows))]
        except (TemplateError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            why = str(error).replace(f"'{Item.__module__}.{Item.__name__} object'", "an item")
            known = f"an item has: {', '.join(item_text.fields(self.dataset))}"
            raise UsageError(f"the prompt template cannot be rendered: {why}", help=known) from error
        return [self.prompt_style.frame(prompt) for prompt in filled]

    def completions(self, rows: Rows) -> list[str]:
        """Writes the training completion of each row: reasoning built from the data, then what the user took next."""
        likes, lately = self._counts(rows.history), self._counts(rows.history.last(LATELY))
        plan = self._counts(rows.next_items)
        texts = []
        for i in range(len(rows)):
            answer = " ".join(item_token(v) for v in rows.next_items.row(i)[: self.k])
            think = ""
            if self.settings.think:
                taste = f"likes {self._words(likes[i], 2)} lately {self._words(lately[i], 2)}"
                think = f"<think> {taste} plan {self._words(plan[i], 3)} </think> "
            texts.append(f"{think}<answer> {answer} </answer>")
        return texts

    def about(self) -> list[str]:
        """Returns each item's title and topics in words, [items]."""
        return [f"{item['title']} {item['topics']}".strip() for item in self._items]

    @property
    def template(self) -> str:
        """The template in use."""
        return self.settings.template or self.prompt_style.template

    def _template(self, known: tuple[str, ...]) -> tuple[Template, set[str]]:
        """The parsed template and the names in it. Raises UsageError for a name that is not known."""
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        try:
            named = meta.find_undeclared_variables(environment.parse(self.template)) - set(environment.globals)
            template = environment.from_string(self.template)
        except TemplateError as error:
            raise UsageError(
                f"the prompt template cannot be read: {error}", help="see docs/settings.md, `prompt.template`"
            ) from error
        if not named:
            help = f"it is the text itself, not a file's name, and shows what stands in {{{{ }}}}: {', '.join(known)}"
            raise UsageError("the prompt template says the same of every user", help=help)
        for name in sorted(named - set(known)):
            meant = near(name, known)
            help = (f"did you mean `{meant}`? " if meant else "") + f"known: {', '.join(known)}"
            raise UsageError(f"the prompt template uses `{name}`, which is not known", help=help)
        return template, named

    @cached_property
    def _topics(self) -> Topics:
        return item_text.topics(self.dataset, self.prompt_style.clean)

    @cached_property
    def _items(self) -> tuple[Item, ...]:
        return item_text.items(self.dataset, self._topics, self.prompt_style.clean)

    @cached_property
    def _profiles(self) -> list[str]:
        return item_text.profiles(self.dataset, self.prompt_style.clean)

    def _by_topic(self, items: Codes) -> dict[str, list[Item]]:
        """The items of each topic, the most frequent topic first; an item of several topics is in each."""
        groups: dict[str, list[Item]] = {}
        for item in items:
            for topic in self._topics.of.row(item):
                groups.setdefault(self._topics.words[topic], []).append(self._items[item])
        return dict(sorted(groups.items(), key=lambda entry: -len(entry[1])))

    def _counts(self, items: Ragged) -> Ints:
        """How often each topic occurs in each row's items, [rows, topics]."""
        topics = self._topics.of.take(items.values.astype(np.int64))
        row = np.repeat(np.repeat(np.arange(len(items)), items.lengths), topics.lengths)
        width = len(self._topics.words)
        counts = np.bincount(row * width + topics.values, minlength=len(items) * width)
        return counts.reshape(len(items), width)

    def _words(self, counts: Ints, most: int) -> str:
        """The most frequent topics in words; of equals the first comes first."""
        if not counts.any():
            return "anything"
        top = np.argsort(-counts, kind="stable")[:most]
        return " ".join(self._topics.words[t] for t in top if counts[t] > 0)
