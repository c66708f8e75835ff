"""Generated from the contracts in `protos/treering/v1` by `make proto`; never edited by hand."""
