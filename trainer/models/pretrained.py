"""Loads a pretrained language model and its tokenizer, and gives them a token for every item."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from jinja2 import TemplateError
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from tokenizers import AddedToken
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from recpolicy.dataset.slates import item_token
from recpolicy.errors import UsageError
from recpolicy.errors.near import near
from recpolicy.trainer.config import Llm
from recpolicy.trainer.models import smollm2
from recpolicy.trainer.prompting.prompts import PLAIN, TAGS, PromptStyle

SMOLLM2 = "smollm2"
PAD = "<|pad|>"
KNOWN = "known: tiny, smollm2, the folder of a causal language model, or its id on the Hugging Face hub"
QUESTION = "\x02"
"""A placeholder for the user's words while a chat template is filled in."""


def tokenizer(name: str, items: int) -> PreTrainedTokenizerFast:
    """Loads the model's tokenizer; adds the tags of an answer and, at the end of the vocabulary, a token for each item.

    Tags and items are ordinary tokens, since TRL removes special ones when it decodes, and include the space before
    them. Padding has its own token. Raises UsageError for a model that cannot be found or read.
    """
    source = _source(name)
    try:
        loaded = AutoTokenizer.from_pretrained(source, padding_side="left")
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0].strip().removesuffix(" from one of:")
        help = "it needs a tokenizer.json, or what makes one of its other files: pip install sentencepiece tiktoken"
        raise UsageError(f"the tokenizer of {name} cannot be read: {reason}", help=help) from error
    if not isinstance(loaded, PreTrainedTokenizerFast):
        raise UsageError(f"the tokenizer of {name} is not a fast one", help="choose a model with a tokenizer.json")
    if loaded.eos_token_id is None:
        raise UsageError(f"the tokenizer of {name} has no token that ends a text", help="choose another model")
    known = loaded.get_vocab()
    loaded.add_tokens([added_token(tag) for tag in TAGS if tag not in known])
    if loaded.pad_token_id is None or loaded.pad_token_id == loaded.eos_token_id:
        loaded.add_special_tokens({"pad_token": PAD})
    loaded.add_tokens([added_token(item_token(row)) for row in range(items)])
    return loaded


def added_token(text: str) -> AddedToken:
    """Returns an ordinary token with this text, which includes the space before it."""
    return AddedToken(text, special=False, normalized=False, lstrip=True)


def prompt_style(name: str) -> PromptStyle:
    """Returns the prompt style of the model: plain English in its chat template.

    Raises UsageError for a model that cannot be used. One that is not causal is refused here, as transformers would
    give it a head of random weights.
    """
    source = _source(name)
    try:
        kinds = AutoConfig.from_pretrained(source).architectures or ()
    except (OSError, ValueError) as error:
        raise _absent(name, error) from error
    if kinds and not set(kinds) & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        raise UsageError(
            f"{name} is no causal language model: its config.json calls it {', '.join(kinds)}",
            help="choose a model that continues a text, such as smollm2; most are called ...ForCausalLM",
        )
    loaded = tokenizer(name, 0)
    before, behind = frame(loaded)
    return PromptStyle(PLAIN, tuple(loaded.get_added_vocab()), lambda prompt: f"{before}{prompt.strip()}{behind}")


def frame(tokenizer: PreTrainedTokenizerFast) -> tuple[str, str]:
    """Returns the text before and behind the user's words in a prompt, from the chat template if there is one.

    Raises UsageError for a chat template that needs more than a user's words.
    """
    if tokenizer.chat_template is None:
        return tokenizer.bos_token or "", "\n"
    chat = [{"role": "user", "content": QUESTION}]
    subject = f"the chat template of {tokenizer.name_or_path}"
    help = "choose another model, or mend its chat_template"
    try:
        filled = str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
    except (TemplateError, TypeError, ValueError) as error:
        raise UsageError(f"{subject} cannot be filled in: {error}", help=help) from error
    before, question, behind = filled.partition(QUESTION)
    if not question:
        raise UsageError(f"{subject} leaves out what a user says", help=help)
    return before, behind


def decoder(
    name: str,
    tokenizer: PreTrainedTokenizerFast,
    items: Sequence[str],
    collaborative: Callable[[int], Tensor],
    longest: int,
    settings: Llm,
    seed: int,
) -> PreTrainedModel | PeftModel:
    """Loads the model, resizes its token tables to the tokenizer's vocabulary, and prepares it for training.

    The first vector of an item is the normed sum of two: the mean vector of its words `items` in the model, and what
    its users have in common (`collaborative` of the model's width, [items, width]). With adapters (LoRA, Hu et al.,
    ICLR 2022) only they and the vectors of the added tokens are trained, and the weights stay in the settings'
    precision; else all weights are, in float32. Raises UsageError for a model that does not read `longest` tokens.
    """
    torch.manual_seed(seed)
    model = _read(name, tokenizer, settings)
    most = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if most is not None and longest > most:
        raise UsageError(
            f"prompt and answer have up to {longest:,} tokens, and {name} reads {most:,}",
            help="show less: lower `prompt.history`, `prompt.pool` or `prompt.think` in the settings",
        )
    vocabulary = tokenizer.get_vocab()
    tags = [vocabulary[tag] for tag in TAGS]
    first = len(tokenizer) - len(items)
    words = tokenizer([*(tag.strip("</>") for tag in TAGS), *items], add_special_tokens=False)["input_ids"]
    rows = torch.tensor([*tags, *range(first, len(tokenizer))])
    for table in tables(model):
        with torch.no_grad():
            known = table.weight.float()
            vectors = torch.stack([known[ids].mean(0) if ids else torch.zeros(known.shape[1]) for ids in words])
            normed = _standard(_standard(vectors[len(TAGS) :]) + collaborative(known.shape[1]))
            vectors[len(TAGS) :] = normed * known[:first].std()
            table.weight[rows] = vectors.to(table.weight)
    if not settings.lora_rank:
        return model
    return _mixed(get_peft_model(model, _adapters(model, rows.tolist(), settings)))


