"""A cache of prompts and rows that go on from them in, attention out: heads and rows that share keys in one product.

On a CPU, torch's own attention reads the keys of every row and head anew, and its kernels are slow for few queries.
Here the queries of all heads that share keys, and of all rows that share a prompt, are stacked and go through one
matrix product: scores, softmax and sum are those of Vaswani et al. (2017), and no key is copied or expanded.
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
"""What transformers calls its plain attention."""
TOLD = {"position_ids", "sliding_window", "use_cache", "cache_position"}
"""What a model may tell its attention beside the mask that it has already heeded."""


class UnknownAttention(Exception):
    """A model's attention does something else than scale, mask and softmax."""


class RoomyLayer(DynamicLayer):
    """Keys and values with room for those to come: a further token is written, where a DynamicLayer copies all."""

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        """What is there already, [B, heads, tokens, width], to be followed by at most `room` further tokens."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self._end = 0
        self._roomy = [told.new_empty(*told.shape[:2], told.shape[2] + room, told.shape[3]) for told in (keys, values)]
        self.update(keys, values)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values [B, heads, tokens, width]; returns all there are."""
        begin, self._end = self._end, self._end + key_states.shape[2]
        for told, new in zip(self._roomy, (key_states, value_states), strict=True):
            told[:, :, begin : self._end] = new
        keys, values = (told[:, :, : self._end] for told in self._roomy)
        self.keys, self.values = keys, values
        return keys, values


class BranchedLayer(DynamicLayer):
    """The keys and values of U prompts, each once, and those of the tokens' in B rows that go on from them.

    The G = B / U rows of a prompt are adjacent. `update` returns the rows' own; `attend` finds the prompts' here.
    """

    def __init__(self, prompt_keys: Tensor, prompt_values: Tensor, own: DynamicLayer) -> None:
        """Prompts' as [U, heads, P, width]; `own` has none yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.prompt_keys, self.prompt_values, self._own = prompt_keys, prompt_values, own
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values [B, heads, tokens, width]; returns those behind the prompts."""
        return self._own.update(key_states, value_states)

    def get_seq_length(self) -> int:
        """Tokens of prompt and row so far."""
        return self.prompt_keys.shape[2] + self._own.get_seq_length()


def branch(cache: DynamicCache, which: Tensor, *, shared: bool, room: int = 0) -> None:
    """Go on from a cache of prompts in B rows, those of the prompts `which` [B].

    `room`: so many tokens will follow, and no gradients are wanted; 0: it is not known. `shared`: the model will run
    `stacked`, where the keys of a prompt need not be expanded if all have as many rows, and these are adjacent.
    """
    for at, layer in enumerate(cache.layers):
        assert isinstance(layer, DynamicLayer)
        keys, values = layer.keys, layer.values
        assert keys is not None and values is not None
        prompts, rows = torch.arange(len(keys), device=which.device), len(which)
        if type(layer) is not DynamicLayer:
            layer.batch_select_indices(which)
        elif shared and torch.equal(which, prompts.repeat_interleave(rows // len(keys))):
            nothing = keys[:1, :, :0].expand(rows, -1, -1, -1), values[:1, :, :0].expand(rows, -1, -1, -1)
            cache.layers[at] = BranchedLayer(keys, values, RoomyLayer(*nothing, room) if room else DynamicLayer())
        elif room:
            cache.layers[at] = RoomyLayer(keys[which], values[which], room)
        else:
            layer.batch_select_indices(which)  # gradients flow through the expanded keys and values


@contextmanager
def stacked(model: PreTrainedModel, cache: DynamicCache) -> Iterator[None]:
    """The bare model with `attend` for its attention while it goes on from the cache.

    Raises UnknownAttention where a layer did something else.
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
    """What is to be added to scores, [B, 1, T, C] of the last C keys; all see those before. None: all see all."""
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
    """What queries [B, heads, T, D] read from keys and values [B, KV, S, D], behind those of prompts; [B, T, heads, D].

    Query heads are those of the first of the KV, then those of the next. `attention_mask` is one of `hidden`.
    Raises UnknownAttention where the model asks for something else.
    """
    if asked := sorted(name for name, told in more.items() if told is not None and name not in TOLD):
        raise UnknownAttention(", ".join(asked))
    at = module.layer_idx
    assert isinstance(at, int)
    used.add(at)
    layer = layers[at]
    (rows, heads, length, width), own = query.shape, key.shape[2]
    queries = (query * (width**-0.5 if scaling is None else scaling)).reshape(rows, key.shape[1], -1, width)
    scores = _added(queries @ key.mT, attention_mask if attention_mask is None else attention_mask[..., -own:])
    if isinstance(layer, BranchedLayer):
        prompts, past = layer.prompt_keys.shape[0], layer.prompt_keys.shape[2]
        told = _stacked(queries, prompts) @ layer.prompt_keys.mT  # [U, KV, G x heads / KV x T, P]
        told = _added(told, attention_mask if attention_mask is None else attention_mask[..., :-own])
        weights = _dropped(torch.cat([told, _stacked(scores, prompts)], 3).softmax(-1), dropout)
        told, scores = weights.split([past, own], 3)
        out = _apart(told @ layer.prompt_values, rows) + _apart(scores, rows) @ value
    else:
        out = _dropped(scores.softmax(-1), dropout) @ value  # [B, KV, heads / KV x T, D]
    return out.reshape(rows, heads, length, -1).transpose(1, 2).contiguous(), None


def _added(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Scores [U, KV, G x N x T, C], and what to add to the last of the C, [U x G, 1, T, at most C]."""
    if mask is None or not mask.shape[3]:
        return scores
    whole = pad(mask, (scores.shape[3] - mask.shape[3], 0))
    apart = whole.unflatten(0, (len(scores), -1)).transpose(1, 2)[:, :, :, None]  # [U, 1, G, 1, T, C]
    added: Tensor = scores.unflatten(2, (apart.shape[2], -1, apart.shape[4])) + apart
    return added.flatten(2, 4)


def _stacked(rows: Tensor, prompts: int) -> Tensor:
    """What B rows have, [B, KV, N, C], by the U prompts they go on from: [U, KV, G x N, C]."""
    by_prompt: Tensor = rows.unflatten(0, (prompts, -1))
    return by_prompt.transpose(1, 2).flatten(2, 3)


def _apart(stacked: Tensor, rows: int) -> Tensor:
    """The inverse of `_stacked`."""
    by_prompt: Tensor = stacked.unflatten(2, (rows // len(stacked), -1))
    return by_prompt.transpose(1, 2).flatten(0, 1)


def _dropped(weights: Tensor, share: float) -> Tensor:
    return nn.functional.dropout(weights, share) if share else weights
