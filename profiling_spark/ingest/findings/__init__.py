"""What a person should know of a run: counts, refused rows and their lines, days that changed."""
