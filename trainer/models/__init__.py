"""Loads and starts language models that recommend, with a token for each item, and the user model beside them."""
