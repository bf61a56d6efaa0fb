"""Slates of many users in a cache that web servers read: built, refreshed after events, described."""
