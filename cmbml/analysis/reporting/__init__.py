"""The report and the scores of maps made elsewhere: what is read, and where it goes."""
