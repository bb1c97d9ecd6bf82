"""Decisions: events and their store, current decisions, agreement, consensus, files of other tools."""
