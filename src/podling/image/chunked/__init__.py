"""Layers that are fetched in parts: zstd:chunked as containers/storage writes it, and eStargz.

    crc64       the checksum of files in a tar-split
    toc         the table of contents and the tar-split of a blob, read
    writing     a tar as a zstd:chunked blob
    parts       which parts of a blob the store has, and the tar put together from those and from what is fetched
    pulling     a layer into the store that way, or by no means
"""
