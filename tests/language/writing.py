"""A random source in, the text of a policy over the shop's columns out: every construct, spaced in every way."""

from __future__ import annotations

from random import Random

JOINED, ENDED = "joined", "ended"
"""Between a number and its unit: spaces at most; between two statements: a new line at least."""

NUMBERS = (
    "item.price",
    "item.rating",
    "item.`release year`",
    "user.age",
    "item.age_rating",
    "n_1",
    "2.50",
    "007",
    "40",
)
WORDS = ("item.creator", "item.language", "user.language", '"Drama"', '"a \\"b\\" # c"', '""')
LISTS = ("item.genres", "item.creator", "item.language", "größe")
DATES = ("item.published", "user.last_seen", "now", "2014-01-31", "since")
TRUTHS = ("item.is_ad", "user.premium", "true", "false", "fresh")
NAMES = (
    "fresh",
    "dear",
    "one_voice",
    "a",
    "row",
    "places",
    "history",
    "above",
    "hole",
    "x1",
    "größe",
    "long_name_of_it",
)
COMMENTS = ("#", "# why", '#: } { [ "quoted', "# two  spaces", "# a, b ", "## limit 3", "# 3 days", "#\t(")


class Writer:
    """Writes policies, one choice after the other."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def policy(self) -> str:
        """The text of a policy without syntax errors."""
        words = [] if self.chance(0.1) else self.header()
        for _ in range(self.random.randint(0, 8)):
            words += [*self.statement(2), ENDED]
        return self.spaced(words)

    # ---- spacing

    def spaced(self, words: list[str]) -> str:
        """The words with random white space and comments between them."""
        text = self.gap() if self.chance(0.3) else ""
        before = ENDED
        for word in words:
            if word == ENDED:
                text += f"{self.gap()}\n{self.gap()}"
            elif word != JOINED:
                if before == JOINED:
                    text += self.pick("", " ", "   ")
                elif before != ENDED and not (self.chance(0.5) and may_touch(before, word)):
                    text += self.gap()
                text += word
            before = word
        return text + (self.gap() if self.chance(0.5) else "")

    def gap(self) -> str:
        if self.chance(0.85):
            return " "
        pieces = (
            " ",
            "\t",
            "\n",
            "\n\n",
            "\n \n\n  ",
            "\r\n",
            f"{self.pick(*COMMENTS)}\n",
            f"{self.pick(*COMMENTS)}\r\n",
        )
        return " " + "".join(self.pick(*pieces) for _ in range(self.random.randint(1, 4)))

    # ---- choices

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def listed(self, elements: list[list[str]], *, trailing: bool = True) -> list[str]:
        """Elements with commas between them."""
        words = [word for element in elements for word in (*element, ",")]
        return words if trailing and self.chance(0.2) else words[:-1]

    # ---- statements

    def header(self) -> list[str]:
        settings = [
            ["language", "1"],
            ["schema", '"shop.toml"'],
            ["slate", "10"],
            ["owner", '"the # team"'],
            ["version", "3"],
        ]
        body = [word for key, value in settings for word in (ENDED, key, "=", value)]
        return ["policy", '"a shop"', "{", *body, ENDED, "}", ENDED]

    def statement(self, depth: int) -> list[str]:
        match self.random.randint(0, 12):
            case 0:
                return ["use", '"house rules.policy"']
            case 1 | 2:
                return [*self.override(), "let", self.name(), "=", *self.expression(depth)]
            case 3:
                return [*self.override(), "param", self.name(), "=", *self.literal()]
            case 4:
                return self.test()
            case 5 if depth:
                inner = [word for _ in range(self.random.randint(0, 3)) for word in (*self.statement(depth - 1), ENDED)]
                return ["when", *self.expression(1), "{", ENDED, *inner, "}"]
            case 6:
                return [self.pick("reward", "boost", "bury", "quota"), self.name(), *self.weight()]
            case 7:
                sign = self.pick("<=", ">=")
                bound = [*self.literal(), "of", "baseline"] if self.chance(0.4) else self.literal()
                return ["target", self.name(), "=", *self.call(1), sign, *bound, *self.clauses()]
            case _:
                return [*self.override(), *self.rule(depth)]

    def override(self) -> list[str]:
        return ["override"] if self.chance(0.15) else []

    def name(self) -> str:
        return self.pick(*NAMES)

    def weight(self) -> list[str]:
        if self.chance(0.15):
            return ["weight", "ramp", "0", "to", self.pick("1", "0.50"), "over", *self.percent(), "of", "training"]
        return ["weight", self.pick("0.1", "1", "12", "n_1")]

    def rule(self, depth: int) -> list[str]:
        name = self.name()
        match self.random.randint(0, 3):
            case 0:
                missing = ["on", "missing", self.pick("mean", "zero", "fail")] if self.chance(0.3) else []
                return ["reward", name, *self.weight(), "=", *self.call(depth), *missing, *self.clauses()]
            case 1:
                kind, limit = self.pick("boost", "bury"), ["limit", "3"] if self.chance(0.4) else []
                return [kind, name, *self.weight(), "=", *self.expression(depth), *limit, *self.clauses()]
            case 2:
                return ["block", name, "=", *self.expression(depth), *self.clauses()]
            case _:
                weight = ["hard"] if self.chance(0.3) else self.weight()
                return ["quota", name, *weight, "=", *self.amount(), *self.counted(), *self.window(), *self.clauses()]

    def amount(self) -> list[str]:
        bound = self.percent if self.chance(0.5) else lambda: [self.pick("1", "2", "n_1")]
        if self.chance(0.3):
            return ["between", *bound(), "and", *bound()]
        return ["at", self.pick("least", "most"), *bound()]

    def counted(self) -> list[str]:
        match self.random.randint(0, 2):
            case 0:
                return [self.pick("per", "distinct"), self.pick(*LISTS)]
            case 1:
                return ["distinct", "(", self.pick(*LISTS), ")"]
            case _:
                return ["where", *self.expression(1)]

    def window(self) -> list[str]:
        return self.random.choice(([], [], ["in", "top", "3"], ["in", "any", "5", "places", "in", "a", "row"]))

    def clauses(self) -> list[str]:
        kinds = (["from", "2026-01-31"], ["until", "2026-02-28"], ["because", '"the # spring \\"sale\\""'])
        return [word for clause in self.random.sample(kinds, self.random.choice((0, 0, 1, 3))) for word in clause]

    # ---- tests

    def test(self) -> list[str]:
        parts = [word for _ in range(self.random.randint(0, 4)) for word in (*self.part(), ENDED)]
        if self.chance(0.3):
            inner = [word for _ in range(self.random.randint(0, 3)) for word in (*self.part(), ENDED)]
            parts += ["case", '"in a case"', "{", ENDED, *inner, "}", ENDED]
        return ["test", '"what it does"', "{", ENDED, *parts, "}"]

    def part(self) -> list[str]:
        items = [self.pick("hole", "{").split() for _ in range(self.random.randint(0, 5))]
        records = [item if item == ["hole"] else self.record() for item in items]
        of = ["of", self.name()] if self.chance(0.5) else []
        match self.random.randint(0, 6):
            case 0:
                return ["user", *self.record()]
            case 1:
                return ["now", "2026-03-31"]
            case 2:
                return ["expect", self.name(), *of, "=", *self.random.choice((["0.5"], ["1", "/", "3"]))]
            case 3:
                negated = ["not"] if self.chance(0.5) else []
                return ["expect", self.name(), *of, "is", *negated, self.pick("satisfied", "blocked")]
            case 4:
                return ["expect", "near", "above", "far"]
            case 5:
                return ["slate", self.name(), "[", *self.listed(records), "]"]
            case _:
                return [self.pick("history", "next_items", "slate"), "[", *self.listed(records), "]"]

    def record(self) -> list[str]:
        fields = []
        for _ in range(self.random.randint(0, 4)):
            value = self.random.choice((["missing"], [*self.duration(), "ago"], self.literal(), self.words()))
            fields.append([self.pick("price", '"release year"', "creator", "genres"), ":", *value])
        return ["{", *self.listed(fields), "}"]

    # ---- expressions

    def literal(self) -> list[str]:
        plain = [[self.pick("3", "0.25", '"Drama"', "true", "2026-03-31")], ["-", "3"]]
        return self.random.choice([*plain, self.percent(), self.duration()])

    def percent(self) -> list[str]:
        return [self.pick("2", "12.5", "050"), "%"]

    def duration(self) -> list[str]:
        return [self.pick("1", "90", "2.5"), JOINED, self.pick("day", "days", "weeks", "year")]

    def words(self) -> list[str]:
        some = [
            [self.pick('"Drama"', '"War"', '"a long word that fills a line"', "hole")]
            for _ in range(self.random.randint(0, 9))
        ]
        return ["[", *self.listed(some), "]"]

    def call(self, depth: int) -> list[str]:
        inner = self.listed([self.expression(depth - 1) for _ in range(self.random.randint(0, 3))], trailing=False)
        call = [self.pick("ndcg", "mean", "min", "distinct", "größe"), "(", *inner, ")"]
        return [*call, "of", "history"] if self.chance(0.2) else call

    def sum(self, depth: int) -> list[str]:
        match self.random.randint(0, 7) if depth > 0 else 0:
            case 1:
                return [*self.sum(depth - 1), self.pick("+", "-", "*", "/"), *self.sum(depth - 1)]
            case 2:
                return ["-", *self.sum(0)]
            case 3:
                return ["(", *self.expression(depth - 1), ")"]
            case 4:
                return self.call(depth)
            case 5:
                return self.percent()
            case _:
                return [self.pick(*NUMBERS)]

    def comparison(self, depth: int) -> list[str]:
        negated = ["not"] if self.chance(0.3) else []
        match self.random.randint(0, 6):
            case 0:
                return [*self.sum(depth), self.pick("<", "<=", ">", ">="), *self.sum(depth)]
            case 1:
                return [self.pick(*WORDS), "is", *negated, self.pick(*WORDS)]
            case 2:
                return [self.pick(*WORDS), "is", *negated, "missing"]
            case 3:
                return [self.pick(*WORDS), *negated, "in", *self.random.choice((["item.genres"], self.words()))]
            case 4:
                return [self.pick(*DATES), "within", "the", "last", *self.duration()]
            case 5:
                return [self.pick(*DATES), "more", "than", *self.duration(), "ago"]
            case _:
                return [self.pick(*TRUTHS)]

    def expression(self, depth: int) -> list[str]:
        if depth <= 0 or self.chance(0.3):
            return self.comparison(depth)
        parts = [self.expression(depth - 1) for _ in range(self.random.randint(1, 5))]
        sign = self.pick("and", "or")
        words = [word for part in parts for word in (sign, "(", *part, ")")][1:]
        return ["not", "(", *words, ")"] if self.chance(0.2) else words


def may_touch(before: str, word: str) -> bool:
    """True of two words that stay two without a space."""
    return not (is_wordy(before[-1]) and is_wordy(word[0]))


def is_wordy(character: str) -> bool:
    return character.isalnum() or character in '_"`.'
