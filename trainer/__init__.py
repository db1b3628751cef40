"""Everything that needs torch: prompts, models, SFT, GRPO, evaluation. Imported as `recpolicy.trainer`."""
