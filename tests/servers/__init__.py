"""Servers on this machine for the real, unmodified clients of what lies outside it."""
