"""A stranger's table of photos and labels becomes ours, step by step.

layout · files ─► label_forms ─► table_photos ─► classes ─► roles ─► read_table     files to Table
split_folders · name_labels · split_labels ─► class_folders ─► read_table             folders to Table
splits · lists · test_set                               what tells splits, in columns, lists and further files
predictions · photo_list · submission                   out-of-fold files, test photos, the form of answers
names · plausible · elsewhere                           one matcher of names, a second look, archives, URLs
finished_run                                            our own runs, with their photos
"""
