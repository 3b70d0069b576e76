"""Orthogonal matching pursuit: rows as short sums of atoms, with kernels for it."""
