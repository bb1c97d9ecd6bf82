"""Which labels are wrong, and how many: arrays in, arrays out."""
