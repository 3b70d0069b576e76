"""Tokenizers: loaded as their files say, trained for a language, measured on a text."""
