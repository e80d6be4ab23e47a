"""What the features about trading share."""
