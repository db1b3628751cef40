"""Checks causal language models from a folder: tokenizer with item tokens, adapters, and a whole run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from recpolicy import data
from recpolicy.dataset.slates import item_token
from recpolicy.errors import UsageError
from recpolicy.runs import located
from recpolicy.trainer.config import Config, Llm
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.models import pretrained
from recpolicy.trainer.models.recommenders import NAMES, Recommender, init_recommender, load, version
from recpolicy.trainer.prompting.prompts import TAGS
from tests.command import recpolicy
from tests.trainer.short import in_short

TEXT = ["The user likes comedy and drama.", "recommend 10 items", "think answer assistant", "history: war, romance"]
CHAT = "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}<s>assistant\n"
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 2048,
}

CONFIGS: dict[str, Callable[[int], PreTrainedConfig]] = {
    "tied head": lambda v: LlamaConfig(**SIZES, vocab_size=v, intermediate_size=64, tie_word_embeddings=True),
    "own head, spare rows": lambda v: Qwen2Config(
        **SIZES, vocab_size=v + 40, intermediate_size=64, num_key_value_heads=1, tie_word_embeddings=False
    ),
    "learned positions": lambda v: GPT2Config(vocab_size=v, n_embd=32, n_layer=2, n_head=2, n_positions=2048),
}


def write_model(folder: Path, config: Callable[[int], PreTrainedConfig], chat: str | None = CHAT) -> Path:
    """A byte-level model with random weights, and generation defaults that would forbid most items."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    core.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=special)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", chat_template=chat)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(len(tokenizer)))
    model.generation_config.top_k, model.generation_config.repetition_penalty = 1, 5.0
    model.generation_config.do_sample = True
    model.save_pretrained(folder)
    return folder


@pytest.fixture(params=CONFIGS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_model(tmp_path / "lm", CONFIGS[request.param])


def start(folder: Path, rank: int = 4) -> Recommender:
    dataset = data.open("simulator")
    about = [f"comedy drama {row}" for row in range(dataset.items.rows)]
    config = Config(llm=Llm(lora_rank=rank, precision="float32"))
    parts = data.split(dataset, holdout=3)
    return init_recommender(
        str(folder), config, dataset, parts, 5, texts=["a short text"], shown=["another"], about=about
    )


def test_items_and_tags_are_single_tokens(folder: Path) -> None:
    tokenizer = pretrained.tokenizer(str(folder), 30)
    text = f"<think> likes drama </think> <answer> {item_token(3)} {item_token(12)} </answer>"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    said = tokenizer.convert_ids_to_tokens(ids)
    assert [t for t in said if t.startswith("<")] == [*TAGS[:3], "<item_3>", "<item_12>", TAGS[3]]
    assert said[said.index("</think>") + 1 :] == ["<answer>", "<item_3>", "<item_12>", "</answer>"]
    assert len(tokenizer) - 30 == tokenizer.get_vocab()[item_token(0)]
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)
    assert not set(tokenizer.all_special_tokens) & {*TAGS, *map(item_token, range(30))}


def test_prompt_uses_chat_template(folder: Path, tmp_path: Path) -> None:
    assert pretrained.frame(pretrained.tokenizer(str(folder), 0)) == ("<s>user\n", "</s>\n<s>assistant")
    plain = write_model(tmp_path / "plain", CONFIGS["tied head"], chat=None)
    assert pretrained.frame(pretrained.tokenizer(str(plain), 0)) == ("<s>", "\n")


def test_only_adapters_and_added_tokens_are_trained(folder: Path) -> None:
    found = start(folder)
    assert found.adapters is not None
    trained = [name for name, p in found.adapters.named_parameters() if p.requires_grad]
    assert all("lora_" in name or "trainable_tokens" in name for name in trained)
    assert any("lora_" in name for name in trained) and any("trainable_tokens" in name for name in trained)
    assert found.size().endswith(f"million weights are trained on {found.model.device}, the others kept in float32")
    whole = start(folder, rank=0)
    assert whole.adapters is None and all(p.requires_grad for p in whole.model.parameters())
    assert "others" not in whole.size()


def test_saved_model_gives_same_logits(folder: Path, tmp_path: Path) -> None:
    for rank in (4, 0):
        before = start(folder, rank)
        with torch.no_grad():
            for parameter in before.trained.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) / 10)
        before.save(tmp_path / f"saved-{rank}")
        form = before.form
        after = load(
            tmp_path / f"saved-{rank}",
            str(folder),
            form.items,
            form.slate,
            form.max_think,
            Llm(lora_rank=rank, precision="float32"),
        )
        ids = torch.tensor([[5, 80, form.item_base, form.item_base + form.items - 1, form.think_open]])
        assert after.form == form
        torch.testing.assert_close(after.model.eval()(ids).logits, before.model.eval()(ids).logits)


