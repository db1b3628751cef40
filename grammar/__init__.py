"""The grammar of the policy language as package data: `policy.lark` in, read by `recpolicy.language.parser`."""
