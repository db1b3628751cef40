"""Models which items users take next: a calibrated blend of a fine-tuned language model and classic recommenders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from recpolicy.dataset.columns import Bools, Floats, Ints
from recpolicy.dataset.rows import Chances, Rows
from recpolicy.dataset.slates import unseen
from recpolicy.evaluation import metrics
from recpolicy.evaluation.baselines import top
from recpolicy.trainer.decoding.prefix_sharing import evaluating
from recpolicy.trainer.decoding.rollout import next_items
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.user_model import blend, chances, sources
from recpolicy.user_model.blend import Examples
from recpolicy.user_model.sources import Memories, Scores

BATCH = 256
FILE = "user_model.safetensors"
LANGUAGE_MODEL = "language_model"
"""Name of the language model as a source, beside those of the memories."""
DRAWS = 16
"""Number of lists of next items sampled for a row, where their order matters."""
RESIDUAL = 0.15
"""Weight of a recommender's own logits beside the user model's, which are log-probabilities."""
LEAST = -20.0
"""The least log-probability; it also stands for an item seen."""


@dataclass(frozen=True, eq=False)
class UserModel:
    """Probability of every item to be the next one that a user with a given history takes.

    p(item | history) = softmax over unseen items of sum_f w_f x_f(item), a multinomial logit. The features x are the
    language model's log-probabilities behind the last item of the history and those of the classic recommenders
    (`Memories.features`); the weights w [F] maximize the likelihood of next items (`blend.fit`).
    """

    recommender: Recommender | None
    """The fine-tuned model, which is not trained further; None: only the classic recommenders count."""
    prompter: Prompter
    memories: Memories
    weights: Floats
    """One for each source, [F], in the order of `names`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources, [F]: the language model, if it is one, and those of the memories."""
        return (*([LANGUAGE_MODEL] if self.recommender else []), *self.memories.names)

    def log_shares(self, rows: Rows) -> Scores:
        """Computes log p of every item to be the very next one taken, [B, items]; at least LEAST, as for seen items."""
        out = np.empty((len(rows), self.memories.items), np.float32)
        for first in range(0, len(rows), BATCH):
            part = np.arange(first, min(first + BATCH, len(rows)))
            features, free = self.features(rows.take(part))
            out[part] = np.maximum(blend.log_softmax(blend.logits(features, self.weights), free), LEAST)
        return out

    def with_chances(self, rows: Rows, count: Ints, *, order: bool) -> Rows:
        """Returns the rows with expected labels by this model, as the function `with_chances` does."""
        return with_chances(rows, self.log_shares(rows), count, order=order)

    def features(self, rows: Rows) -> tuple[Scores, Bools]:
        """Computes the features x of every item, [F, B, items], and which items may be taken next, [B, items] bool."""
        free = unseen(rows, self.memories.items)
        classic = self.memories.features(rows)
        if self.recommender is None:
            return classic, free
        own = np.where(free, blend.log_softmax(self._language(self.recommender, rows), free), np.float32(0.0))
        return np.concatenate([own[None], classic]), free

    def examples(self, rows: Rows) -> Examples:
        """Returns rows with next items as a fit reads them."""
        return Examples.of(*self.features(rows), rows)

    def _language(self, recommender: Recommender, rows: Rows) -> Scores:
        """The language model's logits behind the last item of each history, [B, items]."""
        prompts = recommender.encode(self.prompter.prompts(rows))
        with evaluating(recommender.model):
            return next_items(recommender.model, recommender.form, prompts, rows.history).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Writes memories and weights into `folder`, but not the language model, which has its own folder."""
        save_file({**sources.save(self.memories), "weights": self.weights}, str(folder / FILE))


def prior(log_shares: Scores, k: int, of: Scores | None = None) -> Scores:
    """Computes the logits that are added to a recommender's own, [B, items]: log(p + p_k) / RESIDUAL.

    p are the probabilities whose logarithms are `log_shares` [B, items]; p_k is a row's K-th largest. It keeps all
    unlikely items close to one another: for a slate of K places it hardly matters how unlikely an item is, and a policy
    may ask for it. Both logits together, times RESIDUAL, are log(p + p_k) + RESIDUAL own: the recommender learns a
    residual to the user model. `of` [B, M] are log-probabilities of other items for the same users; then the logits of
    those are returned, [B, M].
    """
    most = min(k, log_shares.shape[1])
    least = -np.partition(-log_shares, most - 1, 1)[:, most - 1 : most]  # [B, 1]
    return np.asarray(np.logaddexp(log_shares if of is None else of, least) / np.float32(RESIDUAL), np.float32)


def load(folder: Path, recommender: Recommender, prompter: Prompter) -> UserModel:
    """Reads the user model that `UserModel.save` wrote."""
    arrays = load_file(str(folder / FILE))
    return UserModel(recommender, prompter, sources.load(arrays), arrays["weights"])


def fit(recommender: Recommender | None, prompter: Prompter, memories: Memories, rows: Rows) -> UserModel:
    """Fits the weights that maximize the likelihood of the rows' next items."""
    fitted = UserModel(recommender, prompter, memories, np.zeros(0))
    return replace(fitted, weights=blend.fit(_examples(fitted, rows)))


