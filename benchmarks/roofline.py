"""A decoder's sizes and a step's tokens in, the least seconds this machine could spend on it out.

Counted are 2 operations a weight and token of the layers' matrices, 4 a channel and pair of tokens in attention, and 2
a channel and scored column of the output layer; three times as many with the gradients. Bytes are those of weights,
gradients, caches and optimizer states that have to pass once; whatever else a step writes and reads again is taken to
stay in the processor's cache. A part takes at least operations over the matrix rate or bytes over the bandwidth,
whichever is more, and a step the sum of its parts (Williams et al. 2009).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import linear
from transformers import LlamaConfig, PreTrainedModel

COPIED = 256 * 1024**2
"""Bytes that are copied to measure the bandwidth; many times the processor's cache."""


@dataclass(frozen=True)
class Machine:
    """What the machine was seen to do, in operations a second and bytes a second."""

    operations: float
    bytes: float

    @staticmethod
    def best(seen: Sequence[Machine]) -> Machine:
        """The machine at its fastest: what it can do, if other programs let it."""
        return Machine(max(m.operations for m in seen), max(m.bytes for m in seen))


def machine(model: PreTrainedModel, rows: int) -> Machine:
    """The machine as it is now: the layers' own matrices times `rows` tokens, and one long copy."""
    layers = [m for m in model.base_model.modules() if isinstance(m, nn.Linear)]
    tokens = {m.in_features: torch.ones(rows, m.in_features, dtype=m.weight.dtype) for m in layers}
    source, target = torch.ones(COPIED // 4), torch.ones(COPIED // 4)
    with torch.no_grad():
        began = time.perf_counter()
        for layer in layers:
            linear(tokens[layer.in_features], layer.weight)
        multiplied = time.perf_counter()
        target.copy_(source)
        copied = time.perf_counter()
    operations = 2 * rows * sum(layer.weight.numel() for layer in layers)
    return Machine(operations / (multiplied - began), 2 * COPIED / (copied - multiplied))


@dataclass(frozen=True)
class Work:
    """One part of a step, nothing of which can start before the part before it is done."""

    operations: float
    bytes: float

    def seconds(self, on: Machine) -> float:
        """The least time the part takes."""
        return max(self.operations / on.operations, self.bytes / on.bytes)


def least(parts: Sequence[Work], on: Machine) -> tuple[float, str]:
    """The least seconds of the parts together, and what most of them go into."""
    bound = {"operations": 0.0, "bytes": 0.0}
    for part in parts:
        slower = "operations" if part.operations / on.operations >= part.bytes / on.bytes else "bytes"
        bound[slower] += part.seconds(on)
    return sum(bound.values()), max(bound, key=lambda name: bound[name])


@dataclass(frozen=True)
class Step:
    """A step of GRPO: a model and the tokens of one batch."""

    config: LlamaConfig
    size: int
    """Bytes of a number."""
    prompts: int
    copies: int
    """Completions a prompt (G)."""
    told: float
    """Mean tokens of a prompt (P)."""
    columns: tuple[int, ...]
    """Tokens that may stand at each of a completion's places; 0: it is known which one does."""

    @property
    def head(self) -> int:
        """Channels of a head."""
        return self.config.hidden_size // self.config.num_attention_heads

    @property
    def kept(self) -> int:
        """Heads whose keys and values are kept."""
        return self.config.num_key_value_heads or self.config.num_attention_heads

    @property
    def matrices(self) -> int:
        """Weights of the layers' matrices."""
        c = self.config
        attention = 2 * self.head * (c.num_attention_heads + self.kept)
        return c.num_hidden_layers * c.hidden_size * (attention + 3 * c.intermediate_size)

    def forward(self, tokens: float, pairs: float, cells: float) -> float:
        """Operations for `tokens` through the layers, `pairs` in attention, `cells` tokens times output columns."""
        c = self.config
        attention = 4 * c.num_hidden_layers * c.hidden_size
        return 2 * self.matrices * tokens + attention * pairs + 2 * c.hidden_size * cells

    def weights(self, columns: int) -> float:
        """Bytes of the layers and of so many columns of the output layer."""
        return float(self.size * (self.matrices + self.config.hidden_size * columns))

    def cache(self, tokens: float) -> float:
        """Bytes of the keys and values of so many tokens."""
        return 2 * self.size * tokens * self.config.num_hidden_layers * self.kept * self.head

    # ---- every prompt once, and no column of the output layer that cannot be chosen

    def shared_loss(self) -> list[Work]:
        """Loss and gradients."""
        suffix = len(self.columns) - 1  # what stands last is scored, but nothing follows it
        pairs = _pairs(self.told) + self.copies * (suffix * self.told + _pairs(suffix))
        once = self.forward(self.told + self.copies * suffix, pairs, self.copies * sum(self.columns))
        return self._with_gradients(self.prompts * once)

    def shared_step(self) -> list[Work]:
        """The whole of it."""
        prompt = Work(self.prompts * self.forward(self.told, _pairs(self.told), 0), self.weights(0))
        tokens = []
        for n, columns in enumerate(self.columns[1:], 1):  # the n-th token in, the next one's columns out
            at = self.forward(1, self.told + n, columns)
            kept = self.cache(self.prompts * (self.told + self.copies * n))
            tokens.append(Work(self.prompts * self.copies * at, self.weights(columns) + kept))
        while self.columns[len(tokens)] == 0:  # an end that is known need not be asked for
            tokens.pop()
        return [prompt, *tokens, *self.shared_loss(), self._optimizer()]

    # ---- every completion with its prompt, and the whole output layer at its tokens

    def whole_loss(self) -> list[Work]:
        """Loss and gradients."""
        length = self.told + len(self.columns)
        cells = len(self.columns) * self.config.vocab_size
        return self._with_gradients(self.prompts * self.copies * self.forward(length, _pairs(length), cells))

    def whole_step(self) -> list[Work]:
        """The whole of it."""
        rows, vocabulary = self.prompts * self.copies, self.config.vocab_size
        prompt = Work(rows * self.forward(self.told, _pairs(self.told), vocabulary), self.weights(vocabulary))
        tokens = [
            Work(
                rows * self.forward(1, self.told + n, vocabulary),
                self.weights(vocabulary) + self.cache(rows * (self.told + n)),
            )
            for n in range(1, len(self.columns))
        ]
        return [prompt, *tokens, *self.whole_loss(), self._optimizer()]

    def _with_gradients(self, operations: float) -> list[Work]:
        """Weights are read twice and their gradients written."""
        weights = self.weights(self.config.vocab_size)
        return [Work(operations, weights), Work(2 * operations, 2 * weights)]

    def _optimizer(self) -> Work:
        """AdamW reads weights, gradients and two moments, and writes all but the gradients."""
        return Work(0.0, 7 * self.weights(self.config.vocab_size))


def _pairs(tokens: float) -> float:
    """Pairs of a token with itself and those before it."""
    return tokens * (tokens + 1) / 2
