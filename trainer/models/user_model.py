"""Models which items users take next: a calibrated blend of a fine-tuned language model and classic recommenders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from recpolicy.dataset.candidates import is_large
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.dataset.rows import LabelProbabilities, Rows
from recpolicy.dataset.slates import unseen
from recpolicy.evaluation import metrics
from recpolicy.evaluation.baselines import top
from recpolicy.evaluation.linear import Scores
from recpolicy.trainer.decoding.prefix_sharing import evaluating
from recpolicy.trainer.decoding.rollout import next_items
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.user_model import blend, inclusion, linear_recommenders, retrieval
from recpolicy.user_model.blend import Examples
from recpolicy.user_model.linear_recommenders import LinearRecommenders

BATCH = 256
PAIRS = 10_000_000
"""Most (row, item) pairs that the language model has logits for at once."""
FILE = "user_model.safetensors"
LANGUAGE_MODEL = "language_model"
"""Name of the language model as a source, beside those of the linear recommenders."""
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
    (`LinearRecommenders.features`); the weights w [F] maximize the likelihood of next items (`blend.fit`).
    """

    recommender: Recommender | None
    """The fine-tuned model, which is not trained further; None: only the classic recommenders count."""
    prompter: Prompter
    linear: LinearRecommenders
    weights: Floats
    """One for each source, [F], in the order of `names`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources, [F]: the language model, if it is one, and those of the linear recommenders."""
        return (*([LANGUAGE_MODEL] if self.recommender else []), *self.linear.names)

    def next_item_log_probs(self, rows: Rows) -> Scores:
        """Computes log p of every item to be the very next one taken, [B, items]; at least LEAST, as for seen items."""
        width = self.linear.items if rows.columns is None else rows.columns.shape[1]
        out = np.empty((len(rows), width), np.float32)
        for first in range(0, len(rows), BATCH):
            part = np.arange(first, min(first + BATCH, len(rows)))
            out[part] = np.maximum(self.examples(rows.take(part)).log_probs(self.weights), LEAST)
        return out

    def with_candidates(self, rows: Rows, *, answered: bool = False) -> Rows:
        """Returns the rows with the candidates that stand for a large catalog; as they are for one that is not large.

        Candidates are the best items of every source, and a sample of the others (`retrieval.with_candidates`).
        """
        if rows.candidates is not None or not is_large(self.linear.items):
            return rows
        parts = [self._best(some) for _, some in rows.batches(BATCH)]
        best = [np.concatenate(source) for source in zip(*parts, strict=True)]
        return retrieval.with_candidates(rows, best, self.linear.items, answered=answered)

    def _best(self, rows: Rows) -> list[Codes]:
        """The best unseen items of every source, [B, BEST] each."""
        best = self.linear.best(rows, retrieval.BEST)
        if self.recommender is not None:
            found = [
                top(self._language(self.recommender, some), some, retrieval.BEST).items
                for _, some in rows.batches(rows_at_once(self.linear.items))
            ]
            best.append(np.concatenate(found))
        return best

    def features(self, rows: Rows) -> tuple[Scores, Bools]:
        """Computes the features x of every item, [F, B, items], and which items may be taken next, [B, items] bool."""
        free = unseen(rows, self.linear.items)
        classic = self.linear.features(rows)
        if self.recommender is None:
            return classic, free
        own = np.where(free, self._log_probs(self.recommender, rows), np.float32(0.0))
        return np.concatenate([own[None], classic]), free

    def _log_probs(self, recommender: Recommender, rows: Rows) -> Scores:
        """The language model's log p of the next item among all that are unseen, [B, items] or at candidates [B, C]."""
        if rows.columns is None:
            return blend.log_softmax(self._language(recommender, rows), unseen(rows, self.linear.items))
        parts = []
        for _, some in rows.batches(rows_at_once(self.linear.items)):
            every = replace(some, candidates=None)
            logp = blend.log_softmax(self._language(recommender, every), unseen(every, self.linear.items))
            parts.append(np.take_along_axis(logp, some.items_at(np.arange(rows.columns.shape[1])[None]), 1))
        return np.concatenate(parts)

    def examples(self, rows: Rows) -> Examples:
        """Returns rows with next items as a fit reads them."""
        return Examples.of(*self.features(rows), rows)

    def _language(self, recommender: Recommender, rows: Rows) -> Scores:
        """The language model's logits behind the last item of each history, [B, items]."""
        prompts = recommender.encode(self.prompter.prompts(rows))
        with evaluating(recommender.model):
            return next_items(recommender.model, recommender.form, prompts, rows.history).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Writes the linear recommenders and the weights into `folder`; the language model has its own folder."""
        save_file({**linear_recommenders.save(self.linear), "weights": self.weights}, str(folder / FILE))


def prior(next_item_log_probs: Scores, k: int, of: Scores | None = None) -> Scores:
    """Computes the logits that are added to a recommender's own, [B, items]: log(p + p_k) / RESIDUAL.

    p are the probabilities whose logarithms are `next_item_log_probs` [B, items]; p_k is a row's K-th largest. It keeps
    all unlikely items close to one another: for a slate of K places it hardly matters how unlikely an item is, and a
    policy may ask for it. Both logits together, times RESIDUAL, are log(p + p_k) + RESIDUAL own: the recommender learns
    a residual to the user model. `of` [B, M] are log-probabilities of other items for the same users; then the logits
    of those are returned, [B, M].
    """
    most = min(k, next_item_log_probs.shape[1])
    least = -np.partition(-next_item_log_probs, most - 1, 1)[:, most - 1 : most]  # [B, 1]
    return np.asarray(np.logaddexp(next_item_log_probs if of is None else of, least) / np.float32(RESIDUAL), np.float32)


def load(folder: Path, recommender: Recommender, prompter: Prompter) -> UserModel:
    """Reads the user model that `UserModel.save` wrote."""
    arrays = load_file(str(folder / FILE))
    return UserModel(recommender, prompter, linear_recommenders.load(arrays), arrays["weights"])


def fit(recommender: Recommender | None, prompter: Prompter, linear: LinearRecommenders, rows: Rows) -> UserModel:
    """Fits the weights that maximize the likelihood of the rows' next items."""
    fitted = UserModel(recommender, prompter, linear, np.zeros(0))
    return replace(fitted, weights=blend.fit(_examples(fitted, rows)))


