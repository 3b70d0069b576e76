"""A model directory as files: its tensors, its configuration, what is rewritten, checked and recorded."""
