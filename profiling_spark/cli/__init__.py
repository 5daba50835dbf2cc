"""The command line. Modules here hold options; what a command does is imported when it runs."""
