"""Pure numerics: arrays in, arrays out. No clock, no input or output, no globals; randomness is an argument."""
