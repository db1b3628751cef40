"""Finds lists that are best by a compiled policy and a model of what users take."""
