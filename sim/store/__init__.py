"""Runs on disk: write, commit, resume, open, verify.

`writer.RunWriter` makes them, `reader.open_run` opens them; `layout.Layout` says what they hold.
"""
