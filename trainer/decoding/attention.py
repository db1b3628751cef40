"""Computes attention of rows that continue shared prompts: heads and rows that share keys go through one product.

On a CPU, torch's own attention reads the keys again for every row and head, and its kernels are slow for few queries.
Here the queries of all heads that share keys, and of all rows that share a prompt, are stacked and go through one
matrix product. Scores, softmax and sum are those of Vaswani et al. (2017): softmax(Q K^T / sqrt(D) + mask) V. No key is
copied or expanded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import AttentionMaskInterface, eager_mask

NAME = "recpolicy"
PLAIN = ("sdpa", "eager")
"""Names of plain attention in transformers."""
IGNORED = {"position_ids", "sliding_window", "use_cache", "cache_position"}
"""Arguments that a model may pass to its attention and that the mask already takes into account."""


class UnknownAttention(Exception):
    """A model's attention does something else than scale, mask and softmax."""


class RoomyLayer(DynamicLayer):
    """Keys and values with room for more: a further token is written in place, where a DynamicLayer copies all."""

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        """Starts with keys and values [B, heads, tokens, width]; at most `room` further tokens can follow."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self._end = 0
        self._buffers = [x.new_empty(*x.shape[:2], x.shape[2] + room, x.shape[3]) for x in (keys, values)]
        self.update(keys, values)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Adds keys and values [B, heads, tokens, width], and returns all of them."""
        begin, self._end = self._end, self._end + key_states.shape[2]
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, begin : self._end] = new
        keys, values = (buffer[:, :, : self._end] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values


class BranchedLayer(DynamicLayer):
    """The keys and values of U prompts, each once, and those of later tokens in the B rows that continue them.

    The G = B / U rows of a prompt are adjacent. `update` returns the rows' own; `attend` reads the prompts' from here.
    """

    def __init__(self, prompt_keys: Tensor, prompt_values: Tensor, own: DynamicLayer) -> None:
        """Takes the prompts' keys and values [U, heads, P, width], and an empty layer for the rows' own."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.prompt_keys, self.prompt_values, self._own = prompt_keys, prompt_values, own
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Adds keys and values [B, heads, tokens, width], and returns all those after the prompts."""
        return self._own.update(key_states, value_states)

    def get_seq_length(self) -> int:
        """Returns the number of tokens of prompt and row so far."""
        return self.prompt_keys.shape[2] + self._own.get_seq_length()


def branch(cache: DynamicCache, which: Tensor, *, shared: bool, room: int = 0) -> None:
    """Turns a cache of prompts into one of B rows, each of which continues the prompt `which` [B], in place.

    `room` is the number of tokens that will follow, without gradients; 0 if it is not known. With `shared` the model
    will run `stacked`: then the keys are not expanded if all prompts have equally many rows, and these are adjacent.
    """
    for at, layer in enumerate(cache.layers):
        assert isinstance(layer, DynamicLayer)
        keys, values = layer.keys, layer.values
        assert keys is not None and values is not None
        prompts, rows = torch.arange(len(keys), device=which.device), len(which)
        if type(layer) is not DynamicLayer:
            layer.batch_select_indices(which)
        elif shared and torch.equal(which, prompts.repeat_interleave(rows // len(keys))):
            no_keys, no_values = (x[:1, :, :0].expand(rows, -1, -1, -1) for x in (keys, values))
            own = RoomyLayer(no_keys, no_values, room) if room else DynamicLayer()
            cache.layers[at] = BranchedLayer(keys, values, own)
        elif room:
            cache.layers[at] = RoomyLayer(keys[which], values[which], room)
        else:
            layer.batch_select_indices(which)  # gradients flow through the expanded keys and values


@contextmanager
def stacked(model: PreTrainedModel, cache: DynamicCache) -> Iterator[None]:
    """Replaces the attention of the bare model by `attend` for a block that continues the cache.

    Raises UnknownAttention if a layer did something else.
    """
    config = model.config.get_text_config(decoder=True)
    before, used = config._attn_implementation, set[int]()
    AttentionInterface.register(NAME, partial(attend, cache.layers, used))
    AttentionMaskInterface.register(NAME, hidden)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
    if used != set(range(len(cache.layers))):
        raise UnknownAttention("some layers attend in a way of their own")


def hidden(*args: Any, **kwargs: Any) -> Tensor | None:
    """Builds the mask to add to the scores of the last C keys, [B, 1, T, C]; all tokens see the keys before those.

    Returns None if all tokens see all keys.
    """
    mask: Tensor | None = eager_mask(*args, **kwargs)
    if mask is None:
        return None
    somewhere = (mask != 0).flatten(0, 2).any(0)
    return mask[..., int(somewhere.int().argmax()) :] if somewhere.any() else None


def attend(
    layers: Sequence[object],
    used: set[int],
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Computes softmax(Q K^T scaling + mask) V over the keys of the prompt and the row's own, [B, T, heads, D].

    Q [B, heads, T, D], the row's own keys and values [B, KV, S, D]; the query heads of one key head are adjacent.
    `attention_mask` is one of `hidden`. Raises UnknownAttention if the model asks for something else.
    """
    if unknown := sorted(name for name, value in more.items() if value is not None and name not in IGNORED):
        raise UnknownAttention(", ".join(unknown))
    at = module.layer_idx
    assert isinstance(at, int)
    used.add(at)
    layer = layers[at]
    (rows, heads, length, width), own = query.shape, key.shape[2]
    queries = (query * (width**-0.5 if scaling is None else scaling)).reshape(rows, key.shape[1], -1, width)
    scores = _added(queries @ key.mT, attention_mask if attention_mask is None else attention_mask[..., -own:])
    if isinstance(layer, BranchedLayer):
        prompts, past = layer.prompt_keys.shape[0], layer.prompt_keys.shape[2]
        before = _stacked(queries, prompts) @ layer.prompt_keys.mT  # [U, KV, G x heads / KV x T, P]
        before = _added(before, attention_mask if attention_mask is None else attention_mask[..., :-own])
        weights = _dropped(torch.cat([before, _stacked(scores, prompts)], 3).softmax(-1), dropout)
        before, scores = weights.split([past, own], 3)
        out = _unstacked(before @ layer.prompt_values, rows) + _unstacked(scores, rows) @ value
    else:
        out = _dropped(scores.softmax(-1), dropout) @ value  # [B, KV, heads / KV x T, D]
    return out.reshape(rows, heads, length, -1).transpose(1, 2).contiguous(), None


def _added(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Adds a mask [U x G, 1, T, at most C] to the last of the C columns of scores [U, KV, G x N x T, C]."""
    if mask is None or not mask.shape[3]:
        return scores
    whole = pad(mask, (scores.shape[3] - mask.shape[3], 0))
    by_prompt = whole.unflatten(0, (len(scores), -1)).transpose(1, 2)[:, :, :, None]  # [U, 1, G, 1, T, C]
    added: Tensor = scores.unflatten(2, (by_prompt.shape[2], -1, by_prompt.shape[4])) + by_prompt
    return added.flatten(2, 4)


def _stacked(rows: Tensor, prompts: int) -> Tensor:
    """Stacks the values [B, KV, N, C] of the rows of each prompt: [U, KV, G x N, C]."""
    by_prompt: Tensor = rows.unflatten(0, (prompts, -1))
    return by_prompt.transpose(1, 2).flatten(2, 3)


def _unstacked(stacked: Tensor, rows: int) -> Tensor:
    """Undoes `_stacked`."""
    by_prompt: Tensor = stacked.unflatten(2, (rows // len(stacked), -1))
    return by_prompt.transpose(1, 2).flatten(0, 1)


def _dropped(weights: Tensor, share: float) -> Tensor:
    return nn.functional.dropout(weights, share) if share else weights
