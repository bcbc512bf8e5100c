"""How far it goes: what docs/capacity.md is made of."""
