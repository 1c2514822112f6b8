"""Archives: layer tars in and out.

    numbers, headers, sparse    the format
    reader                      a stream as entries, and the skeleton that passes
    paths, directories, extract entries as files, safely
    unpack, split, pack         layers in, what is remembered of their tar, layers out
    writer                      tars of trees that never were one
    compression                 deflate and checksums of our own files

Nothing here is imported by the commands that only run containers: hashlib and zlib cost start-up time.
"""
