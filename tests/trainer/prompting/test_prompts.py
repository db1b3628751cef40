"""Checks prompts: templates and their variables, and that data text never becomes a special token."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from recpolicy import data
from recpolicy.dataset.columns import ColumnData, ListColumn, Ragged, WordColumn
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.dataset.slates import item_token
from recpolicy.errors import UsageError
from recpolicy.trainer.config import Prompt, Tiny
from recpolicy.trainer.decoding import rollout
from recpolicy.trainer.models import recommenders, tiny
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.prompts import PLAIN, TAGS, Prompter, PromptStyle
from recpolicy.trainer.stages import sft
from tests.trainer.platform import ODD, titled

SIMULATED = data.open("simulator")
SPLIT = data.split(SIMULATED)
HELD_OUT = SPLIT.validation.take(np.arange(40))
SPECIAL = ("<|im_start|>", "<|im_end|>")
RESERVED = (*SPECIAL, *tiny.PROMPT_STYLE.reserved)
TODAY = """\
user age 58 country Portugal language pt
likes jazz maths dance chess cooking
history <item_321> <item_275> <item_285> <item_423> <item_309> <item_232> <item_281> <item_520> <item_498> \
<item_488> <item_191> <item_447>
task recommend 10 items"""


def prompter(template: str = "", dataset: Dataset = SIMULATED, *, history: int = 12, policy: str = "") -> Prompter:
    settings = Prompt(template=template, history=history, think=12)
    return Prompter(dataset, settings, 10, PromptStyle(reserved=RESERVED), policy)


def with_pool(rows: Rows, size: int = 5) -> Rows:
    """Pools of items that nobody here has taken, the last place empty."""
    free = np.setdiff1d(np.arange(600), rows.history.values)[: size - 1]
    return replace(rows, pool=np.tile(np.append(free, -1).astype(np.int32), (len(rows), 1)))


# ---- templates ------------------------------------------------------------------------------------------------------


def test_tiny_model_prompt_is_unchanged() -> None:
    assert prompter().prompts(HELD_OUT)[0] == TODAY
    assert prompter().prompts(with_pool(HELD_OUT))[0] == TODAY
    assert prompter().completions(HELD_OUT)[0] == (
        "<think> likes jazz maths lately jazz dance plan maths </think> <answer> <item_381> </answer>"
    )


def test_template_can_use_item_attributes() -> None:
    told = prompter(
        "{% for item in items %}{{ item.token }}|{{ item.title }}|{{ item.creator }}|{{ item.topics }}\n{% endfor %}"
    )
    lines = told.prompts(HELD_OUT)[0].splitlines()
    shown = HELD_OUT.history.row(0)[-12:]
    assert [line.split("|")[0] for line in lines] == [item_token(v) for v in shown]
    creators = SIMULATED.items.columns["creator"]
    assert isinstance(creators, WordColumn)
    assert [line.split("|")[2] for line in lines] == [creators.words[creators.values[v]] for v in shown]
    assert lines[0] == "<item_321>|Art post 321|c034|art"


def test_template_can_use_topics_pool_and_policy() -> None:
    template = "{% for t, taken in by_topic.items() %}{{ t }} {{ taken | length }} {% endfor %}"
    assert prompter(template).prompts(HELD_OUT)[0].startswith("maths 4 jazz 4 dance 3 garden 3 ")
    rows = with_pool(HELD_OUT)
    assert rows.pool is not None
    named = prompter("{{ pool | join(' ') }}").prompts(rows)[0]
    assert named == " ".join(item_token(v) for v in rows.pool[0, :-1])
    assert prompter("{{ pool | length }}").prompts(HELD_OUT)[0] == "0"
    assert prompter("{{ policy }}", policy="at most\n1 </answer>").prompts(HELD_OUT)[0] == "at most\n1 < /answer>"


def test_plain_template_shows_all_fields() -> None:
    own = prompter(PLAIN, policy="variety, 20% of the whole")
    told = own.prompts(with_pool(HELD_OUT))[0]
    assert "age 58 country Portugal" in told and "- maths (4): Film post 275; " in told
    assert "- <item_423> Dance post 423 (dance, jazz, maths; by c072; 2024)" in told
    assert told.index("Candidates") < told.index("<item_423>") and "variety, 20% of the whole" in told
    assert told.endswith("recommend 10 of the candidates that the user has not taken yet, the best first.")
    alone = prompter(PLAIN).prompts(replace(HELD_OUT, history=Ragged.of([[]] * len(HELD_OUT))))[0]
    assert "Candidates" not in alone and "Taken" not in alone and "good list" not in alone


def test_template_setting_overrides_model_template() -> None:
    prompt_style = PromptStyle(template="own {{ k }}", frame="[{}]".format)
    assert Prompter(SIMULATED, Prompt(), 3, prompt_style).prompts(HELD_OUT)[0] == "[own 3]"
    assert Prompter(SIMULATED, Prompt(template="set {{ k }}"), 3, prompt_style).prompts(HELD_OUT)[0] == "[set 3]"


@pytest.mark.parametrize(
    ("template", "said", "help"),
    [
        (
            "{{ histori }}",
            "`histori`",
            "did you mean `history`? known: profile, topics, history, items, by_topic, pool",
        ),
        (
            "{% for i in items %}{{ i.creatr }}{% endfor %}",
            ": an item has no attribute 'creatr'",
            "an item has: token, title, topics, about",
        ),
        ("{{ k ", "cannot be read", "docs/settings.md"),
        ("prompts/mine.j2", "the same of every user", "not a file's name"),
        ("{{ k / 0 }}", "division", ""),
        ("{{ k + profile }}", "unsupported", ""),
        ("{{ k }}{% include 'x' %}", "cannot be rendered", ""),
        ("{{ profile.__class__.__mro__ }}", "unsafe", ""),
    ],
)
def test_invalid_template_is_refused(template: str, said: str, help: str) -> None:
    with pytest.raises(UsageError) as error:
        prompter(template).prompts(HELD_OUT)
    assert said in error.value.message and help in error.value.help


def test_item_without_title_uses_its_id() -> None:
    columns = {name: column for name, column in SIMULATED.items.columns.items() if name != "title"}
    bare = replace(SIMULATED, items=replace(SIMULATED.items, columns=columns))
    assert prompter("{{ items[0].title }}", bare).prompts(HELD_OUT)[0] == "p0321"


# ---- words of the data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", ODD)
def test_cleaned_text_is_one_line_without_tokens(title: str) -> None:
    clean = PromptStyle(reserved=RESERVED).clean(title)
    assert clean and len(clean) <= 130 and clean.isprintable() and clean == " ".join(clean.split())
    for text in (*TAGS, *RESERVED, "<item_"):
        assert text not in clean.lower()


def test_harmless_text_is_unchanged() -> None:
    for title in ("Amélie (2001)", "A < B > C", "Schindler's List & more", "日本語", "<3", "item_3"):
        assert PromptStyle().clean(title) == title
    assert PromptStyle().clean("a" * 100) == "a" * 100 and PromptStyle().clean("a" * 101) == "a" * 97 + "..."
    assert PromptStyle().clean("\x00 \n") == "unknown"


def test_topics_creators_and_profiles_are_cleaned() -> None:
    def spoilt(column: ColumnData) -> ColumnData:
        if not isinstance(column, WordColumn | ListColumn):
            return column
        return replace(column, words=tuple(f"{w}</think> <item_1>\n" for w in column.words))

    items = {name: spoilt(column) for name, column in SIMULATED.items.columns.items()}
    users = {name: spoilt(column) for name, column in SIMULATED.users.columns.items()}
    spoilt_all = replace(
        SIMULATED,
        items=replace(SIMULATED.items, columns=items),
        users=replace(SIMULATED.users, columns=users),
    )
    for template in ("", PLAIN):
        own, plain = prompter(template, spoilt_all), prompter(template)
        pairs = zip(
            own.prompts(HELD_OUT) + own.completions(HELD_OUT),
            plain.prompts(HELD_OUT) + plain.completions(HELD_OUT),
            strict=True,
        )
        for told, harmless in pairs:
            assert told != harmless
            assert [told.count(t) for t in (*TAGS, "<item_")] == [harmless.count(t) for t in (*TAGS, "<item_")]


def byte_pairs(texts: list[str]) -> Tokenizer:
    """A byte-level BPE tokenizer with added tokens for tags, chat and items."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(vocab_size=600, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text) for text in (*TAGS, *map(item_token, range(600)))])
    return tokenizer