def assess(fitted: UserModel, validation: Rows, test: Rows, seed: int) -> dict[str, Any]:
    """Measures a user model that was fitted on the validation rows, as `eval.json` has it.

    `weights` are those of the sources. `log_likelihood` is the mean log p of a next item: of the blend on validation
    rows (cross-validated over users) and on test rows, and of each source alone on test rows, fitted in the same way.
    `ndcg` is NDCG@K of each one's own ranking of the test rows. `reliability` is over all pairs of a test row and an
    unseen item, and `reliability_at_the_top` over the K likeliest items of each row.
    """
    tuned, judged = _examples(fitted, validation), fitted.examples(test)
    k = fitted.prompter.k

    def quality(examples: Examples, weights: Floats) -> dict[str, Any]:
        slates = top(blend.logits(examples.features, weights), test, k)
        ndcg = metrics.mean(metrics.accuracy("ndcg", test, slates))
        return {"log_likelihood": _mean(examples.log_likelihood(weights), examples), "ndcg": ndcg}

    alone = {}
    for i, name in enumerate(fitted.names):
        one, other = (replace(e, features=e.features[i : i + 1]) for e in (tuned, judged))
        alone[name] = quality(other, blend.fit(one))
    blended = quality(judged, fitted.weights)
    shares = blend.log_softmax(blend.logits(judged.features, fitted.weights), judged.free)
    predicted = chances.inclusion(np.exp(shares), judged.taken.sum(1))
    best = np.zeros_like(judged.free)
    np.put_along_axis(best, np.argsort(-shares, 1)[:, :k], True, 1)
    return {
        "weights": dict(zip(fitted.names, fitted.weights.tolist(), strict=True)),
        "log_likelihood": {
            "validation": _mean(blend.cross_validated(tuned, seed), tuned),
            "test": blended["log_likelihood"],
        },
        "ndcg": blended["ndcg"],
        "alone": alone,
        "reliability": blend.reliability(predicted, judged.taken, judged.free),
        "reliability_at_the_top": blend.reliability(predicted, judged.taken, judged.free & best),
    }


def with_chances(rows: Rows, log_shares: Scores, count: Ints, *, order: bool) -> Rows:
    """Returns the rows with expected labels: the chance of each item to be among the `count` [B] next ones taken.

    `log_shares` [B, items]: log-probabilities of the very next item; `chances.inclusion` turns them into those of the
    next `count`. With `order`, DRAWS lists of next items are sampled, too, [DRAWS, B, max count], -2 behind the last.
    """
    free = unseen(rows, log_shares.shape[1])
    shares = np.where(free, np.exp(log_shares), np.float32(0.0))
    draws = None
    if order:
        draws = chances.drawn(shares, int(count.max(initial=1)), DRAWS, np.random.default_rng(0))
        draws[:, np.arange(draws.shape[2]) >= count[:, None]] = -2
    return replace(rows, chances=Chances(chances.inclusion(shares, count), np.arange(len(rows)), count, draws))


def _examples(fitted: UserModel, rows: Rows) -> Examples:
    """As many of the rows as a fit has memory for."""
    most = max(blend.PAIRS // max(fitted.memories.items, 1), 1)
    return fitted.examples(rows.sample(most, seed=0))


def _mean(log_likelihood: Floats, examples: Examples) -> float:
    return float(log_likelihood.sum() / max(int(examples.taken.sum()), 1))
