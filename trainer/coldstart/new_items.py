"""Extends a trained recommender by a token for each item that came after training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from recpolicy.data import Aligned
from recpolicy.dataset.columns import Floats, Ints
from recpolicy.dataset.slates import item_token
from recpolicy.errors import UsageError
from recpolicy.trainer.coldstart import regression
from recpolicy.trainer.coldstart.attribute_embeddings import ColdStartExamples
from recpolicy.trainer.models.item_attributes import Attributes
from recpolicy.trainer.models.pretrained import added_token, tables
from recpolicy.trainer.models.recommenders import Recommender

LEAST = 5
"""Least number of training events of an item whose embedding is learned from."""


def learned_from(catalog: Aligned, events: Ints) -> Ints:
    """Returns the rows of items still in the catalog to learn from: those with LEAST training events, else all.

    `events`: how many each of the earlier items had in training. Raises UsageError where there are fewer than two.
    """
    present = catalog.present[: catalog.earlier]
    for least in (LEAST, 0):
        rows = np.flatnonzero(present & (events >= least))
        if len(rows) > 1:
            return rows
    raise UsageError(
        "almost none of the items that the model was trained on is in these data",
        where=catalog.dataset.name,
        help="give a later state of the data set of the run, with the same item ids",
    )


def merged(recommender: Recommender) -> Recommender:
    """Merges the adapters into the weights, in place, and returns the recommender without adapters."""
    if recommender.adapters is None:
        return recommender
    return replace(recommender, model=recommender.adapters.merge_and_unload(), adapters=None)


@torch.no_grad()
def extended(
    recommender: Recommender, catalog: Aligned, learned: Ints, facts: Attributes, examples: ColdStartExamples
) -> Recommender:
    """Adds a token for each item that arrived, behind the others, which do not change; returns the recommender.

    Model and tokenizer are changed in place; the model has no adapters. The head gets the embeddings learned from the
    examples. Where the input embeddings are a table of their own, theirs are predicted from those of the `learned`
    items.
    """
    arrived, model, tokenizer, form = catalog.arrived, recommender.model, recommender.tokenizer, recommender.form
    tokenizer.add_tokens([added_token(item_token(row)) for row in arrived.tolist()])
    if len(tables(model)[0].weight) < len(tokenizer):  # some models have rows to spare
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    places = form.item_base + torch.from_numpy(arrived)
    *read, head = (table.weight for table in tables(model))
    head[places] = torch.from_numpy(examples.embeddings(facts).of(facts.of(arrived))).to(head)
    for weight in read:
        known = weight[form.item_base + torch.from_numpy(learned)].double().cpu().numpy()
        weight[places] = torch.from_numpy(_predicted(facts, learned, known, arrived)).to(weight)
    return replace(recommender, form=replace(form, items=catalog.dataset.items.rows))


def _predicted(facts: Attributes, learned: Ints, known: Floats, arrived: Ints) -> Floats:
    """Embeddings of `arrived` items, predicted from those `known` of `learned` ones and scaled to their median length.

    A prediction is a mean and therefore short, and the model has never read so short an embedding.
    """
    vectors = regression.fit(facts, learned, known).of(facts.of(arrived))
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray(vectors / lengths * np.median(np.linalg.norm(known, axis=1)), np.float64)
