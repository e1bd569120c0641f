"""Archives that outgrow one machine: the same classifier in a pool of Ray actors, over lists of any length."""
