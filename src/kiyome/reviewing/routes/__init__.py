"""What the server answers: page · rows · photos · decisions · figures."""
