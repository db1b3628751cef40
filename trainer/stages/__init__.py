"""Trains: supervised fine-tuning and GRPO, with advantages, multipliers, checkpoints and early stopping."""
