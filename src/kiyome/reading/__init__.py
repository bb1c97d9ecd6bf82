"""A stranger's table of photos and labels becomes ours, step by step.

files ─► columns ─► classes ─► photos ─► read_table     rows of text, their columns, what labels mean, Table
predictions · photo_list · submission                   out-of-fold files, test photos, the form of answers
names · plausible · elsewhere                           one matcher of names, a second look, archives, URLs
finished_run                                            our own runs, with their photos
"""
