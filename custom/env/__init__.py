"""Games, as SB3 wraps and stacks them."""
