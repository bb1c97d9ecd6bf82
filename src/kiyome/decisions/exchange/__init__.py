"""Decisions as files of other tools, out and in: values in, bytes out, and back.

answers        rows to export (`ReviewedRows`), decisions in a file (`ParsedFile`), which of them are new
columns        CSV, Parquet and JSON Lines: one line a reviewer and photo
label_studio   tasks with annotations and our suggestion; any of its image classification exports
cvat           CVAT for images 1.1, one tag a photo
fiftyone       labels.json of FiftyOneImageClassificationDataset
formats        all of them by name
"""
