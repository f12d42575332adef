"""Backup and restore: one file with the database and the files beside it, checked row by row when it comes back."""
