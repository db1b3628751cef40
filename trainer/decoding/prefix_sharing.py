"""Computes states and logits of a causal language model at completions, and runs each prompt only once.

All functions take the bare model of transformers; `inside` reaches it within whatever wraps it for training.
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
from torch.nn.utils.rnn import pad_sequence
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


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Puts the model into evaluation mode for a block, with all its weights here. All processes have to call it."""
    training = model.training
    model.eval()
    try:
        with sharding.gathered(model):
            yield
    finally:
        model.train(training)


def _once_per_model(check: Callable[[PreTrainedModel], T]) -> Callable[[PreTrainedModel], T]:
    """Runs a check once for each model, in evaluation mode and without gradients, and remembers its result."""
    results: WeakKeyDictionary[nn.Module, T] = WeakKeyDictionary()

    def remembered(causal: PreTrainedModel) -> T:
        if causal not in results:
            with evaluating(causal), torch.no_grad():
                results[causal] = check(causal)
        return results[causal]

    return remembered


def left_pad(rows: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Pads rows of token ids on the left; returns ids and mask, both [B, P] int64."""
    tokens = [torch.tensor(row, dtype=torch.long) for row in rows]
    ids = pad_sequence(tokens, batch_first=True, padding_value=pad, padding_side="left")
    mask = pad_sequence([torch.ones_like(row) for row in tokens], batch_first=True, padding_side="left")
    return ids, mask


def positions(mask: Tensor) -> Tensor:
    """Computes position ids for left-padded rows, [B, T], from 0 at the first real token."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def read(
    causal: PreTrainedModel, ids: Tensor, mask: Tensor, cache: DynamicCache | None = None, *, use_cache: bool = True
) -> tuple[Tensor, DynamicCache]:
    """Returns the states before the head at tokens [B, T] that follow those in the cache, [B, T, H], and the cache.

    `mask` [B, past + T] is 1 for real tokens. A cache that was branched is continued within `going_on`.
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
    """Returns the model of transformers within DDP, FSDP, DeepSpeed, torch.compile and peft, with its adapters."""
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
    """Calls `run` with the bare model, ids and mask, as the forward pass of `model` with all that wraps it.

    A direct call of the bare model would bypass DDP, which would then average no gradients, and FSDP, which would then
    gather no weights. Both look only at what the forward pass returns: the head has to be applied within `run`, which
    returns tensors or tuples of them. As TRL does, the caller enters `accelerator.autocast()`.
    """
    causal = unwrapped(model)

    def forward(input_ids: Tensor, attention_mask: Tensor, **_: Any) -> T:
        return run(causal, input_ids, attention_mask)

    with sharding.forward(causal, forward):
        result: T = model(input_ids=input_ids, attention_mask=attention_mask)
    return result


def why_not(model: nn.Module) -> str | None:
    """Returns the reason why prompts cannot be shared in this model now, as a sentence; None if they can be shared.

    The cache must keep all that later tokens look at: the keys and values of each earlier token, or those that a
    sliding window still reaches. A model that trains with gradient checkpointing has no cache in transformers.
    """
    causal = unwrapped(model)
    if causal.training and any(
        getattr(m, "gradient_checkpointing", False) or isinstance(m, CheckpointWrapper) for m in causal.modules()
    ):
        return f"{type(causal).__name__} trains with gradient checkpointing, under which it has no key/value cache."
    return _why_never(causal)


@_once_per_model
def _why_never(causal: PreTrainedModel) -> str | None:
    """Returns the reason that holds in any mode, from a trial on eight made-up tokens."""
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
    """Returns how much two computations of the same states may differ, as a share: more for less precise numbers."""
    rounded = torch.is_autocast_enabled(causal.device.type) or any(
        p.dtype != torch.float32 for p in causal.parameters()
    )
    return 0.1 if rounded else 0.01


def completion_states(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, keep: int) -> Tensor:
    """Computes the states before the head that predict the last `keep` tokens of each row, [B, keep, H].

    `input_ids`, `attention_mask` [B, P + keep]: prompts padded on the left, completions on the right. Rows with the
    same prompt share one run of it, in any order. If `why_not` gives a reason, the rows are run in full.
    """
    states = _shared if why_not(model) is None else _whole
    return states(model, input_ids, attention_mask, keep)


def _whole(model: PreTrainedModel, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
    states, _ = read(model, ids, mask, use_cache=False)
    return states[:, -keep - 1 : -1]


def _shared(model: PreTrainedModel, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
    prompts = torch.stack([ids[:, :-keep], mask[:, :-keep]])  # [2, B, P]
    (prompt, prompt_mask), row = torch.unique(prompts, dim=1, return_inverse=True)  # [2, U, P], [B]
    states, cache = read(model, prompt, prompt_mask)
    last = states[:, -1:][row]  # [B, 1, H]
    if keep == 1:
        return last
    order = row.argsort(stable=True)  # the rows of a prompt become neighbours
    branch(model, cache, row[order])
    with going_on(model, cache):
        rest, _ = read(model, ids[order, -keep:-1], mask[order, :-1], cache)
    return torch.cat([last, rest[order.argsort()]], 1)


def branch(causal: PreTrainedModel, cache: DynamicCache, which: Tensor, room: int = 0) -> None:
    """Turns a cache of prompts into one of B rows that continue the prompts `which` [B]; see `attention.branch`."""
    attention.branch(cache, which, shared=_stacks(causal), room=room)


def going_on(causal: PreTrainedModel, cache: DynamicCache) -> AbstractContextManager[None]:
    """Returns the context in which a model continues a cache that was branched."""
    return attention.stacked(causal, cache) if _stacks(causal) else nullcontext()


def _stacks(causal: PreTrainedModel) -> bool:
    """Returns whether `attention.attend` replaces the model's own attention: on a CPU, if both compute the same."""
    return causal.device.type == "cpu" and _stacks_equal(causal)


