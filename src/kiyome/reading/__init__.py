"""A stranger's table of photos and labels becomes ours, step by step.

layout · files ─► label_forms ─► table_photos ─► classes ─► roles ─► read_table     folders and files to Table
predictions · photo_list · submission                   out-of-fold files, test photos, the form of answers
names · plausible · elsewhere                           one matcher of names, a second look, archives, URLs
finished_run                                            our own runs, with their photos
"""
