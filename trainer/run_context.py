"""Holds the policy, the data and the settings of one run, and draws from them the rows that its stages read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path

from recpolicy import __version__
from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset import candidates
from recpolicy.dataset.candidates import is_large
from recpolicy.dataset.columns import Ints
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.dataset.slates import unseen
from recpolicy.evaluation import classics
from recpolicy.evaluation.baselines import Baseline
from recpolicy.language.checker import Loaded
from recpolicy.runs import fingerprint
from recpolicy.trainer.coldstart.deployed_model import DeployedModel
from recpolicy.trainer.config import Config
from recpolicy.trainer.earlier_run import WarmStart
from recpolicy.trainer.models import recommenders
from recpolicy.trainer.prompting import candidate_pools
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.trainer.stages import sft
from recpolicy.user_model import retrieval


@dataclass(frozen=True)
class RunContext:
    """The policy, the data and the settings of one run, which all stages read."""

    loaded: Loaded
    view: Dataset
    split: Split
    compiled: CompiledPolicy
    prompter: Prompter
    config: Config
    model: str
    warm_start: WarmStart | None = None

    @property
    def k(self) -> int:
        """Places of a slate."""
        return self.loaded.policy.slate

    def sft_key(self) -> str:
        """Computes the fingerprint of what the SFT model depends on.

        Of the policy, that is the number of places, and its words where prompts contain them.
        """
        settings = self.config.model_dump(include={"seed", "split", "holdout", "prompt", "tiny", "llm", "sft"})
        prompt = (self.prompter.template, self.prompter.policy)
        model = recommenders.version(self.model)
        start = [] if self.warm_start is None else [self.warm_start.earlier.digest]
        return fingerprint(__version__, version("trl"), model, self.view.digest, self.k, settings, *prompt, *start)

    @cached_property
    def classics(self) -> dict[str, Baseline]:
        """The classic recommenders, fitted on first use."""
        return classics.fit(self.view, self.split, self.k)

    def limits(self) -> tuple[str, ...]:
        """Returns what a run does not compute because the catalog is large, one sentence each."""
        items, settings = self.view.items.rows, self.config.sft
        left_out = classics.left_out(self.view, self.split)
        if not is_large(items):
            return left_out
        return (
            f"{items:,} items are more than {candidates.LARGE:,}, so each user's slates are chosen from "
            f"{retrieval.CANDIDATES:,} candidates: the {retrieval.BEST} best items of every source, others at random. "
            "What users took counts wherever it is in the catalog.",
            f"SFT computes the softmax with {sft.NEGATIVES:,} random items in each of its {settings.steps:,} steps.",
            *left_out,
        )

    @cached_property
    def earlier_model(self) -> DeployedModel:
        """The model of the earlier run that this one goes on from, with a token for every item; made on first use."""
        assert self.warm_start is not None
        retriever = self.classics["ease_recency"] if self.config.prompt.pool else None
        return self.warm_start.model(self.model, self.config, self.prompter, retriever)

    def load(self, folder: Path, items: int | None = None) -> recommenders.Recommender:
        """Loads a recommender that a stage of this run saved, or one of an earlier run, which knows so many items."""
        think, settings = self.config.prompt.longest_reasoning, self.config.llm
        return recommenders.load(folder, self.model, items or self.view.items.rows, self.k, think, settings)

    def held_out(self) -> Rows:
        """Samples at most `validation_users` of the validation rows with the run's seed, and draws their pools."""
        return self.pooled(self._validation)

    def held_out_for_sft(self) -> Rows:
        """Returns the rows of `held_out` with pools that do not depend on the policy, as the SFT model does not."""
        return self.pooled(self._validation, for_sft=True)

    def pooled(self, rows: Rows, *, for_sft: bool = False, answered: bool = False) -> Rows:
        """Returns the rows with the pools that their slates are chosen from, if the settings ask for pools.

        Pools `for_sft` do not depend on the policy; `answered` ones hold what the user took next.
        """
        settings, servable = self.config.prompt, self.compiled.servable
        if not settings.pool:
            return rows
        if for_sft:
            servable = partial(unseen, items=self.view.items.rows)
        retriever = self.classics["ease_recency"]
        return candidate_pools.draw(rows, retriever, servable, settings, self.config.seed, answered=answered)

    def expected_events(self, rows: Rows) -> Ints:
        """Returns how many more items each row's user is assumed to take."""
        return self.split.expected[rows.user]

    def answered(self, rows: Rows) -> Rows:
        """Returns rows of SFT with their pools, which hold what the user took next."""
        return self.pooled(rows, for_sft=True, answered=True)

    def tested(self) -> Rows:
        """Samples at most `test_users` of the test rows with the run's seed, and draws their pools."""
        return self.pooled(self.split.test.sample(self.config.test_users, self.config.seed))

    def before_test(self) -> Rows:
        """Samples at most `test_users` of the users as the test part finds them, and draws their pools."""
        return self.pooled(self.split.before_test.sample(self.config.test_users, self.config.seed))

    @property
    def _validation(self) -> Rows:
        return self.split.validation.sample(self.config.validation_users, self.config.seed)
