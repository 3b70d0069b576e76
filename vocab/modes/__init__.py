"""What ``--mode`` names: a tokenizer that is trained anew, extended, trimmed, or another model's."""
