"""A causal LM and rows of prompt and completion in, states and logits at the completions out, each prompt run once.

Everything here takes the bare model of transformers; `inside` reaches it in whatever wraps it for training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from accelerate.utils import extract_model_from_parallel  # type: ignore[import-untyped]
from peft import PeftModel
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper
from torch.nn import LinearCrossEntropyOptions
from torch.nn.functional import cross_entropy, linear, linear_cross_entropy
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.utils.generic import ModelOutput

from recpolicy.errors import UsageError
from recpolicy.trainer.decoding import attention
from recpolicy.trainer.distributed import sharding

T = TypeVar("T")

EVERY = slice(None)

LARGE = 1000.0  # a logit on which a cap or a scale would show

CHUNKS = LinearCrossEntropyOptions(batch_chunk_size=256)
"""Rows whose logits are held at once: those of a batch would be read from memory many times over."""

# what was found out about each model
_REASONS: WeakKeyDictionary[nn.Module, str | None] = WeakKeyDictionary()
_PLAIN: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
_STACKS: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """The model in evaluation mode with all its weights here, and afterwards as it was. All processes have to ask."""
    training = model.training
    model.eval()
    try:
        with sharding.gathered(model):
            yield
    finally:
        model.train(training)


def left_pad(rows: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids of unequal length as ids and mask, both [B, P] int64, padded on the left."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row)
        mask[i, width - len(row) :] = 1
    return ids, mask


def positions(mask: Tensor) -> Tensor:
    """Position ids for left-padded rows, [B, T] from 0 at the first real token."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def read(
    causal: PreTrainedModel, ids: Tensor, mask: Tensor, cache: DynamicCache | None = None, *, use_cache: bool = True
) -> tuple[Tensor, DynamicCache]:
    """States before the head at tokens [B, T] that follow those in the cache, [B, T, H], and the cache with them.

    `mask` [B, past + T] says which tokens are real. A cache that rows branched is gone on from `going_on`.
    """
    out = _body(causal)(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions(mask)[:, -ids.shape[1] :],
        past_key_values=cache,
        use_cache=use_cache,
    )
    return out.last_hidden_state, out.get("past_key_values")


def unwrapped(model: nn.Module) -> PreTrainedModel:
    """The model of transformers within DDP, FSDP, DeepSpeed, torch.compile and peft; adapters stay in its layers."""
    bare = extract_model_from_parallel(model, keep_torch_compile=False)
    causal = bare.get_base_model() if isinstance(bare, PeftModel) else bare
    assert isinstance(causal, PreTrainedModel)
    return causal


def inside(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor,
    run: Callable[[PreTrainedModel, Tensor, Tensor], T],
) -> T:
    """What `run` finds for the bare model, ids and mask, as the forward pass of `model` with all that wraps it.

    Calling the bare model would pass by DDP, which then averages no gradients, and by FSDP, which then has gathered no
    weights. Both look only at what leaves the forward pass: the head belongs into `run`, which gives tensors or tuples
    of them. As TRL does, the caller enters `accelerator.autocast()`.
    """
    causal = unwrapped(model)

    def forward(input_ids: Tensor, attention_mask: Tensor, **_: Any) -> T:
        return run(causal, input_ids, attention_mask)

    with sharding.forward(causal, forward):
        found: T = model(input_ids=input_ids, attention_mask=attention_mask)
    return found


def why_not(model: nn.Module) -> str | None:
    """Why prompts cannot be shared in this model as it stands, in a sentence, or None where they can.

    A cache serves if it keeps all that later tokens look at: each earlier token's keys and values, or those that a
    sliding window still reaches. A model that trains with gradient checkpointing is given no cache by transformers.
    """
    causal = unwrapped(model)
    if causal.training and any(
        getattr(m, "gradient_checkpointing", False) or isinstance(m, CheckpointWrapper) for m in causal.modules()
    ):
        return f"{type(causal).__name__} trains with gradient checkpointing, under which it has no key/value cache."
    if causal not in _REASONS:
        with evaluating(causal), torch.no_grad():
            _REASONS[causal] = _why_never(causal)
    return _REASONS[causal]


