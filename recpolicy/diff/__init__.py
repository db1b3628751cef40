"""Two policies in, what differs between them out.

text.py   in what they say
lists.py  in the lists they make for the same users
"""
