"""Files from the network: asked for politely, resumed, checked, unpacked, and kept in a cache."""
