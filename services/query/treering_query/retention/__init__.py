"""What leaves the store and when: the clock that ages are counted by, the choice of segments, the account of what was removed."""
