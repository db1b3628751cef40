"""Reports what a policy does in training before a model is trained, and lists that exploit it."""