@pytest.mark.parametrize("rank", [4, 0])
def test_gradient_checkpointing_gives_same_gradients(folder: Path, tmp_path: Path, rank: int) -> None:
    begin = start(folder, rank)
    begin.save(tmp_path / "saved")
    form, gradients = begin.form, []
    ids = torch.tensor([[5, 80, form.item_base, form.item_base + form.items - 1, form.think_open]])
    for twice in (False, True):
        settings = Llm(lora_rank=rank, precision="float32", gradient_checkpointing=twice)
        found = load(tmp_path / "saved", str(folder), form.items, form.slate, form.max_think, settings)
        found.trained.train()
        reason = prefix_sharing.why_not(found.model)
        assert (reason is not None and "gradient checkpointing" in reason) == twice
        torch.manual_seed(0)
        found.model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in found.trained.parameters() if p.grad is not None]))
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


def test_prompt_longer_than_context_is_refused(folder: Path) -> None:
    dataset = data.open("simulator")
    parts = data.split(dataset, holdout=3)
    texts, shown, about = ["a short text"], ["word " * 2000], [""] * dataset.items.rows
    with pytest.raises(UsageError, match="reads 2,048") as error:
        init_recommender(str(folder), Config(), dataset, parts, 5, texts=texts, shown=shown, about=about)
    assert "prompt.history" in error.value.help


def test_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder .*nothing-here") as error:
        pretrained.tokenizer(str(tmp_path / "nothing-here"), 3)
    assert "smollm2" in error.value.help
    with pytest.raises(UsageError, match="no model `smolm2`") as error:
        pretrained.tokenizer("smolm2", 3)
    assert error.value.help == "did you mean `smollm2`?"


def test_unreachable_hub_is_usage_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="someone/something is no folder here, and the Hugging Face hub cannot be"):
        pretrained.prompt_style("someone/something")


def test_non_causal_model_is_refused(tmp_path: Path) -> None:
    for kind in ("BertModel", "LlamaForSequenceClassification"):
        folder = write_model(tmp_path / kind, CONFIGS["tied head"])
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"architectures": [kind]}))
        with pytest.raises(UsageError, match=f"no causal language model: its config.json calls it {kind}"):
            pretrained.prompt_style(str(folder))


def test_incomplete_model_folder_names_missing_part(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "lm", CONFIGS["tied head"])
    tokenizer = pretrained.tokenizer(str(folder), 3)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(UsageError, match="lm cannot be read"):
        pretrained._read(str(folder), tokenizer, Llm())
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UsageError, match=r"tokenizer of .*lm cannot be read") as error:
        pretrained.prompt_style(str(folder))
    assert "tokenizer.json" in error.value.help
    (folder / "config.json").unlink()
    with pytest.raises(UsageError, match=r"config\.json"):
        pretrained.prompt_style(str(folder))


@pytest.mark.parametrize(
    ("chat", "said"),
    [("{{ raise_exception('no') }}", "cannot be filled in: no"), ("{% if", "filled in"), ("hello", "leaves out")],
)
def test_unusable_chat_template_is_refused(tmp_path: Path, chat: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        pretrained.prompt_style(str(write_model(tmp_path / "lm", CONFIGS["tied head"], chat)))


def test_model_version_follows_folder_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's fine-tuned model must not be taken for that of the weights which lay there before."""
    folder = write_model(tmp_path / "lm", CONFIGS["tied head"])
    before = version(str(folder))
    pretrained.content.cache_clear()
    assert version(str(folder)) == before
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    pretrained.content.cache_clear()
    assert version(str(folder)) != before
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert version("tiny") == "tiny" and version("someone/lm") == "someone/lm"
    assert [located(name, NAMES) for name in ("lm", "tiny", "someone/lm")] == [str(folder), "tiny", "someone/lm"]


SETTINGS = """
holdout = 3
validation_users = 20
test_users = 20
[prompt]
history = 8
think = 6
[llm]
lora_rank = 2
[sft]
steps = 4
batch = 4
evaluate_every = 2
[grpo]
steps = 2
prompts_per_step = 2
generations = 4
beta = 0.1
evaluate_every = 2
"""


@pytest.mark.slow
def test_train_with_local_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "lm", CONFIGS["own head, spare rows"])
    (tmp_path / "settings.toml").write_text(SETTINGS)
    run = tmp_path / "run"
    given = ("--data", "simulator", "--model", str(folder), "--config", "settings.toml", "--out", str(run))
    with in_short(tmp_path / "cache"):
        done = recpolicy(tmp_path, "train", "relevance", *given)
    assert done.returncode == 0, done.stderr
    found = json.loads((run / "eval.json").read_text())
    assert found["systems"]["grpo"]["metrics"]["holes"]["mean"] == 0.0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any(line["stage"] == "grpo" and line.get("divergence", 0.0) > 0 for line in lines)
    assert (run / "model" / "adapter_config.json").is_file()
