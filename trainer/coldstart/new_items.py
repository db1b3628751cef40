"""A trained recommender and a catalog with further items in, the recommender with a token for each of them out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from recpolicy.data import Aligned
from recpolicy.dataset.columns import Floats, Ints
from recpolicy.dataset.slates import item_token
from recpolicy.errors import UsageError
from recpolicy.trainer.coldstart import regression
from recpolicy.trainer.coldstart.attribute_embeddings import Rehearsal
from recpolicy.trainer.models.item_attributes import Attributes
from recpolicy.trainer.models.pretrained import own, tables
from recpolicy.trainer.models.recommenders import Recommender

LEAST = 5
"""Training events that make an item's embedding one to learn from."""


def learned_from(catalog: Aligned, events: Ints) -> Ints:
    """Rows of the items still in the catalog whose embeddings training made: those with LEAST events, else all.

    `events`: how many each of the earlier items had in training. Raises UsageError where there are fewer than two.
    """
    here = catalog.present[: catalog.earlier]
    for least in (LEAST, 0):
        rows = np.flatnonzero(here & (events >= least))
        if len(rows) > 1:
            return rows
    raise UsageError(
        "almost none of the items that the model was trained on is in these data",
        where=catalog.dataset.name,
        help="give a later state of the data set of the run, with the same item ids",
    )


def merged(recommender: Recommender) -> Recommender:
    """The same recommender, its adapters part of its weights. The model is changed in place."""
    if recommender.adapters is None:
        return recommender
    return replace(recommender, model=recommender.adapters.merge_and_unload(), adapters=None)


@torch.no_grad()
def extended(
    recommender: Recommender, catalog: Aligned, learned: Ints, facts: Attributes, rehearsal: Rehearsal
) -> Recommender:
    """The recommender, without adapters, with a token for each item that arrived behind the others, which stay.

    Model and tokenizer are changed in place. What the head reads as the item's embedding is what was rehearsed. Where
    the embeddings that are read as input are a table of their own, theirs are predicted from those of `learned` items.
    """
    arrived, model, tokenizer, form = catalog.arrived, recommender.model, recommender.tokenizer, recommender.form
    tokenizer.add_tokens([own(item_token(row)) for row in arrived.tolist()])
    if len(tables(model)[0].weight) < len(tokenizer):  # some models have rows to spare
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    places = form.item_base + torch.from_numpy(arrived)
    *read, head = (table.weight for table in tables(model))
    head[places] = torch.from_numpy(rehearsal.embeddings(facts).of(facts.of(arrived))).to(head)
    for weight in read:
        known = weight[form.item_base + torch.from_numpy(learned)].double().cpu().numpy()
        weight[places] = torch.from_numpy(_predicted(facts, learned, known, arrived)).to(weight)
    return replace(recommender, form=replace(form, items=catalog.dataset.items.rows))


def _predicted(facts: Attributes, learned: Ints, known: Floats, arrived: Ints) -> Floats:
    """What the attributes of `arrived` items say of the embeddings `known` of `learned` ones, in their usual length.

    A prediction is a mean and therefore short, and the model has never read an embedding so short.
    """
    found = regression.fit(facts, learned, known).of(facts.of(arrived))
    lengths = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return np.asarray(found / lengths * np.median(np.linalg.norm(known, axis=1)), np.float64)
