"""Builds prompts: templates, item texts, candidate pools and the contexts that GRPO samples."""
