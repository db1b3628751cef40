"""Compares two policies.

text.py   their texts
lists.py  their lists for the same users
"""