def rows_at_once(items: int) -> int:
    """Returns how many rows may have a number for every item at a time."""
    return max(1, min(BATCH, PAIRS // max(items, 1)))


def assess(fitted: UserModel, validation: Rows, test: Rows, seed: int) -> dict[str, Any]:
    """Measures a user model that was fitted on the validation rows, as `eval.json` has it.

    `weights` are those of the sources. `log_likelihood` is the mean log p of a next item: of the blend on validation
    rows (cross-validated over users) and on test rows, and of each source alone on test rows, fitted in the same way.
    `ndcg` is NDCG@K of each one's own ranking of the test rows. `reliability` is over all pairs of a test row and an
    unseen item, and `reliability_at_the_top` over the K likeliest items of each row. Of a large catalog all this is
    about the rows' candidates, to which what was taken next is added.
    """
    test = fitted.with_candidates(replace(test, candidates=None), answered=True)
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
    shares = judged.log_probs(fitted.weights)
    predicted = inclusion.inclusion_probabilities(np.exp(shares), judged.taken.sum(1), _weight(test))
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


def with_label_probabilities(rows: Rows, next_item_log_probs: Scores, count: Ints, *, order: bool) -> Rows:
    """Returns the rows with expected labels: the probability of each item to be among the `count` [B] next ones taken.

    `next_item_log_probs` [B, items]: log-probabilities of the very next item; `inclusion_probabilities` turns them into
    those of the next `count`. With `order`, DRAWS lists of next items are sampled, too, [DRAWS, B, max count], -2
    behind the last.
    """
    free = unseen(rows, next_item_log_probs.shape[1])
    shares = np.where(free, np.exp(next_item_log_probs), np.float32(0.0))
    draws, weight = None, _weight(rows)
    if order:
        mass = shares if weight is None else shares * weight
        drawn = inclusion.sample_next_items(mass, int(count.max(initial=1)), DRAWS, np.random.default_rng(0))
        draws = np.array([rows.items_at(of) for of in drawn])
        draws[:, np.arange(draws.shape[2]) >= count[:, None]] = -2
    table = inclusion.inclusion_probabilities(shares, count, weight)
    at = np.arange(len(rows))
    return replace(rows, label_probabilities=LabelProbabilities(table, at, count, draws, rows.candidates))


def _weight(rows: Rows) -> Scores | None:
    """How many items each candidate stands for, [B, C]; None where every item is a candidate."""
    return None if rows.candidates is None else np.exp(rows.candidates.log_weight)


def _examples(fitted: UserModel, rows: Rows) -> Examples:
    """As many of the rows as a fit has memory for."""
    width = retrieval.CANDIDATES if is_large(fitted.linear.items) else fitted.linear.items
    some = rows.sample(max(blend.PAIRS // max(width, 1), 1), seed=0)
    return fitted.examples(fitted.with_candidates(some, answered=True))


def _mean(log_likelihood: Floats, examples: Examples) -> float:
    return float(log_likelihood.sum() / max(int(examples.taken.sum()), 1))