def _why_never(causal: PreTrainedModel) -> str | None:
    """What speaks against the model in any mode, found out on eight made-up tokens."""
    name = type(causal).__name__
    if causal.config.is_encoder_decoder:
        return f"{name} reads its prompt with an encoder, so there is no prefix to share."
    config = causal.config.get_text_config(decoder=True)
    ids = torch.arange(1, 9, device=causal.device).view(1, -1) % config.vocab_size
    cache = _body(causal)(input_ids=ids, use_cache=True).get("past_key_values")
    if (
        not isinstance(cache, DynamicCache)
        or {type(layer) for layer in cache.layers} - {DynamicLayer, DynamicSlidingWindowLayer}
        or "chunked_attention" in (getattr(config, "layer_types", None) or ())
    ):
        return f"{name} keeps something else of its prompt than the keys and values of all tokens or of a window."
    whole, parted = (states(causal, ids, torch.ones_like(ids), 4) for states in (_whole, _shared))
    if (whole - parted).norm() > _tolerance(causal) * whole.norm():
        return f"{name} does not go on from its key/value cache as if it had read the whole text."
    return None


def _tolerance(causal: PreTrainedModel) -> float:
    """How far two ways to the same states may lie apart, as a share: much for numbers with few digits."""
    rounded = torch.is_autocast_enabled(causal.device.type) or any(
        p.dtype != torch.float32 for p in causal.parameters()
    )
    return 0.1 if rounded else 0.01


def completion_states(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, keep: int) -> Tensor:
    """States before the head at the places that predict the last `keep` tokens of each row, [B, keep, H].

    `input_ids`, `attention_mask` [B, P + keep]: prompts padded on the left, completions on the right. Rows with the
    same prompt share one run of it, in whatever order they stand. Where `why_not` has a reason, rows are run whole.
    """
    states = _shared if why_not(model) is None else _whole
    return states(model, input_ids, attention_mask, keep)


