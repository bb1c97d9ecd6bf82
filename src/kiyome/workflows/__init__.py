"""Whole flows as short readable functions."""
