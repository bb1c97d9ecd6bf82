"""What people decided: events, their store, the decision that stands, agreement, files of other tools."""