def _whole(model: PreTrainedModel, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
    states, _ = read(model, ids, mask, use_cache=False)
    return states[:, -keep - 1 : -1]


def _shared(model: PreTrainedModel, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
    prompts = torch.stack([ids[:, :-keep], mask[:, :-keep]])  # [2, B, P]
    (prompt, told), row = torch.unique(prompts, dim=1, return_inverse=True)  # [2, U, P], [B]
    states, cache = read(model, prompt, told)
    last = states[:, -1:][row]  # [B, 1, H]
    if keep == 1:
        return last
    order = row.argsort(stable=True)  # the rows of a prompt become neighbours
    branch(model, cache, row[order])
    with going_on(model, cache):
        rest, _ = read(model, ids[order, -keep:-1], mask[order, :-1], cache)
    return torch.cat([last, rest[order.argsort()]], 1)


def branch(causal: PreTrainedModel, cache: DynamicCache, which: Tensor, room: int = 0) -> None:
    """Go on from a cache of prompts in B rows, those of the prompts `which` [B]; see `attention.branch`."""
    attention.branch(cache, which, shared=_stacks(causal), room=room)


def going_on(causal: PreTrainedModel, cache: DynamicCache) -> AbstractContextManager[None]:
    """Where a model reads on from a cache that was branched."""
    return attention.stacked(causal, cache) if _stacks(causal) else nullcontext()


def _stacks(causal: PreTrainedModel) -> bool:
    """Whether `attention.attend` takes the place of the model's own attention: on a CPU, where both say the same."""
    if causal.device.type != "cpu":
        return False
    if causal not in _STACKS:
        config = causal.config.get_text_config(decoder=True)
        known = causal._supports_attention_backend and config._attn_implementation in attention.PLAIN
        with evaluating(causal), torch.no_grad():
            _STACKS[causal] = known and _stacks_alike(causal)
    return _STACKS[causal]


def _stacks_alike(causal: PreTrainedModel) -> bool:
    """Whether it says what the model's own attention does on eight made-up tokens, in two rows with one prompt."""
    ids = torch.arange(1, 9).expand(2, -1) % causal.config.get_text_config(decoder=True).vocab_size

    def states(stacked: bool) -> Tensor:
        cache = _body(causal)(input_ids=ids[:1, :4], use_cache=True).past_key_values
        attention.branch(cache, torch.zeros(2, dtype=torch.long), shared=stacked)
        with attention.stacked(causal, cache) if stacked else nullcontext():
            found: Tensor = _body(causal)(input_ids=ids[:, 4:], past_key_values=cache, use_cache=True).last_hidden_state
        return found

    try:
        own, ours = states(False), states(True)
    except attention.UnknownAttention:
        return False
    return bool((ours - own).norm() <= _tolerance(causal) * own.norm())


def logits(model: PreTrainedModel, states: Tensor, columns: slice = EVERY) -> Tensor:
    """The model's logits for `states` [B, T, H]: [B, T, V], or [B, T, C] of the tokens `columns` alone.

    A head that is a plain product is applied to the wanted columns only. Where a model does more with its logits
    (scales, caps) or adapts its head, its own forward pass makes all of them.
    """
    weights = _product(model)
    if weights is None:
        return _own_logits(model, states)[..., columns]
    weight, bias = weights
    return linear(states, weight[columns], None if bias is None else bias[columns])


def mean_cross_entropy(model: PreTrainedModel, states: Tensor, tokens: Tensor) -> Tensor:
    """Mean of -log p(token), all of the vocabulary open, of `tokens` [N] behind `states` [N, H]."""
    weights = _product(model)
    if weights is None:
        return cross_entropy(_own_logits(model, states[:, None])[:, 0].float(), tokens)
    weight, bias = weights
    return linear_cross_entropy(states, weight, tokens, linear_bias=bias, options=CHUNKS)


def _product(causal: PreTrainedModel) -> tuple[Tensor, Tensor | None] | None:
    """Weight [V, H] and bias [V] of the head, or None where logits are not simply that product.

    The weights that peft trains in a head's stead are taken as they stand; a head with LoRA has no such weight.
    """
    head = causal.get_output_embeddings()
    if not isinstance(head, nn.Linear | AuxiliaryTrainingWrapper) or head._forward_hooks or head._forward_pre_hooks:
        return None
    weight, bias = head.weight, getattr(head, "bias", None)
    if weight.ndim != 2 or not weight.is_floating_point():  # sharded flat, or quantised
        return None
    if causal not in _PLAIN:
        with evaluating(causal), torch.no_grad():
            row = weight[weight.norm(dim=1).argmax()]
            state = (row * (LARGE / row.dot(row))).expand(1, 2, -1)  # [1, 2, H], its largest logit is LARGE
            made, product = _own_logits(causal, state), linear(state, weight, bias)
            _PLAIN[causal] = bool((made - product).norm() <= _tolerance(causal) * product.norm())
    return (weight, bias) if _PLAIN[causal] else None


def _own_logits(causal: PreTrainedModel, states: Tensor) -> Tensor:
    """What the model's own forward pass makes of states, [B, T, V]: they take the place of what its body says."""

    def answer(_module: nn.Module, _inputs: Any, said: ModelOutput) -> ModelOutput:
        said.last_hidden_state = states
        return said

    hook = _body(causal).register_forward_hook(answer)
    try:
        one = torch.zeros(1, 1, dtype=torch.long, device=states.device)
        made: Tensor = type(causal).forward(causal, input_ids=one, use_cache=False).logits
    finally:
        hook.remove()
    if made.shape[:2] != states.shape[:2]:
        raise _bodiless(causal)
    return made


def _body(causal: PreTrainedModel) -> nn.Module:
    """The model without its head."""
    body: nn.Module = causal.get_decoder()
    if body is causal:
        raise _bodiless(causal)
    return body


def _bodiless(causal: PreTrainedModel) -> UsageError:
    return UsageError(f"{type(causal).__name__} cannot be trained here: its head cannot be told from the rest of it.")