def tables(model: PreTrainedModel) -> list[nn.Embedding | nn.Linear]:
    """Returns the tables of token vectors: the embeddings and, where its weights are not the same, the head.

    Raises UsageError for a model that has none.
    """
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not isinstance(embeddings, nn.Embedding) or not isinstance(head, nn.Linear):
        raise UsageError(
            f"{type(model).__name__} keeps its token vectors in no plain table, so items cannot be added to it",
            help="choose another model",
        )
    return [embeddings] if head.weight is embeddings.weight else [embeddings, head]


def _standard(vectors: Tensor) -> Tensor:
    """The vectors [items, width] less their mean, over their deviation; zeros where all are equal."""
    centered = vectors - vectors.mean(0)
    deviation = centered.std()
    return centered / deviation if deviation > 0 else centered


def _adapters(model: PreTrainedModel, added: list[int], settings: Llm) -> LoraConfig:
    """Settings for LoRA in every matrix but the head, and for trainable vectors of the added tokens."""
    names = {module: name.rpartition(".")[2] for name, module in model.named_modules()}
    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        target_modules="all-linear",
        trainable_token_indices={names[table]: added for table in tables(model)},
        task_type="CAUSAL_LM",
    )


class Adapter(nn.Linear):
    """A matrix of LoRA that multiplies in the precision of its input, whatever that of its weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Computes x W^T in the precision of `x`."""
        return nn.functional.linear(x, self.weight.to(x.dtype))


def _mixed(model: PeftModel) -> PeftModel:
    """Trainable weights in float32, as bfloat16 would round small steps away; products in the precision of the rest.

    By default peft converts all inputs and outputs of adapters, and a step takes 1.25 times as long.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.cast_input_dtype_enabled = False
            for matrices in (layer.lora_A, layer.lora_B):
                for name, matrix in matrices.items():
                    assert isinstance(matrix, nn.Linear)
                    matrices[name] = Adapter(matrix.in_features, matrix.out_features, bias=False)
                    matrices[name].weight = matrix.weight
    return model


def precision(settings: Llm) -> torch.dtype:
    """Returns the number type of weights that are not trained."""
    if settings.precision != "auto":
        return torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    native = any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
    return torch.bfloat16 if native else torch.float32


def adapted(folder: Path, name: str, tokenizer: PreTrainedTokenizerFast, settings: Llm) -> PeftModel:
    """Loads the model with the adapters saved in `folder`, prepared for further training."""
    model = _read(name, tokenizer, settings)
    return _mixed(PeftModel.from_pretrained(model, folder, is_trainable=True))


def origin(name: str) -> str:
    """Returns where the model comes from, in words."""
    if name == SMOLLM2:
        return "a Python package (93 MB), which pip fetches once"
    return "its folder" if Path(name).is_dir() else "the Hugging Face hub, or what the hub's cache has of it"


@cache
def content(folder: Path) -> str:
    """Computes a SHA-256 hash of the files in a model's folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _source(name: str) -> str | Path:
    """The folder or id that transformers reads the model from. Raises UsageError where there is no such model."""
    if name == SMOLLM2:
        return smollm2.folder()
    if not Path(name).is_dir():
        if meant := near(name, ("tiny", SMOLLM2)):
            raise UsageError(f"no model `{name}`", help=f"did you mean `{meant}`?")
        _find(name)
    return name


@cache
def _find(name: str) -> None:
    """Ask the hub for the model's config; without a network this fails at once, where transformers tries for minutes.

    Raises UsageError where neither the hub nor its cache has it.
    """
    try:
        snapshot_download(name, allow_patterns="config.json")
    except RepositoryNotFoundError as error:
        raise UsageError(
            f"the Hugging Face hub has no model {name} that you may read",
            help="check its name; what is private or gated is read after `hf auth login`",
        ) from error
    except LocalEntryNotFoundError as error:
        raise UsageError(
            f"the model {name} is no folder here, and the Hugging Face hub cannot be reached for it",
            help=f"check the path or the network; {KNOWN}",
        ) from error
    except HFValidationError as error:
        raise UsageError(f"no folder {name}, and it is no id of the hub, such as OWNER/NAME", help=KNOWN) from error
    except Exception as error:  # the hub's HTTP client has errors of its own, which its versions name differently
        raise _absent(name, error) from error


def checkpointed(model: PreTrainedModel, settings: Llm) -> PreTrainedModel:
    """Turns on gradient checkpointing where the settings ask for it, and returns the model."""
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return model


def _read(name: str, tokenizer: PreTrainedTokenizerFast, settings: Llm) -> PreTrainedModel:
    dtype, source = precision(settings) if settings.lora_rank else torch.float32, _source(name)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise _absent(name, error) from error
    size = len(tables(model)[0].weight)
    if size < len(tokenizer):
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for table in tables(model):
            nn.init.zeros_(table.weight[size:])  # random ones would not be saved with the adapters
    model.config.pad_token_id = tokenizer.pad_token_id
    # the model's own config (top_k, repetition penalty) would filter items that the policy allows
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return checkpointed(model, settings)


def _absent(name: str, error: Exception) -> UsageError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UsageError(f"the model {name} cannot be read: {reason}", help=KNOWN)
