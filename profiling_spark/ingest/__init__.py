"""Source files to silver tables: find, read, map, check, deduplicate, write, keep the ledger.

- `job.py`: the stage; `new_rows.py`: the way of a row, and the files it goes through; `batch.py`: what became of a
  target's rows, and their writing.
- `files/`: which files there are and which are new; `reading/`: rows of files; `judging/`: each row by itself;
  `resolving/`: rows compared with each other; `findings/`: what a person should know of the run; `again/`: replay,
  reload, and what undoes a run that died. Each imports from those before it only.
"""
