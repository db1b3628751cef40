"""Turns a loaded policy into the reward functions of other trainers.

answers.py   scores of answers, which all adapters share
trl.py       TRL: one function a rule, or one for all
verl.py      verl: one answer, or a batch
openrlhf.py  OpenRLHF: a function, or the body of an HTTP answer

A row's `context` says whose list it is: `user_id`, and maybe `history`, `next_items`, `now`, as in a file of lists.
"""

from recpolicy.adapters.answers import AnswerScorer

__all__ = ["AnswerScorer"]
