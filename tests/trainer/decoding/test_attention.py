"""Checks stacked attention against torch's own, on rows that share prompts."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import causal_mask_function, sliding_window_causal_mask_function

from recpolicy.trainer.decoding import attention, prefix_sharing
from tests.trainer.small import SHARING, make

PROMPTS, WIDTH, PAST = 2, 8, 5
ONCE_EACH, EVENLY, UNEVENLY, MIXED = [0, 1], [0, 0, 0, 1, 1, 1], [0, 0, 1], [0, 1, 0, 1]


@dataclass(frozen=True)
class Given:
    """Rows of some prompts, with queries, keys and values."""

    query: Tensor  # [B, heads, T, WIDTH]
    own: tuple[Tensor, Tensor]  # keys and values, [B, KV, T, WIDTH]
    prompts: tuple[Tensor, Tensor]  # [PROMPTS, KV, PAST, WIDTH]
    which: Tensor  # [B]
    seen: Tensor  # [B, PAST + T], the tokens that are not padding

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.query, *self.own, *self.prompts


def given(which: list[int], heads: int, kept: int, tokens: int, *, padded: bool) -> Given:
    torch.manual_seed(0)

    def made(*shape: int) -> Tensor:
        return torch.randn(*shape, WIDTH, requires_grad=True)

    rows = len(which)
    seen = torch.ones(rows, PAST + tokens, dtype=torch.bool)
    if padded:
        seen[torch.tensor(which) == 1, :2] = False
        seen[0, PAST + 1 :] = False
    own, prompts = [(made(n, kept, t), made(n, kept, t)) for n, t in ((rows, tokens), (PROMPTS, PAST))]
    return Given(made(rows, heads, tokens), own, prompts, torch.tensor(which), seen)


def stacked(case: Given, *, shared: bool, window: int | None, room: int) -> Tensor:
    """What `attend` reads, [B, T, heads, WIDTH]; keys come a token at a time where there is room for them."""
    cache = DynamicCache()
    cache.layers.append(DynamicLayer())
    cache.update(*case.prompts, 0)
    attention.branch(cache, case.which, shared=shared, room=room)
    module = nn.Module()
    module.__dict__["layer_idx"] = 0
    tokens = case.query.shape[2]
    parts = [slice(i, i + 1) for i in range(tokens)] if room else [slice(0, tokens)]
    found = []
    for part in parts:
        keys, values = cache.update(case.own[0][:, :, part], case.own[1][:, :, part], 0)
        mask = attention.hidden(
            batch_size=len(case.which),
            q_length=part.stop - part.start,
            kv_length=PAST + part.stop,
            q_offset=PAST + part.start,
            mask_function=sliding_window_causal_mask_function(window) if window else causal_mask_function,
            attention_mask=case.seen[:, : PAST + part.stop],
            dtype=keys.dtype,
        )
        read, _ = attention.attend(cache.layers, set(), module, case.query[:, :, part], keys, values, mask)
        found.append(read)
    return torch.cat(found, 1)


def torchs(case: Given, window: int | None) -> Tensor:
    """The same by torch's own attention, with the keys of each prompt expanded."""
    groups = case.query.shape[1] // case.own[0].shape[1]
    keys, values = (
        torch.cat([prompt[case.which], own], 2).repeat_interleave(groups, 1)
        for prompt, own in zip(case.prompts, case.own, strict=True)
    )
    tokens = case.query.shape[2]
    at, key = torch.arange(PAST, PAST + tokens)[:, None], torch.arange(PAST + tokens)
    reach = (key <= at) & (key > at - (window or PAST + tokens + 1))
    mask = reach & case.seen[:, None, None]
    return scaled_dot_product_attention(case.query, keys, values, attn_mask=mask).transpose(1, 2)


@pytest.mark.parametrize("which", [ONCE_EACH, EVENLY, UNEVENLY, MIXED])
@pytest.mark.parametrize(("heads", "kept"), [(2, 2), (6, 2), (3, 1)])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_stacked_attention_equals_torch(
    which: list[int], heads: int, kept: int, window: int | None, padded: bool, shared: bool
) -> None:
    case = given(which, heads, kept, 3, padded=padded)
    wanted = torchs(case, window)
    weights = torch.randn_like(wanted)
    found = stacked(case, shared=shared, window=window, room=0)
    assert torch.allclose(found, wanted, atol=1e-5)
    pairs = (torch.autograd.grad((read * weights).sum(), case.leaves) for read in (found, wanted))
    for ours, theirs in zip(*pairs, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(stacked(case, shared=shared, window=window, room=3), wanted, atol=1e-5)


def test_prompt_keys_are_shared_not_copied() -> None:
    case = given(EVENLY, 2, 2, 1, padded=False)
    cache = DynamicCache()
    cache.layers.append(DynamicLayer())
    cache.update(*case.prompts, 0)
    (before,) = cache.layers
    attention.branch(cache, case.which, shared=True)
    (after,) = cache.layers
    assert isinstance(before, DynamicLayer) and isinstance(after, attention.BranchedLayer)
    assert after.prompt_keys is before.keys


def test_model_attention_is_restored_afterwards() -> None:
    model = make(SHARING["rope"]).eval()
    own = model.config._attn_implementation
    _, cache = prefix_sharing.read(model, torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3))
    prefix_sharing.branch(model, cache, torch.zeros(2, dtype=torch.long))
    going_on = prefix_sharing.going_on(model, cache)
    assert not isinstance(going_on, nullcontext)
    with pytest.raises(ZeroDivisionError), going_on:
        assert model.config._attn_implementation != own
        1 / 0  # noqa: B018
    assert model.config._attn_implementation == own


def test_model_with_capped_scores_keeps_its_attention() -> None:
    model = make(SHARING["window in every other layer, capped logits"]).eval()
    _, cache = prefix_sharing.read(model, torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3))
    assert isinstance(prefix_sharing.going_on(model, cache), nullcontext)
