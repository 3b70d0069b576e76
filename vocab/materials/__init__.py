"""What a transfer learns from: sentence pairs, text, lexicon, vectors; given, bundled or fetched."""