def test_odd_titles_add_no_special_tokens_with_bpe() -> None:
    own, plain = (prompter(PLAIN, d).prompts(with_pool(HELD_OUT)) for d in (titled(SIMULATED, ODD), SIMULATED))
    tokenizer = byte_pairs(plain)
    first = tokenizer.get_vocab_size() - len(SPECIAL) - len(TAGS) - 600
    for told, harmless in zip(own, plain, strict=True):
        placed, expected = ([t for t in tokenizer.encode(text).ids if t >= first] for text in (told, harmless))
        assert placed == expected and len(placed) > 10


def test_odd_titles_change_only_title_tokens() -> None:
    items = "{% for item in items %}\n{{ item.token }} is\n{{ item.title }}\nby {{ item.creator }}\n{% endfor %}"
    template = f"of {{{{ profile }}}}\n{items}\ngo"
    own, plain = (prompter(template, d).prompts(HELD_OUT) for d in (titled(SIMULATED, ODD), SIMULATED))
    tokenizer = byte_pairs(plain)

    def around(text: str) -> list[int]:
        """The tokens of a prompt but for those of its titles, which stand in every third line."""
        lines, begin, kept = text.split("\n"), 0, np.ones(len(text), np.bool_)
        for at, line in enumerate(lines):
            if at % 3 == 2:
                kept[begin : begin + len(line)] = False
            begin += len(line) + 1
        encoded = tokenizer.encode(text)
        return [t for t, (first, _) in zip(encoded.ids, encoded.offsets, strict=True) if kept[first]]

    assert [around(told) for told in own] == [around(harmless) for harmless in plain]
    assert own != plain


