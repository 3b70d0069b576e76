"""Many methods on one setting, measured alike."""
