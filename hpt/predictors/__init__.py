"""Ways of proposing a jump, one file each."""
