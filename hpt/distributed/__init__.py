"""What the processes that train one model do together."""
