"""Pure numerics, arrays in and arrays out: no clock, no input or output, no globals; randomness is an argument."""
