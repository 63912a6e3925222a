"""Archives: built, described, compared with their modules, and verified."""
