"""The policy language, from text to typed policy: parser, syntax tree, checker, and the formatter back to text."""