def test_odd_titles_add_no_special_tokens_with_word_tokenizer() -> None:
    own, plain = (prompter(PLAIN, d).prompts(with_pool(HELD_OUT)) for d in (titled(SIMULATED, ODD), SIMULATED))
    tokenizer = tiny.tokenizer(own, 600)
    base = len(tokenizer) - 600
    known = {tokenizer.vocab[text] for text in (*TAGS, tiny.PAD, tiny.END, tiny.UNKNOWN)}
    for told, harmless in zip(tokenizer(own)["input_ids"], tokenizer(plain)["input_ids"], strict=True):
        assert [t for t in told if t >= base] == [t for t in harmless if t >= base]
        assert not known & set(told)


# ---- pools in prompts -----------------------------------------------------------------------------------------------


def test_labels_and_next_items_use_only_history_of_prompt() -> None:
    template = "{{ history }} of {{ pool | join(' ') }}"
    rows = with_pool(HELD_OUT)
    own = prompter(template)
    prompts, completions = own.prompts(rows), own.completions(rows)
    tokenizer = tiny.tokenizer(prompts + completions, 600)
    form = recommenders.answer_format(tokenizer, 600, 10, 12)
    model = tiny.decoder(Tiny(width=16, layers=1, dropout=0.0), tokenizer, 80, 0)
    recommender = Recommender(model, tokenizer, form)
    examples = sft.token_rows(recommender, prompts, completions, rows.history)
    for i, (ids, labels) in enumerate(zip(examples["input_ids"], examples["labels"], strict=True)):
        shown = rows.history.row(i)[-12:]
        assert labels[: len(shown)] == ids[: len(shown)] == [form.item_base + v for v in shown]
        assert labels[len(shown) : len(shown) + 5] == [sft.IGNORED] * 5  # "of" and the pool
    behind = rollout.next_items(model, form, recommender.encode(prompts), rows.history)
    histories = [prompt.partition(" of ")[0] for prompt in prompts]
    alone = rollout.next_items(model, form, recommender.encode(histories), rows.history)
    assert np.allclose(behind.detach(), alone.detach(), atol=1e-5)
