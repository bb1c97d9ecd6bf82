"""The routes of the server: page and photos · rows · decisions · stats; dependencies."""
