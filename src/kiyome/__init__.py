"""Image classification when the labels are wrong, in the training set and in the test set.

The front door: arrays in, values out from `noise` and `evaluation`; whole flows on data from `recipes`. Its
names stand in `__init__.pyi`; each is imported when first used, so that `kiyome --help` answers at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