@_once_per_model
def _stacks_equal(causal: PreTrainedModel) -> bool:
    """Returns whether both attentions compute the same on eight made-up tokens, in two rows with one prompt."""
    config = causal.config.get_text_config(decoder=True)
    if not causal._supports_attention_backend or config._attn_implementation not in attention.PLAIN:
        return False
    ids = torch.arange(1, 9).expand(2, -1) % config.vocab_size

    def states(stacked: bool) -> Tensor:
        cache = _body(causal)(input_ids=ids[:1, :4], use_cache=True).past_key_values
        attention.branch(cache, torch.zeros(2, dtype=torch.long), shared=stacked)
        with attention.stacked(causal, cache) if stacked else nullcontext():
            out: Tensor = _body(causal)(input_ids=ids[:, 4:], past_key_values=cache, use_cache=True).last_hidden_state
        return out

    try:
        own, ours = states(False), states(True)
    except attention.UnknownAttention:
        return False
    return bool((ours - own).norm() <= _tolerance(causal) * own.norm())


def logits(model: PreTrainedModel, states: Tensor, columns: slice = EVERY) -> Tensor:
    """Computes the model's logits for `states` [B, T, H]: [B, T, V], or [B, T, C] for the tokens `columns` alone.

    A head that is a plain product is applied to these columns only. If a model does more with its logits (scales, caps)
    or adapts its head, its own forward pass computes all of them.
    """
    weights = _product(model)
    if weights is None:
        return _own_logits(model, states)[..., columns]
    weight, bias = weights
    return linear(states, weight[columns], None if bias is None else bias[columns])


def logits_at(model: PreTrainedModel, states: Tensor, tokens: Tensor) -> Tensor:
    """Computes the model's logits for `states` [B, T, H] and each row's own `tokens` [B, C]: [B, T, C]."""
    weights = _product(model)
    if weights is None:
        return _own_logits(model, states).gather(2, tokens[:, None].expand(-1, states.shape[1], -1))
    weight, bias = weights
    product = states @ weight[tokens].mT
    return product if bias is None else product + bias[tokens][:, None]


def mean_cross_entropy(model: PreTrainedModel, states: Tensor, tokens: Tensor) -> Tensor:
    """Computes the mean of -log p(token) over the whole vocabulary, for `tokens` [N] that follow `states` [N, H]."""
    weights = _product(model)
    if weights is None:
        return cross_entropy(_own_logits(model, states[:, None])[:, 0].float(), tokens)
    weight, bias = weights
    return linear_cross_entropy(states, weight, tokens, linear_bias=bias, options=CHUNKS)


def _product(causal: PreTrainedModel) -> tuple[Tensor, Tensor | None] | None:
    """Returns weight [V, H] and bias [V] of the head, or None if logits are more than that product.

    Weights that peft trains in place of the head are used as they are; a head with LoRA has no such weight.
    """
    head = causal.get_output_embeddings()
    if not isinstance(head, nn.Linear | AuxiliaryTrainingWrapper) or head._forward_hooks or head._forward_pre_hooks:
        return None
    weight, bias = head.weight, getattr(head, "bias", None)
    if weight.ndim != 2 or not weight.is_floating_point():  # sharded flat, or quantised
        return None
    return (weight, bias) if _is_product(causal) else None


@_once_per_model
def _is_product(causal: PreTrainedModel) -> bool:
    """Returns whether the model's own forward pass does no more than multiply by the head's weight and add its bias."""
    head = causal.get_output_embeddings()
    weight, bias = head.weight, getattr(head, "bias", None)
    row = weight[weight.norm(dim=1).argmax()]
    state = (row * (LARGE / row.dot(row))).expand(1, 2, -1)  # [1, 2, H], its largest logit is LARGE
    own, product = _own_logits(causal, state), linear(state, weight, bias)
    return bool((own - product).norm() <= _tolerance(causal) * product.norm())


def _own_logits(causal: PreTrainedModel, states: Tensor) -> Tensor:
    """Computes the logits [B, T, V] of the model's own forward pass, in which `states` replace those of the body."""

    def replaced(_module: nn.Module, _inputs: Any, output: ModelOutput) -> ModelOutput:
        output.last_hidden_state = states
        return output

    hook = _body(causal).register_forward_hook(replaced)
    try:
        one = torch.zeros(1, 1, dtype=torch.long, device=states.device)
        logits: Tensor = type(causal).forward(causal, input_ids=one, use_cache=False).logits
    finally:
        hook.remove()
    if logits.shape[:2] != states.shape[:2]:
        raise _bodiless(causal)
    return logits


def _body(causal: PreTrainedModel) -> nn.Module:
    """Returns the model without its head."""
    body: nn.Module = causal.get_decoder()
    if body is causal:
        raise _bodiless(causal)
    return body


def _bodiless(causal: PreTrainedModel) -> UsageError:
    return UsageError(f"{type(causal).__name__} cannot be trained here: its head cannot be told from the rest of it.")
