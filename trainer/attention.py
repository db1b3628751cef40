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
from transformers.cache_utils import CacheLayerMixin, DynamicLayer
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
        super().__init__()
        self.lazy_initialization(keys, values)
        self._roomy = [told.new_empty(*told.shape[:2], told.shape[2] + room, told.shape[3]) for told in (keys, values)]
        self.keys, self.values = (told[:, :, :0] for told in self._roomy)
        self.update(keys, values)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values [B, heads, tokens, width]; returns all there are."""
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        for told, new in zip(self._roomy, (key_states, value_states), strict=True):
            told[:, :, begin:end] = new
        self.keys, self.values = (told[:, :, :end] for told in self._roomy)
        return self.keys, self.values


class BranchedLayer(DynamicLayer):
    """The keys and values of U prompts, each once, and those of the B tokens' rows that go on from them.

    The G = B / U rows of a prompt are adjacent. `update` returns the rows' own; `attend` finds the prompts' here.
    """

    def __init__(self, prompt: DynamicLayer, own: DynamicLayer) -> None:
        super().__init__()
        self.prompt_keys, self.prompt_values, self._own = prompt.keys, prompt.values, own  # [U, heads, P, width]
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values [B, heads, tokens, width]; returns those behind the prompts."""
        return self._own.update(key_states, value_states)

    def get_seq_length(self) -> int:
        """Tokens of prompt and row so far."""
        return self.prompt_keys.shape[-2] + self._own.get_seq_length()


def branch(cache: DynamicCache, which: Tensor, *, shared: bool, room: int = 0) -> None:
    """Go on from a cache of prompts in B rows, those of the prompts `which` [B].

    `room`: so many tokens will follow, and no gradients are wanted; 0: it is not known. `shared`: the model will run
    `stacked`, and the keys of a prompt need not be expanded, which is only done where rows ask for it.
    """
    prompts = len(cache.layers[0].keys)
    adjacent = torch.arange(prompts, device=which.device).repeat_interleave(len(which) // prompts)
    shared = shared and torch.equal(which, adjacent)
    for at, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and shared:
            nothing = (told[:1, :, :0].expand(len(which), -1, -1, -1) for told in (layer.keys, layer.values))
            cache.layers[at] = BranchedLayer(layer, RoomyLayer(*nothing, room) if room else DynamicLayer())
        elif type(layer) is DynamicLayer and room:
            cache.layers[at] = RoomyLayer(layer.keys[which], layer.values[which], room)
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
    mask: Tensor = eager_mask(*args, **kwargs)
    somewhere = (mask != 0).flatten(0, 2).any(0)
    return mask[..., int(somewhere.int().argmax()) :] if somewhere.any() else None


def attend(
    layers: Sequence[CacheLayerMixin],
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
    scores = queries @ key.mT  # [B, KV, heads / KV x T, S]
    past, mask = None, attention_mask
    if isinstance(layer, BranchedLayer):
        prompts = len(layer.prompt_keys)
        past = _stacked(queries, prompts) @ layer.prompt_keys.mT  # [U, KV, G x heads / KV x T, P]
        if mask is not None and mask.shape[3] > own:
            past = _added(past, pad(mask[..., :-own], (past.shape[3] + own - mask.shape[3], 0)))
            mask = mask[..., -own:]
    if mask is not None:
        scores = _added(scores, pad(mask, (own - mask.shape[3], 0)))
    if past is None:
        out = _dropped(scores.softmax(-1), dropout) @ value
    else:
        weights = torch.cat([past, _stacked(scores, prompts)], 3).softmax(-1)
        told, rest = _dropped(weights, dropout).split([past.shape[3], own], 3)
        out = _apart(told @ layer.prompt_values, rows) + _apart(rest, rows) @ value
    return out.reshape(rows, heads, length, -1).transpose(1, 2).contiguous(), None


def _added(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores [U, KV, G x N x T, C] and what to add to them, [U x G, 1, T, C]."""
    apart = mask.unflatten(0, (len(scores), -1)).transpose(1, 2)[:, :, :, None]  # [U, 1, G, 1, T, C]
    return (scores.unflatten(2, (apart.shape[2], -1, apart.shape[4])) + apart).flatten(2, 4)


def _stacked(rows: Tensor, prompts: int) -> Tensor:
    """What B rows have, [B, KV, N, C], by the U prompts they go on from: [U, KV, G x N, C]."""
    return rows.unflatten(0, (prompts, -1)).transpose(1, 2).flatten(2, 3)


def _apart(stacked: Tensor, rows: int) -> Tensor:
    """The inverse of `_stacked`."""
    return stacked.unflatten(2, (rows // len(stacked), -1)).transpose(1, 2).flatten(0, 1)


def _dropped(weights: Tensor, share: float) -> Tensor:
    return nn.functional.dropout(weights, share) if share else weights
